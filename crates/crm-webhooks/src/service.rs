use chrono::{DateTime, TimeDelta, Utc};
use crm_access::Require;
use crm_core::{Code, Error, Result, TenantTx};
use crm_identity::{Client, EventKind, audit};
use crm_records::list::{Page, Params, Shaped, SortValues};
use crm_records::{
    Base, Edit, Precondition, base_changes, base_columns, base_values, created, deleted, diff, updated,
};
use crm_schema::{organizations, webhooks};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::model::{
    DisabledReason, NewWebhook, RotatedSecret, WEBHOOKS, Webhook, WebhookFields, Webhooks, new_secret,
};
use crate::{deliveries, events, kinds};

/// How many webhooks an organization may have.
const MAX_WEBHOOKS: i64 = 20;

/// How long the secret before the present one signs as well.
const OVERLAP: TimeDelta = TimeDelta::hours(24);

type State = (Option<String>, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
type Row = (Base, String, Value, String, bool, State);

fn webhook((base, url, events, description, is_active, state): Row) -> Result<Webhook> {
    let events = serde_json::from_value(events).map_err(Error::internal)?;
    let (disabled_reason, failing_since, previous_secret_until) = state;
    Ok(Webhook {
        base,
        fields: WebhookFields { url, events, description, is_active },
        disabled_reason: disabled_reason.as_deref().and_then(DisabledReason::from_word),
        failing_since,
        previous_secret_until,
    })
}

/// The columns of a [`Row`].
macro_rules! columns {
    () => {
        (
            base_columns!(webhooks),
            webhooks::url,
            webhooks::events,
            webhooks::description,
            webhooks::is_active,
            (webhooks::disabled_reason, webhooks::failing_since, webhooks::previous_secret_until),
        )
    };
}

impl Webhooks {
    /// Lists the webhooks.
    ///
    /// # Errors
    /// `Forbidden` without `webhooks.view_webhook`; 400 for parameters.
    pub async fn list(&self, t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Webhook>>> {
        let scope = t.require("webhooks.view_webhook")?;
        let selection = WEBHOOKS.select(params, t.caller(), scope)?;
        let page = selection
            .run(t, async |t, f| {
                let rows: Vec<(Row, SortValues)> = webhooks::table
                    .filter(f.filter)
                    .order_by(f.slice)
                    .select((columns!(), selection.keys()))
                    .load(t.conn()?)
                    .await?;
                rows.into_iter().map(|(row, keys)| Ok((webhook(row)?, keys))).collect()
            })
            .await?;
        selection.shape.page(t, page).await
    }

    /// One webhook.
    ///
    /// # Errors
    /// `Forbidden` without `webhooks.view_webhook`; `NotFound`.
    pub async fn find(&self, t: &mut TenantTx, id: Uuid) -> Result<Webhook> {
        t.require("webhooks.view_webhook")?;
        let row = webhooks::table.filter(webhooks::org_id.eq(t.org()).and(webhooks::id.eq(id)));
        webhook(row.select(columns!()).first(t.conn()?).await?)
    }

    /// Makes a webhook with a secret.
    ///
    /// # Errors
    /// `Forbidden` without `webhooks.add_webhook`, through a token, and for events of records that the caller can't all see;
    /// `Conflict` where there are as many as there may be; 422 for the URL and the events.
    pub async fn create(
        &self,
        t: &mut TenantTx,
        client: &Client,
        fields: WebhookFields,
    ) -> Result<NewWebhook> {
        require_in_person(t, "webhooks.add_webhook")?;
        let fields = self.settle(t, fields)?;
        make_room(t).await?;
        let (base, secret) = (Base::new(t), new_secret());
        created(t, WEBHOOKS.kind, &base, None).await?;
        diesel::insert_into(webhooks::table)
            .values((
                base_values!(webhooks, base),
                webhooks::url.eq(&fields.url),
                webhooks::events.eq(json!(fields.events)),
                webhooks::description.eq(&fields.description),
                webhooks::is_active.eq(fields.is_active),
                webhooks::secret.eq(self.sealer.seal(secret.as_bytes())?),
            ))
            .execute(t.conn()?)
            .await?;
        audit(t, client, EventKind::WebhookCreated, json!({"webhook_id": base.id})).await?;
        let webhook =
            Webhook { base, fields, disabled_reason: None, failing_since: None, previous_secret_until: None };
        Ok(NewWebhook { webhook, secret })
    }

    /// Changes a webhook. One that is switched on again counts as working until it fails.
    ///
    /// # Errors
    /// `Forbidden` without `webhooks.change_webhook`, through a token, for events of records that the caller can't all see, and for
    /// another URL where there were such before; `NotFound`; `Stale`; 400 and 422 for the body.
    pub async fn update(&self, t: &mut TenantTx, client: &Client, id: Uuid, edit: Edit) -> Result<Webhook> {
        require_in_person(t, "webhooks.change_webhook")?;
        let old = locked(t, id).await?;
        let fields = self.settle(t, edit.fields(&old, &old.base, Webhook::READ_ONLY)?)?;
        if fields == old.fields {
            return Ok(old);
        }
        if fields.url != old.fields.url {
            self.may_redirect(t, &old).await?;
        }
        let revived = fields.is_active && !old.fields.is_active;
        let failing_since = old.failing_since.filter(|_| !revived);
        let disabled_reason = old.disabled_reason.filter(|_| !fields.is_active);
        let new = Webhook { base: old.base.next(t), fields, disabled_reason, failing_since, ..old.clone() };
        store(t, &old, &new).await?;
        audit(t, client, EventKind::WebhookChanged, json!({"webhook_id": id})).await?;
        Ok(new)
    }

    /// Deletes a webhook with its deliveries.
    ///
    /// # Errors
    /// `Forbidden` without `webhooks.delete_webhook` and through a token; `NotFound`; `Stale`.
    pub async fn delete(
        &self,
        t: &mut TenantTx,
        client: &Client,
        id: Uuid,
        precondition: &Precondition,
    ) -> Result<()> {
        require_in_person(t, "webhooks.delete_webhook")?;
        precondition.check(&locked(t, id).await?.base)?;
        deleted(t, WEBHOOKS.kind, id).await?;
        audit(t, client, EventKind::WebhookDeleted, json!({"webhook_id": id})).await
    }

    /// Gives a webhook another secret. The one before signs as well for a day, so that a receiver has time to learn the new one.
    ///
    /// # Errors
    /// `Forbidden` without `webhooks.change_webhook`, through a token, and for events of records that the caller may not all read;
    /// `NotFound`.
    pub async fn rotate_secret(&self, t: &mut TenantTx, client: &Client, id: Uuid) -> Result<RotatedSecret> {
        require_in_person(t, "webhooks.change_webhook")?;
        let old = locked(t, id).await?;
        // Whoever has the secret can sign in our name what the receiver takes for these events.
        self.may_follow(t, &old.fields.events)?;
        let (secret, until) = (new_secret(), t.now() + OVERLAP);
        let base = old.base.next(t);
        let this = webhooks::table.filter(webhooks::org_id.eq(t.org()).and(webhooks::id.eq(id)));
        diesel::update(this)
            .set((
                base_changes!(webhooks, base),
                webhooks::previous_secret.eq(webhooks::secret.nullable()),
                webhooks::previous_secret_until.eq(until),
                webhooks::secret.eq(self.sealer.seal(secret.as_bytes())?),
            ))
            .execute(t.conn()?)
            .await?;
        let new = Webhook { base, previous_secret_until: Some(until), ..old.clone() };
        updated(t, WEBHOOKS.kind, &new.base, diff(&old, &new)?, None).await?;
        audit(t, client, EventKind::WebhookChanged, json!({"webhook_id": id, "what": "secret"})).await?;
        Ok(RotatedSecret { secret, previous_secret_until: until })
    }

    /// What is asked for must be there, and nothing that the caller could not read.
    fn settle(&self, t: &TenantTx, fields: WebhookFields) -> Result<WebhookFields> {
        let fields = fields.settle(self.targets, self.sender.allow_private)?;
        self.may_follow(t, &fields.events)?;
        Ok(fields)
    }

    fn may_follow(&self, t: &TenantTx, events: &[String]) -> Result<()> {
        events::kinds(self.targets, events).try_for_each(|target| kinds::require_all(t.caller(), target))
    }

    /// What is on its way goes to the new address as well, whatever the webhook asks for from now on.
    async fn may_redirect(&self, t: &mut TenantTx, old: &Webhook) -> Result<()> {
        self.may_follow(t, &old.fields.events)?;
        for event in deliveries::pending_events(t, old.base.id).await? {
            kinds::require_event(t.caller(), self.targets, &event)?;
        }
        Ok(())
    }
}

/// A webhook outlives the token that made it, so members manage them in person.
fn require_in_person(t: &TenantTx, permission: &'static str) -> Result<()> {
    t.require(permission)?;
    let caller = t.caller();
    if caller.member.is_some() && caller.session.is_none() {
        return Err(Error::Forbidden("webhooks are managed by a member who has signed in".into()));
    }
    Ok(())
}

/// Switches a webhook off because of how its receiver behaves; who administers the organization finds it in the audit trail.
///
/// # Errors
/// Those of the database.
pub(crate) async fn switch_off(t: &mut TenantTx, old: &Webhook, reason: DisabledReason) -> Result<()> {
    let fields = WebhookFields { is_active: false, ..old.fields.clone() };
    let new = Webhook { base: old.base.next(t), fields, disabled_reason: Some(reason), ..old.clone() };
    store(t, old, &new).await?;
    let detail = json!({"webhook_id": old.base.id, "what": "switched_off", "reason": reason});
    audit(t, &Client::default(), EventKind::WebhookChanged, detail).await
}

/// Whoever makes one at the same time waits, so that two don't take the last place.
async fn make_room(t: &mut TenantTx) -> Result<()> {
    let this = organizations::table.filter(organizations::id.eq(t.org())).select(organizations::id);
    this.for_no_key_update().first::<Uuid>(t.conn()?).await?;
    let here = webhooks::table.filter(webhooks::org_id.eq(t.org()));
    if here.count().get_result::<i64>(t.conn()?).await? < MAX_WEBHOOKS {
        return Ok(());
    }
    let message = format!("an organization has {MAX_WEBHOOKS} webhooks at most");
    Err(Error::Refused(Code::Conflict, message.into()))
}

/// A webhook that nobody else changes meanwhile. Whoever locks a delivery of it as well does so afterwards, as a deletion does.
///
/// # Errors
/// `NotFound`.
pub(crate) async fn locked(t: &mut TenantTx, id: Uuid) -> Result<Webhook> {
    let row = webhooks::table.filter(webhooks::org_id.eq(t.org()).and(webhooks::id.eq(id)));
    webhook(row.select(columns!()).for_no_key_update().first(t.conn()?).await?)
}

async fn store(t: &mut TenantTx, old: &Webhook, new: &Webhook) -> Result<()> {
    let this = webhooks::table.filter(webhooks::org_id.eq(t.org()).and(webhooks::id.eq(new.base.id)));
    diesel::update(this)
        .set((
            base_changes!(webhooks, new.base),
            webhooks::url.eq(&new.fields.url),
            webhooks::events.eq(json!(new.fields.events)),
            webhooks::description.eq(&new.fields.description),
            webhooks::is_active.eq(new.fields.is_active),
            webhooks::disabled_reason.eq(new.disabled_reason),
            webhooks::failing_since.eq(new.failing_since),
        ))
        .execute(t.conn()?)
        .await?;
    updated(t, WEBHOOKS.kind, &new.base, diff(old, new)?, None).await
}
