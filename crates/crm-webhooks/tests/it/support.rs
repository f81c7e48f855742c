use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use crm_core::migrate::OwnerConnection;
use crm_core::{Caller, Db, Grant, OrgId, OrgInfo, Principal, Result, Scope, Sealer, TenantTx};
use crm_identity::Client;
use crm_jobs::{Job, Worker};
use crm_records::list::{Field, Kind, Params, Resource, Shaped};
use crm_records::tags::{self, TAGS, TagFields};
use crm_records::{Edit, Target};
use crm_schema::organizations;
use crm_testkit::{Database, fresh_database};
use crm_webhooks::{Delivery, SystemResolver, Webhook, WebhookFields, WebhookSettings, Webhooks};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};
use uuid::Uuid;

/// Tags stand for records of any kind: their service locks, counts versions and logs as every other does.
pub(crate) const TARGETS: &[Target] = &[
    Target { resource: TAGS, view: "tags.view_tag", change: "tags.change_tag" },
    Target {
        resource: Resource {
            kind: "lead",
            table: "leads",
            fields: &[Field::new("title", Kind::Text)],
            searchable: false,
            mutable: true,
            neighbours: None,
        },
        view: "leads.view_lead",
        change: "leads.change_lead",
    },
];

/// A new organization, in which the program itself acts.
pub(crate) async fn org(db: &Db) -> Caller {
    let id = OrgId::generate();
    db.platform(async |p| -> Result<()> {
        let row = (organizations::id.eq(id), organizations::name.eq("Test"));
        diesel::insert_into(organizations::table).values(row).execute(p.conn()?).await?;
        Ok(())
    })
    .await
    .unwrap();
    let timezone = chrono_tz::UTC;
    Caller::system(OrgInfo { id, name: "Test".into(), currency: "EUR".into(), timezone })
}

/// Somebody in the organization of `org` whose role grants these actions.
pub(crate) fn somebody(org: &Caller, grants: &[(&str, &[&str], Scope)]) -> Caller {
    let grant = |actions: &[&str], scope| {
        let actions = actions.iter().map(ToString::to_string).collect();
        Grant { actions, scope }
    };
    let grants = grants.iter().map(|(module, actions, scope)| ((*module).to_owned(), grant(actions, *scope)));
    let grants = Some(Arc::new(grants.collect()));
    Caller { principal: Principal::User { is_superuser: false, in_tenant: true, grants }, ..org.clone() }
}

pub(crate) fn object(value: Value) -> crm_core::body::Object {
    value.as_object().unwrap().clone()
}

pub(crate) async fn tag(t: &mut TenantTx) -> Result<Uuid> {
    let fields: TagFields =
        serde_json::from_value(json!({"name": format!("tag {}", Uuid::now_v7())})).unwrap();
    Ok(tags::create(t, fields).await?.base.id)
}

/// Changes a tag, which is then at another version.
pub(crate) async fn touch(t: &mut TenantTx, id: Uuid) -> Result<()> {
    let edit = Edit::patch(object(json!({"description": Uuid::now_v7().to_string()})));
    tags::update(t, id, edit).await.map(drop)
}

pub(crate) async fn remove(t: &mut TenantTx, id: Uuid) -> Result<()> {
    crm_records::deleted(t, TAGS.kind, id).await
}

/// Resolves every name to one address.
pub(crate) struct Fixed(pub(crate) IpAddr);

impl Resolve for Fixed {
    fn resolve(&self, _: Name) -> Resolving {
        let at = [SocketAddr::new(self.0, 0)];
        Box::pin(async move { Ok(Box::new(at.into_iter()) as Addrs) })
    }
}

/// A database of its own with one organization, whose webhooks may lead to this machine.
pub(crate) struct Bench {
    pub(crate) database: Database,
    pub(crate) webhooks: Webhooks,
    pub(crate) org: Caller,
}

pub(crate) fn settings(allow_private: bool) -> WebhookSettings {
    WebhookSettings {
        sealer: Sealer::new("a secret of the installation", "webhook").unwrap(),
        allow_private,
        time_limit: Duration::from_millis(500),
        names: Arc::new(SystemResolver),
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let database = fresh_database().await;
        let webhooks = Webhooks::new(database.db.clone(), settings(true), TARGETS).unwrap();
        let org = org(&database.db).await;
        Self { database, webhooks, org }
    }

    /// The same under other settings.
    pub(crate) fn under(self, settings: WebhookSettings) -> Self {
        let webhooks = Webhooks::new(self.database.db.clone(), settings, TARGETS).unwrap();
        Self { webhooks, ..self }
    }

    pub(crate) fn db(&self) -> &Db {
        &self.database.db
    }

    pub(crate) async fn inside<T>(&self, work: impl AsyncFnOnce(&mut TenantTx) -> Result<T>) -> Result<T> {
        self.db().tenant(&self.org, work).await
    }

    /// Makes a webhook and answers its id and secret.
    pub(crate) async fn webhook(&self, url: &str, events: &[&str]) -> (Uuid, String) {
        let fields: WebhookFields = serde_json::from_value(json!({"url": url, "events": events})).unwrap();
        let made = self.inside(async |t| self.webhooks.create(t, &Client::default(), fields).await);
        let made = made.await.unwrap();
        (made.webhook.base.id, made.secret)
    }

    pub(crate) async fn find(&self, id: Uuid) -> Webhook {
        self.inside(async |t| self.webhooks.find(t, id).await).await.unwrap()
    }

    pub(crate) async fn patch(&self, id: Uuid, patch: Value) -> Result<Webhook> {
        self.patch_as(&self.org, id, patch).await
    }

    /// The same by somebody else.
    pub(crate) async fn patch_as(&self, caller: &Caller, id: Uuid, patch: Value) -> Result<Webhook> {
        let edit = Edit::patch(object(patch));
        let patched = async |t: &mut TenantTx| self.webhooks.update(t, &Client::default(), id, edit).await;
        self.db().tenant(caller, patched).await
    }

    /// The deliveries of a webhook, oldest first.
    pub(crate) async fn deliveries(&self, id: Uuid) -> Vec<Delivery> {
        self.deliveries_as(&self.org, id).await
    }

    /// The same as somebody else sees them.
    pub(crate) async fn deliveries_as(&self, caller: &Caller, id: Uuid) -> Vec<Delivery> {
        let all = Params::of(&[("limit", "200")]);
        let page = self.db().tenant(caller, async |t| self.webhooks.deliveries(t, id, &all).await);
        let page = page.await.unwrap();
        let rows = page.results.into_iter().rev();
        rows.map(|row| if let Shaped::Plain(row) = row { row } else { panic!("reshaped") }).collect()
    }

    /// The one delivery of a webhook.
    pub(crate) async fn delivery(&self, id: Uuid) -> Delivery {
        let mut all = self.deliveries(id).await;
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    /// Makes a tag, which is one event.
    pub(crate) async fn event(&self) -> Uuid {
        self.inside(tag).await.unwrap()
    }

    /// Does every job that is due, and answers how many those were.
    pub(crate) async fn work_off(&self) -> usize {
        let handle = async |job: &Job| self.webhooks.handle(job).await.unwrap();
        let worker = Worker::new(self.db().clone());
        let mut done = 0;
        while worker.work_off(&handle).await.unwrap() > 0 {
            done += 1;
        }
        done
    }

    pub(crate) async fn as_owner(&self, sql: String) {
        let url = self.database.owner_url.clone();
        let run = move || OwnerConnection::establish(&url).unwrap().batch_execute(&sql).unwrap();
        tokio::task::spawn_blocking(run).await.unwrap();
    }

    /// Moves the program's clock, and lets every job be due that waits.
    pub(crate) async fn pass(&self, time: TimeDelta) {
        self.db().clock().advance(time);
        self.as_owner("UPDATE jobs SET run_at = now() - interval '1 minute' WHERE state = 'waiting'".into())
            .await;
    }
}
