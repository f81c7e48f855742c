use std::sync::Arc;

use crm_core::{Db, MemberId, Result, TenantTx};
use crm_jobs::{Failure, Job, Schedule};
use crm_mail::{Message, Template};
use crm_records::comments::{COMMENTED, Commented};
use crm_records::followers::{self, Among, Reader};
use crm_records::{ASSIGNED, Assigned, Target};
use crm_schema::{comment_mentions, comments, records};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use crate::Verb;
use crate::delivery::{Event, deliver, lock, names};
use crate::digest::{self, DIGEST};
use crate::purge::{self, PURGE};

/// What is to be done regularly.
pub const SCHEDULES: &[Schedule] = &[
    Schedule { name: "notifications.digest", cron: "0 * * * *", kind: DIGEST, per_org: true },
    Schedule { name: "notifications.purge", cron: "20 3 * * *", kind: PURGE, per_org: true },
];

/// How much of a comment is told.
const EXCERPT: usize = 200;

diesel::define_sql_function! {
    /// What a record is called where it is found.
    fn record_title(record: diesel::sql_types::Uuid) -> diesel::sql_types::Nullable<diesel::sql_types::Text>;
}

/// Does the jobs that tell members something.
#[derive(Debug, Clone)]
pub struct Notifier {
    targets: &'static [Target],
    frontend_url: Arc<str>,
}

impl Notifier {
    /// For records of these kinds; links in mails lead to `frontend_url`.
    pub fn new(targets: &'static [Target], frontend_url: &str) -> Self {
        Self { targets, frontend_url: frontend_url.trim_end_matches('/').into() }
    }

    /// Does a job of this crate's own in one transaction with its end; none for a job of another kind.
    pub async fn handle(&self, db: &Db, job: &Job) -> Option<Result<(), Failure>> {
        let done = match job.kind.as_str() {
            ASSIGNED => job.inside(db, async |t| self.assigned(t, job.id, &job.payload()?).await).await,
            COMMENTED => job.inside(db, async |t| self.commented(t, &job.payload()?).await).await,
            DIGEST => job.inside(db, async |t| digest::send(t, &self.frontend_url).await).await,
            PURGE => job.inside(db, purge::purge).await,
            _ => return None,
        };
        Some(done)
    }

    /// Tells members of a record that is theirs now.
    async fn assigned(&self, t: &mut TenantTx, event: Uuid, told: &Assigned) -> Result<(), Failure> {
        let target = self.target(&told.kind)?;
        if !is_there(t, told.record_id).await? {
            return Ok(());
        }
        let readers = followers::readers(t, target, told.record_id, Among::Members(&told.members)).await?;
        let title = titled(&told.title, &told.kind);
        let link = link(target, told.record_id);
        let by = name_of(t, told.by).await?;
        let event = Event {
            verb: Verb::Assigned,
            id: event,
            by: told.by,
            kind: &told.kind,
            record: told.record_id,
            comment: None,
            title,
            link: &link,
            data: json!({}),
        };
        let data = json!({
            "org_name": t.caller().org.name,
            "assigned_by": by,
            "kind": told.kind,
            "title": title,
            "link": self.page(&link),
        });
        let mail = |reader: &Reader| Message::new(&reader.email, Template::Assigned, data.clone());
        Ok(deliver(t, &event, &without(readers, &[told.by]), mail).await?)
    }

    /// Tells those whom a comment mentions, and of a new one everybody else who follows the record.
    async fn commented(&self, t: &mut TenantTx, told: &Commented) -> Result<(), Failure> {
        let target = self.target(&told.kind)?;
        let comment =
            comments::table.filter(comments::org_id.eq(t.org()).and(comments::id.eq(told.comment_id)));
        let columns = (comments::record_id, comments::created_by, comments::comment);
        let found =
            comment.select(columns).first(t.conn()?).await.optional().map_err(crm_core::Error::from)?;
        let Some((record, author, text)): Option<(Uuid, Option<MemberId>, String)> = found else {
            // Taken back, or the record is gone: there is nothing to tell any more.
            return Ok(());
        };
        let title: Option<String> = diesel::select(record_title(record))
            .get_result(t.conn()?)
            .await
            .map_err(crm_core::Error::from)?;
        let title = titled(title.as_deref().unwrap_or_default(), &told.kind);
        let excerpt: String = text.chars().take(EXCERPT).collect();
        let link = link(target, record);
        let event = |verb| Event {
            verb,
            id: told.comment_id,
            by: told.by,
            kind: &told.kind,
            record,
            comment: Some(told.comment_id),
            title,
            link: &link,
            data: json!({"comment_id": told.comment_id, "excerpt": excerpt}),
        };
        let data = json!({
            "org_name": t.caller().org.name,
            "by": name_of(t, told.by).await?,
            "kind": told.kind,
            "title": title,
            "excerpt": excerpt,
            "link": self.page(&link),
        });
        let mail = |template| {
            let data = &data;
            move |reader: &Reader| Message::new(&reader.email, template, data.clone())
        };
        let knowing = [told.by, author];
        // Who is mentioned by now: an edit may have taken a mention back, or made one that another job tells of.
        let mentions = mentions(t, told.comment_id).await?;
        let mentioned: Vec<_> = told.mentioned.iter().filter(|id| mentions.contains(id)).copied().collect();
        let mentioned = followers::readers(t, target, record, Among::Members(&mentioned)).await?;
        let mentioned = without(mentioned, &knowing);
        let mut following = Vec::new();
        if told.is_new {
            let knowing: Vec<_> = mentions.into_iter().map(Some).chain(knowing).collect();
            following = followers::readers(t, target, record, Among::Followers).await?;
            following = without(following, &knowing);
        }
        // Both at once: one after the other, two jobs could each wait for a member whom the other has.
        let everybody: Vec<_> = mentioned.iter().chain(&following).map(|reader| reader.id).collect();
        lock(t, &everybody).await?;
        deliver(t, &event(Verb::Mentioned), &mentioned, mail(Template::Mentioned)).await?;
        Ok(deliver(t, &event(Verb::Commented), &following, mail(Template::Commented)).await?)
    }

    fn target(&self, kind: &str) -> Result<&'static Target, Failure> {
        let found = self.targets.iter().find(|target| target.resource.kind == kind);
        found.ok_or_else(|| Failure::Final(format!("there are no records of the kind {kind}")))
    }

    fn page(&self, link: &str) -> String {
        format!("{}{link}", self.frontend_url)
    }
}

/// The record's page of the front end, which is named as its module.
fn link(target: &Target, record: Uuid) -> String {
    let module = target.view.split('.').next().unwrap_or_default();
    format!("/{module}/{record}")
}

fn titled<'a>(title: &'a str, kind: &'a str) -> &'a str {
    if title.is_empty() { kind } else { title }
}

fn without(mut readers: Vec<Reader>, knowing: &[Option<MemberId>]) -> Vec<Reader> {
    readers.retain(|reader| !knowing.contains(&Some(reader.id)));
    readers
}

async fn mentions(t: &mut TenantTx, comment: Uuid) -> Result<Vec<MemberId>> {
    let of = comment_mentions::org_id.eq(t.org()).and(comment_mentions::comment_id.eq(comment));
    let mentions = comment_mentions::table.filter(of).select(comment_mentions::membership_id);
    Ok(mentions.load(t.conn()?).await?)
}

async fn is_there(t: &mut TenantTx, record: Uuid) -> Result<bool> {
    let this = records::table.filter(records::org_id.eq(t.org()).and(records::id.eq(record)));
    Ok(this.count().get_result::<i64>(t.conn()?).await? > 0)
}

/// What a member is called, or the organization where the program itself acts.
async fn name_of(t: &mut TenantTx, member: Option<MemberId>) -> Result<String> {
    let Some(member) = member else { return Ok(t.caller().org.name.clone()) };
    let name = names(t, &[member]).await?.remove(&member);
    Ok(name.unwrap_or_else(|| t.caller().org.name.clone()))
}
