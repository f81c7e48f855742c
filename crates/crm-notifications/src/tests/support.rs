//! An organization with members and leads, in a database of its own.

use crm_access::{BuiltinRole, role_principal};
use crm_core::{Caller, Db, Grants, MemberId, OrgId, OrgInfo, Result, TeamId, UserId};
use crm_jobs::{Failure, Job, Worker};
use crm_leads::LEADS;
use crm_mail::Template;
use crm_records::comments::{self, Comment};
use crm_records::list::{Params, Shaped};
use crm_records::{Edit, Precondition, RecordInput};
use crm_schema::{mails, memberships, organizations, records, roles, team_members, teams, users};
use crm_testkit::Database;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Notification, Notifier, feed, preferences};

pub(super) struct World {
    _database: Database,
    pub(super) db: Db,
    /// The program itself.
    pub(super) system: Caller,
    pub(super) notifier: Notifier,
}

/// A mail that was put in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mailed {
    pub(super) to: String,
    pub(super) template: Template,
    pub(super) data: Value,
}

impl World {
    pub(super) async fn new() -> Self {
        let database = crm_testkit::fresh_database().await;
        let db = database.db.clone();
        let system = org(&db, chrono_tz::Europe::Berlin).await;
        let notifier = Notifier::new(&[LEADS], "https://crm.example.com/");
        Self { _database: database, db, system, notifier }
    }

    /// An active member with a built-in role.
    pub(super) async fn member(&self, role: BuiltinRole) -> Caller {
        member_of(&self.db, &self.system, role).await
    }

    pub(super) async fn lead(&self, by: &Caller, assigned_to: &[&Caller]) -> Uuid {
        let assigned_to: Vec<_> = assigned_to.iter().map(|member| member.member).collect();
        let body = json!({"title": "Forty chairs", "assigned_to": assigned_to});
        let input = RecordInput::parse(body.as_object().unwrap().clone()).unwrap();
        self.db.tenant(by, async |t| crm_leads::create(t, input).await).await.unwrap().base.id
    }

    pub(super) async fn assign(&self, by: &Caller, lead: Uuid, to: &[&Caller]) {
        let to: Vec<_> = to.iter().map(|member| member.member).collect();
        let edit = Edit::patch(json!({"assigned_to": to}).as_object().unwrap().clone());
        self.db.tenant(by, async |t| crm_leads::update(t, lead, edit).await).await.unwrap();
    }

    pub(super) async fn comment(&self, by: &Caller, lead: Uuid, text: &str) -> Comment {
        let body = json!({"comment": text}).as_object().unwrap().clone();
        self.db.tenant(by, async |t| comments::create(t, &LEADS, lead, body).await).await.unwrap()
    }

    pub(super) async fn edit_comment(&self, by: &Caller, comment: Uuid, text: &str) {
        let edit = Edit::patch(json!({"comment": text}).as_object().unwrap().clone());
        self.db.tenant(by, async |t| comments::update(t, &LEADS, comment, edit).await).await.unwrap();
    }

    pub(super) async fn delete_comment(&self, by: &Caller, comment: Uuid) {
        let any = Precondition::default();
        self.db.tenant(by, async |t| comments::delete(t, &LEADS, comment, &any).await).await.unwrap();
    }

    pub(super) async fn prefer(&self, who: &Caller, patch: Value) {
        let patch = patch.as_object().unwrap().clone();
        self.db.tenant(who, async |t| preferences::update(t, patch).await).await.unwrap();
    }

    /// Puts a job of this kind in and does it, with whatever else there is to do.
    pub(super) async fn run(&self, kind: &'static str) {
        self.db.tenant(&self.system, async |t| crm_jobs::enqueue(t, kind, &json!({})).await).await.unwrap();
        self.work().await;
    }

    /// Does every job; the mails stay where they are.
    pub(super) async fn work(&self) {
        let handle = async |job: &Job| -> Result<(), Failure> {
            self.notifier.handle(&self.db, job).await.unwrap_or(Ok(())).inspect_err(|e| panic!("{e:?}"))
        };
        while Worker::new(self.db.clone()).work_off(&handle).await.unwrap() > 0 {}
    }

    /// What a member was told, newest first.
    pub(super) async fn feed(&self, who: &Caller) -> Vec<Notification> {
        self.list(who, &[]).await
    }

    pub(super) async fn list(&self, who: &Caller, params: &[(&str, &str)]) -> Vec<Notification> {
        let page = self.db.tenant(who, async |t| feed::list(t, &Params::of(params)).await).await.unwrap();
        let plain = |row| match row {
            Shaped::Plain(notification) => notification,
            Shaped::Value(value) => panic!("no shape was asked for: {value}"),
        };
        page.results.into_iter().map(plain).collect()
    }

    pub(super) async fn unread(&self, who: &Caller) -> i64 {
        self.db.tenant(who, feed::unread).await.unwrap().count
    }

    /// Every mail of the organization in the order in which they were put in.
    pub(super) async fn mails(&self) -> Vec<Mailed> {
        let rows: Vec<(String, Template, Value)> = self
            .db
            .tenant(&self.system, async |t| -> Result<_> {
                let all = mails::table.filter(mails::org_id.eq(t.org())).order_by(mails::id);
                Ok(all.select((mails::to_address, mails::template, mails::data)).load(t.conn()?).await?)
            })
            .await
            .unwrap();
        rows.into_iter().map(|(to, template, data)| Mailed { to, template, data }).collect()
    }

    pub(super) async fn mails_to(&self, who: &Caller) -> Vec<Mailed> {
        let address = address(who);
        self.mails().await.into_iter().filter(|mail| mail.to == address).collect()
    }

    pub(super) async fn set_state(&self, who: &Caller, state: &str) {
        let of = memberships::id.eq(who.member.unwrap());
        self.db
            .tenant(&self.system, async |t| -> Result<()> {
                let this = memberships::table.filter(memberships::org_id.eq(t.org()).and(of));
                diesel::update(this).set(memberships::state.eq(state)).execute(t.conn()?).await?;
                Ok(())
            })
            .await
            .unwrap();
    }

    /// A team with these members.
    pub(super) async fn team(&self, of: &[&Caller]) -> TeamId {
        let id = TeamId::generate();
        self.db
            .tenant(&self.system, async |t| -> Result<()> {
                let (org, now) = (t.org(), t.now());
                let record = (records::org_id.eq(org), records::id.eq(id.0), records::kind.eq("team"));
                diesel::insert_into(records::table).values(record).execute(t.conn()?).await?;
                let row = (
                    teams::org_id.eq(org),
                    teams::id.eq(id.0),
                    teams::created_at.eq(now),
                    teams::updated_at.eq(now),
                    teams::name.eq(id.to_string()),
                    teams::name_normalized.eq(id.to_string()),
                );
                diesel::insert_into(teams::table).values(row).execute(t.conn()?).await?;
                for member in of {
                    let row = (
                        team_members::org_id.eq(org),
                        team_members::team_id.eq(id.0),
                        team_members::membership_id.eq(member.member.unwrap()),
                    );
                    diesel::insert_into(team_members::table).values(row).execute(t.conn()?).await?;
                }
                Ok(())
            })
            .await
            .unwrap();
        id
    }
}

/// The address that [`World::member`] gave a member.
pub(super) fn address(who: &Caller) -> String {
    format!("{}@example.com", who.member.unwrap())
}

/// A new organization, in which the program itself acts.
pub(super) async fn org(db: &Db, timezone: chrono_tz::Tz) -> Caller {
    let info = OrgInfo { id: OrgId::generate(), name: "Chairs".into(), currency: "EUR".into(), timezone };
    let row = (
        organizations::id.eq(info.id),
        organizations::name.eq("Chairs"),
        organizations::currency.eq("EUR"),
        organizations::timezone.eq(timezone.name()),
    );
    db.platform(async |p| -> Result<()> {
        diesel::insert_into(organizations::table).values(row).execute(p.conn()?).await?;
        Ok(())
    })
    .await
    .unwrap();
    let system = Caller::system(info);
    db.tenant(&system, async |t| -> Result<()> {
        let (org, now) = (t.org(), t.now());
        for name in BuiltinRole::WORDS {
            let id = Uuid::now_v7();
            let record = (records::org_id.eq(org), records::id.eq(id), records::kind.eq("role"));
            diesel::insert_into(records::table).values(record).execute(t.conn()?).await?;
            let row = (
                roles::org_id.eq(org),
                roles::id.eq(id),
                roles::created_at.eq(now),
                roles::updated_at.eq(now),
                roles::name.eq(*name),
                roles::name_normalized.eq(name.to_lowercase()),
                roles::is_builtin.eq(true),
            );
            diesel::insert_into(roles::table).values(row).execute(t.conn()?).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    system
}

/// An active member of that organization.
pub(super) async fn member_of(db: &Db, system: &Caller, role: BuiltinRole) -> Caller {
    let (member, user) = (MemberId::generate(), UserId::generate());
    let email = format!("{member}@example.com");
    db.tenant(system, async |t| -> Result<()> {
        let (org, now) = (t.org(), t.now());
        let row = (
            users::id.eq(user),
            users::email.eq(&email),
            users::email_normalized.eq(&email),
            users::name.eq(format!("{role} {member}")),
        );
        diesel::insert_into(users::table).values(row).execute(t.conn()?).await?;
        let record = (records::org_id.eq(org), records::id.eq(member.0), records::kind.eq("member"));
        diesel::insert_into(records::table).values(record).execute(t.conn()?).await?;
        let named = roles::table.filter(roles::org_id.eq(org).and(roles::name.eq(role.as_str())));
        let role: Uuid = named.select(roles::id).first(t.conn()?).await?;
        let row = (
            memberships::org_id.eq(org),
            memberships::id.eq(member),
            memberships::created_at.eq(now),
            memberships::updated_at.eq(now),
            memberships::user_id.eq(user),
            memberships::email.eq(&email),
            memberships::email_normalized.eq(&email),
            memberships::role_id.eq(role),
            memberships::state.eq("active"),
        );
        diesel::insert_into(memberships::table).values(row).execute(t.conn()?).await?;
        Ok(())
    })
    .await
    .unwrap();
    let principal = role_principal(true, role.as_str(), Grants::new());
    Caller { principal, user: Some(user), member: Some(member), ..system.clone() }
}
