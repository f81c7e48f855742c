//! One attempt to deliver: outside every transaction, and written down in the one that finishes its job.

use chrono::{DateTime, TimeDelta, Utc};
use crm_core::{Error, MemberId, Result, TenantTx};
use crm_jobs::{Failure, Job, Schedule, System};
use crm_schema::{webhook_deliveries as deliveries, webhooks};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook as Signer,
};
use uuid::Uuid;

use crate::deliveries::{DeliveryState, attempt, purge};
use crate::model::{DisabledReason, Webhook, Webhooks};
use crate::sender::Outcome;
use crate::service::{locked, switch_off};

/// The kind of the job that a change puts in: the migrations know it.
const FAN_OUT: &str = "webhooks.fan_out";
pub(crate) const DELIVER: &str = "webhooks.deliver";
const PURGE: &str = "webhooks.purge";

/// What is to be done regularly.
pub const SCHEDULES: &[Schedule] =
    &[Schedule { name: "webhooks.purge", cron: "23 3 * * *", kind: PURGE, per_org: true }];

/// How long to wait after each failure; after the last one it is given up.
const GAPS: [TimeDelta; 9] = [
    TimeDelta::seconds(5),
    TimeDelta::minutes(5),
    TimeDelta::minutes(30),
    TimeDelta::hours(2),
    TimeDelta::hours(5),
    TimeDelta::hours(10),
    TimeDelta::hours(14),
    TimeDelta::hours(20),
    TimeDelta::hours(24),
];

/// For how long a webhook may do nothing but fail.
const PATIENCE: TimeDelta = TimeDelta::days(5);

/// How many attempts of a delivery are kept.
const KEPT: usize = 20;

/// An attempt to deliver.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WebhookAttempt {
    /// When it was over.
    pub at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The status of the answer; null without one.
    pub status: Option<u16>,
    /// The first 1,000 characters of the answer, without control characters; null where the caller is not shown the body.
    pub response: Option<String>,
    /// Why it failed; null when it did not.
    pub error: Option<String>,
}

/// An event on its way to a webhook.
#[derive(Debug, Clone, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = deliveries)]
#[schema(as = WebhookDelivery)]
pub struct Delivery {
    /// Its id, sent as `webhook-id` at every attempt.
    pub id: Uuid,
    /// The webhook.
    pub webhook_id: Uuid,
    /// When the event was handed to it.
    pub created_at: DateTime<Utc>,
    /// Who caused it; null for the program itself.
    pub created_by: Option<MemberId>,
    /// What happened, such as `lead.created`.
    pub event: String,
    /// The change in the feed; null for a test.
    pub change_id: Option<Uuid>,
    /// `pending`, `delivered` or `failed`.
    pub state: String,
    /// When it is tried next; null when it is not.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was taken.
    pub delivered_at: Option<DateTime<Utc>>,
    /// The latest twenty attempts, oldest first.
    #[schema(value_type = Vec<WebhookAttempt>)]
    pub attempts: serde_json::Value,
    /// What is sent; null where the caller can't see every record of the event's kind.
    #[diesel(deserialize_as = String)]
    pub body: Option<String>,
}

/// Whose turn it is to try a delivery: a job whose ticket is not the delivery's present one has nothing to do any more.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) delivery: Uuid,
    pub(crate) ticket: Uuid,
}

/// What is to be sent, read before anything is.
#[derive(Queryable)]
struct Parcel {
    url: String,
    is_active: bool,
    secret: String,
    previous_secret: Option<String>,
    previous_secret_until: Option<DateTime<Utc>>,
    body: String,
}

impl Webhooks {
    /// Does a job of webhooks; none when it is of another kind.
    pub async fn handle(&self, job: &Job) -> Option<Result<(), Failure>> {
        Some(match job.kind.as_str() {
            FAN_OUT => match job.payload() {
                Ok(change) => job.inside(&self.db, async |t| self.fan_out(t, &change).await).await,
                Err(failure) => Err(failure),
            },
            DELIVER => self.deliver(job).await,
            PURGE => job.inside(&self.db, async |t| purge(t).await.map(drop)).await,
            _ => return None,
        })
    }

    /// Tries a delivery once. The receiver may get it twice where the program ends between the answer and its being written down.
    async fn deliver(&self, job: &Job) -> Result<(), Failure> {
        let ticket: Ticket = job.payload()?;
        let org = job.org_id.ok_or_else(|| Failure::Final("the job has no organization".into()))?;
        let Some(parcel) = self.db.tenant(&System(org), async |t| pending(t, ticket).await).await? else {
            return Ok(());
        };
        let outcome = match self.headers(ticket.delivery, &parcel) {
            _ if !parcel.is_active => Outcome::refused("the webhook was switched off"),
            Ok(headers) => self.sender.post(&parcel.url, &headers, parcel.body).await,
            Err(_) => Outcome::refused("the secret can't be read any more: give the webhook another one"),
        };
        job.inside(&self.db, async |t| record(t, ticket, &outcome).await).await
    }

    /// The headers of the specification: signed with the present secret, and with the one before while that counts.
    fn headers(&self, id: Uuid, parcel: &Parcel) -> Result<[(&'static str, String); 3]> {
        let now = self.db.clock().now();
        let previous = parcel.previous_secret.as_ref().filter(|_| parcel.previous_secret_until > Some(now));
        let mut signatures = Vec::new();
        for sealed in [Some(&parcel.secret), previous].into_iter().flatten() {
            let secret = String::from_utf8(self.sealer.open(sealed)?).map_err(Error::internal)?;
            let signer = Signer::new(&secret).map_err(Error::internal)?;
            let signature = signer.sign(&id.to_string(), now.timestamp(), parcel.body.as_bytes());
            signatures.push(signature.map_err(Error::internal)?);
        }
        Ok([
            (HEADER_WEBHOOK_ID, id.to_string()),
            (HEADER_WEBHOOK_TIMESTAMP, now.timestamp().to_string()),
            (HEADER_WEBHOOK_SIGNATURE, signatures.join(" ")),
        ])
    }
}

/// The delivery, if it is still this ticket's to try.
async fn pending(t: &mut TenantTx, Ticket { delivery, ticket }: Ticket) -> Result<Option<Parcel>> {
    let this = webhooks::org_id.eq(deliveries::org_id).and(webhooks::id.eq(deliveries::webhook_id));
    let found = deliveries::table
        .inner_join(webhooks::table.on(this))
        .filter(deliveries::org_id.eq(t.org()).and(deliveries::id.eq(delivery)))
        .filter(deliveries::ticket.eq(ticket).and(deliveries::state.eq(DeliveryState::Pending)))
        .select((
            webhooks::url,
            webhooks::is_active,
            webhooks::secret,
            webhooks::previous_secret,
            webhooks::previous_secret_until,
            deliveries::body,
        ));
    Ok(found.first(t.conn()?).await.optional()?)
}

/// Writes down an attempt, and sees to the next one or to the end.
async fn record(t: &mut TenantTx, ticket: Ticket, outcome: &Outcome) -> Result<()> {
    let (webhook, tries, attempts) = match claimed(t, ticket).await {
        // Asked for again meanwhile, which another job sees to, or deleted.
        Err(Error::NotFound) => return Ok(()),
        found => found?,
    };
    let mut attempts: Vec<WebhookAttempt> = serde_json::from_value(attempts).map_err(Error::internal)?;
    attempts.push(WebhookAttempt {
        at: t.now(),
        duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
        status: outcome.status,
        response: outcome.response.clone(),
        error: outcome.error.clone(),
    });
    attempts.drain(..attempts.len().saturating_sub(KEPT));

    let goes_on = judge(t, &webhook, outcome).await?;
    let gap = usize::try_from(tries).ok().and_then(|tries| GAPS.get(tries)).filter(|_| goes_on);
    let next_at = gap.filter(|_| !outcome.is_success()).map(|gap| t.now() + *gap);
    let state = match next_at {
        _ if outcome.is_success() => DeliveryState::Delivered,
        Some(_) => DeliveryState::Pending,
        None => DeliveryState::Failed,
    };
    let next = Ticket { ticket: Uuid::now_v7(), ..ticket };
    let this =
        deliveries::table.filter(deliveries::org_id.eq(t.org()).and(deliveries::id.eq(ticket.delivery)));
    diesel::update(this)
        .set((
            deliveries::state.eq(state),
            deliveries::ticket.eq(next.ticket),
            deliveries::tries.eq(tries + 1),
            deliveries::next_attempt_at.eq(next_at),
            deliveries::delivered_at.eq(outcome.is_success().then_some(t.now())),
            deliveries::attempts.eq(json!(attempts)),
        ))
        .execute(t.conn()?)
        .await?;
    match next_at {
        Some(at) => attempt(t, next, Some(at)).await,
        None => Ok(()),
    }
}

/// The webhook and then the delivery, both locked, if it is still this ticket's.
async fn claimed(t: &mut TenantTx, ticket: Ticket) -> Result<(Webhook, i32, serde_json::Value)> {
    let this =
        deliveries::table.filter(deliveries::org_id.eq(t.org()).and(deliveries::id.eq(ticket.delivery)));
    let this = this.filter(deliveries::ticket.eq(ticket.ticket));
    let webhook = this.select(deliveries::webhook_id).first(t.conn()?).await?;
    let webhook = locked(t, webhook).await?;
    let row = this.select((deliveries::tries, deliveries::attempts)).for_update();
    let (tries, attempts) = row.first(t.conn()?).await?;
    Ok((webhook, tries, attempts))
}

/// What the outcome says of the webhook; whether there is a next time.
async fn judge(t: &mut TenantTx, webhook: &Webhook, outcome: &Outcome) -> Result<bool> {
    if !webhook.fields.is_active {
        return Ok(false);
    }
    let failing_since = match webhook.failing_since {
        Some(_) if outcome.is_success() => None,
        _ if outcome.is_success() => return Ok(true),
        _ if outcome.is_gone() => {
            switch_off(t, webhook, DisabledReason::Gone).await?;
            return Ok(false);
        }
        Some(since) if t.now() - since >= PATIENCE => {
            switch_off(t, webhook, DisabledReason::Failing).await?;
            return Ok(false);
        }
        Some(_) => return Ok(true),
        None => Some(t.now()),
    };
    let this = webhooks::table.filter(webhooks::org_id.eq(t.org()).and(webhooks::id.eq(webhook.base.id)));
    diesel::update(this).set(webhooks::failing_since.eq(failing_since)).execute(t.conn()?).await?;
    Ok(true)
}
