//! Events on their way: who is told of what, and what became of it.

use chrono::{DateTime, TimeDelta, Utc};
use crm_access::Require;
use crm_core::{Code, Error, MemberId, Result, Scope, TenantTx};
use crm_jobs::NewJob;
use crm_records::list::{Field, Kind, Page, Params, Resource, Shaped, Value};
use crm_schema::{webhook_deliveries as deliveries, webhooks};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::attempt::{DELIVER, Delivery, Ticket};
use crate::events::{self, TEST};
use crate::feed::FeedChange;
use crate::kinds::require_event;
use crate::model::Webhooks;

/// For how long deliveries are kept, and how many are removed at once.
const KEPT: TimeDelta = TimeDelta::days(30);
const BATCH: i64 = 10_000;

/// After the organization's other work: a receiver that is slow must not hold up its mail.
const PRIORITY: i32 = 200;

crm_core::text_enum!(
    /// How far a delivery has come.
    DeliveryState {
        /// To be tried, perhaps again.
        Pending = "pending",
        /// The receiver has it.
        Delivered = "delivered",
        /// Given up.
        Failed = "failed",
    }
);

/// Deliveries as a list.
pub const DELIVERIES: Resource = Resource {
    kind: "webhook_delivery",
    table: "webhook_deliveries",
    fields: &[
        Field::new("state", Kind::Choice(DeliveryState::WORDS)).required(),
        Field::new("event", Kind::Text).required(),
        Field::new("change_id", Kind::Id),
    ],
    searchable: false,
    mutable: false,
    neighbours: None,
};

/// What is sent.
#[derive(Serialize)]
struct Message<'a, D> {
    r#type: &'a str,
    timestamp: DateTime<Utc>,
    data: D,
}

#[derive(Serialize)]
struct Data<'a> {
    org_id: crm_core::OrgId,
    #[serde(flatten)]
    change: &'a FeedChange,
}

/// An event to be delivered.
struct Event<'a> {
    name: &'a str,
    change: Option<Uuid>,
    by: Option<MemberId>,
    body: String,
}

impl Webhooks {
    /// Has every webhook told of a change that asks for such: in the transaction of the job that brings it.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn fan_out(&self, t: &mut TenantTx, change: &FeedChange) -> Result<()> {
        if !self.targets.iter().any(|target| target.resource.kind == change.kind) {
            return Ok(());
        }
        let active = webhooks::table.filter(webhooks::org_id.eq(t.org()).and(webhooks::is_active.eq(true)));
        let active: Vec<(Uuid, serde_json::Value)> =
            active.select((webhooks::id, webhooks::events)).load(t.conn()?).await?;
        let mut told = Vec::new();
        for (id, asked) in active {
            let asked: Vec<String> = serde_json::from_value(asked).map_err(Error::internal)?;
            if events::matches(&asked, &change.kind, &change.action) {
                told.push(id);
            }
        }
        let name = format!("{}.{}", change.kind, change.action);
        let data = Data { org_id: t.org(), change };
        let body = Message { r#type: &name, timestamp: change.created_at, data };
        let body = serde_json::to_string(&body).map_err(Error::internal)?;
        let event = Event { name: &name, change: Some(change.id), by: change.created_by, body };
        for webhook in told {
            send(t, webhook, &event).await?;
        }
        Ok(())
    }

    /// Sends a webhook an event that is only a try.
    ///
    /// # Errors
    /// `Forbidden` without `webhooks.change_webhook`; `NotFound`; `Conflict` for one that is switched off.
    pub async fn test(&self, t: &mut TenantTx, id: Uuid) -> Result<Delivery> {
        t.require("webhooks.change_webhook")?;
        check_active(t, id).await?;
        let data = json!({"org_id": t.org(), "webhook_id": id});
        let body = serde_json::to_string(&Message { r#type: TEST, timestamp: t.now(), data });
        let body = body.map_err(Error::internal)?;
        let delivery = send(t, id, &Event { name: TEST, change: None, by: t.actor(), body }).await?;
        find(t, delivery).await
    }

    /// Lists the deliveries of a webhook, newest first: without what they tell of records that the caller can't all see.
    ///
    /// # Errors
    /// `Forbidden` without `webhooks.view_webhook`; `NotFound`; 400 for parameters.
    pub async fn deliveries(
        &self,
        t: &mut TenantTx,
        id: Uuid,
        params: &Params,
    ) -> Result<Page<Shaped<Delivery>>> {
        self.find(t, id).await?;
        let mut selection = DELIVERIES.select(params, t.caller(), Scope::All)?;
        selection.and(DELIVERIES.compare("webhook_id", "=", Value::Uuid(id)));
        let page = selection
            .run(t, async |t, f| {
                let rows = deliveries::table.filter(f.filter).order_by(f.slice);
                Ok(rows.select((Delivery::as_select(), selection.keys())).load(t.conn()?).await?)
            })
            .await?;
        let page = page.map(|delivery| match require_event(t.caller(), self.targets, &delivery.event) {
            Ok(()) => delivery,
            Err(_) => delivery.veiled(),
        });
        selection.shape.page(t, page).await
    }

    /// Sends a delivery again, now, and if need be for three days more. Its id stays, so that the receiver can tell a repetition.
    ///
    /// # Errors
    /// `Forbidden` without `webhooks.change_webhook`, and for an event of records that the caller can't all see; `NotFound`;
    /// `Conflict` for a webhook that is switched off.
    pub async fn redeliver(&self, t: &mut TenantTx, id: Uuid) -> Result<Delivery> {
        t.require("webhooks.change_webhook")?;
        let this = deliveries::table.filter(deliveries::org_id.eq(t.org()).and(deliveries::id.eq(id)));
        let row = this.select((deliveries::webhook_id, deliveries::event)).for_update();
        let (webhook, event): (Uuid, String) = row.first(t.conn()?).await?;
        require_event(t.caller(), self.targets, &event)?;
        check_active(t, webhook).await?;
        let (ticket, now) = (Uuid::now_v7(), t.now());
        diesel::update(this)
            .set((
                deliveries::state.eq(DeliveryState::Pending),
                deliveries::ticket.eq(ticket),
                deliveries::tries.eq(0),
                deliveries::next_attempt_at.eq(Some(now)),
                deliveries::delivered_at.eq(None::<DateTime<Utc>>),
            ))
            .execute(t.conn()?)
            .await?;
        attempt(t, Ticket { delivery: id, ticket }, None).await?;
        find(t, id).await
    }
}

impl Delivery {
    /// The same without what it tells, and without what the receiver said to that.
    fn veiled(mut self) -> Self {
        self.body = None;
        for attempt in self.attempts.as_array_mut().into_iter().flatten() {
            if let Some(response) = attempt.get_mut("response") {
                response.take();
            }
        }
        self
    }
}

/// What is on its way to a webhook.
///
/// # Errors
/// Those of the database.
pub(crate) async fn pending_events(t: &mut TenantTx, webhook: Uuid) -> Result<Vec<String>> {
    let here =
        deliveries::table.filter(deliveries::org_id.eq(t.org()).and(deliveries::webhook_id.eq(webhook)));
    let pending = here.filter(deliveries::state.eq(DeliveryState::Pending));
    Ok(pending.select(deliveries::event).distinct().load(t.conn()?).await?)
}

/// Removes deliveries that are a month old, and answers how many.
///
/// # Errors
/// Those of the database.
pub async fn purge(t: &mut TenantTx) -> Result<usize> {
    let mut removed = 0;
    loop {
        let (org, before) = (t.org(), t.now() - KEPT);
        let old = diesel::alias!(deliveries as old);
        let batch = old
            .filter(old.field(deliveries::org_id).eq(org).and(old.field(deliveries::created_at).lt(before)))
            .limit(BATCH)
            .select(old.field(deliveries::id));
        let these = deliveries::table.filter(deliveries::org_id.eq(org).and(deliveries::id.eq_any(batch)));
        let count = diesel::delete(these).execute(t.conn()?).await?;
        removed += count;
        if count == 0 {
            return Ok(removed);
        }
    }
}

/// Has a delivery tried by the holder of this ticket and by no other job.
pub(crate) async fn attempt(t: &mut TenantTx, ticket: Ticket, at: Option<DateTime<Utc>>) -> Result<()> {
    let job = NewJob::new(DELIVER, &ticket)?.priority(PRIORITY);
    match at {
        Some(at) => job.at(at).put(t).await,
        None => job.put(t).await,
    }
}

async fn send(t: &mut TenantTx, webhook: Uuid, event: &Event<'_>) -> Result<Uuid> {
    let (id, ticket, now) = (Uuid::now_v7(), Uuid::now_v7(), t.now());
    diesel::insert_into(deliveries::table)
        .values((
            deliveries::org_id.eq(t.org()),
            deliveries::id.eq(id),
            deliveries::webhook_id.eq(webhook),
            deliveries::created_at.eq(now),
            deliveries::created_by.eq(event.by),
            deliveries::event.eq(event.name),
            deliveries::change_id.eq(event.change),
            deliveries::body.eq(&event.body),
            deliveries::state.eq(DeliveryState::Pending),
            deliveries::ticket.eq(ticket),
            deliveries::next_attempt_at.eq(Some(now)),
        ))
        .execute(t.conn()?)
        .await?;
    attempt(t, Ticket { delivery: id, ticket }, None).await?;
    Ok(id)
}

async fn find(t: &mut TenantTx, id: Uuid) -> Result<Delivery> {
    let this = deliveries::table.filter(deliveries::org_id.eq(t.org()).and(deliveries::id.eq(id)));
    Ok(this.select(Delivery::as_select()).first(t.conn()?).await?)
}

async fn check_active(t: &mut TenantTx, webhook: Uuid) -> Result<()> {
    let this = webhooks::table.filter(webhooks::org_id.eq(t.org()).and(webhooks::id.eq(webhook)));
    match this.select(webhooks::is_active).first(t.conn()?).await? {
        true => Ok(()),
        false => Err(Error::Refused(Code::Conflict, "the webhook is switched off".into())),
    }
}
