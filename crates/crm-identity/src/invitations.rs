//! How people are asked to join an organization: by a link that only the invited address receives.

use chrono::{DateTime, TimeDelta, Utc};
use crm_access::Require;
use crm_core::rules::normalize_email;
use crm_core::{Error, Result, TenantTx};
use crm_mail::{Message, Template};
use crm_records::{Base, base_changes, base_values};
use crm_schema::{memberships, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;
use validator::Validate;

use crate::events::{Client, Event, EventKind};
use crate::members::{self, MEMBERS, Member, MemberFields, MemberState};
use crate::throttle::{self, Key};
use crate::{Identity, secret};

const VALID_FOR: TimeDelta = TimeDelta::days(7);

/// Body of an invitation.
#[derive(Debug, Clone, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// Whom to invite.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(max = 254), email)]
    pub email: String,
    /// The name of the role they are to have.
    pub role: String,
    /// Phone number.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "crm_core::rules::phone"))]
    pub phone: Option<String>,
    /// Another phone number.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "crm_core::rules::phone"))]
    pub alternate_phone: Option<String>,
    /// Whether the sales part of the product is shown to them.
    #[serde(default)]
    pub has_sales_access: bool,
    /// Whether the marketing part of the product is shown to them.
    #[serde(default)]
    pub has_marketing_access: bool,
}

/// What was with this address before.
#[derive(Queryable, Selectable)]
#[diesel(table_name = memberships)]
struct Former {
    id: Uuid,
    state: MemberState,
    invitation_expires_at: Option<DateTime<Utc>>,
}

impl Identity {
    /// Invites somebody. An account that the address may have is neither touched nor looked at, so the answer tells nothing of it.
    ///
    /// # Errors
    /// `Forbidden` without `users.add_user` and for a role beyond one's own; `Duplicate` for an address that is a member or invited
    /// already; 422 for a role that is not there; `TooMany` when the organization has sent many, or the address was sent many.
    pub async fn invite(&self, t: &mut TenantTx, client: &Client, invite: Invite) -> Result<Member> {
        t.require("users.add_user")?;
        let role = members::wanted_role(t, &invite.role).await?;
        let token = secret::token_of(t.org());
        let (digest, expires_at) = (secret::digest(&token), t.now() + VALID_FOR);
        let email_normalized = normalize_email(&invite.email);
        count(t, &email_normalized).await?;
        let fields = MemberFields {
            role: role.fields.name.clone(),
            phone: invite.phone,
            alternate_phone: invite.alternate_phone,
            has_sales_access: invite.has_sales_access,
            has_marketing_access: invite.has_marketing_access,
            date_of_joining: None,
        };
        let invited = (
            &fields,
            memberships::email.eq(&invite.email),
            memberships::role_id.eq(role.base.id),
            memberships::state.eq(MemberState::Invited),
            memberships::invitation_digest.eq(&digest),
            memberships::invitation_expires_at.eq(expires_at),
        );
        let member = match former(t, &email_normalized).await? {
            Some(id) => {
                let old = members::read_any(t, id).await?;
                let base = old.base.next(t);
                let changes = (base_changes!(memberships, base), invited);
                diesel::update(members::this(t, id)).set(changes).execute(t.conn()?).await?;
                let new = members::read(t, id).await?;
                members::changed(t, client, &old, &new, EventKind::MembershipInvited).await?;
                new
            }
            None => {
                let base = Base::new(t);
                crm_records::created(t, MEMBERS.kind, &base, None).await?;
                let values = (
                    base_values!(memberships, base),
                    memberships::email_normalized.eq(&email_normalized),
                    invited,
                );
                diesel::insert_into(memberships::table)
                    .values(values)
                    .execute(t.conn()?)
                    .await
                    .map_err(taken)?;
                let event = Event::done(EventKind::MembershipInvited).user(t.caller().user);
                let event =
                    event.detail("member", base.id.to_string()).detail("role", role.base.id.to_string());
                event.record(t, client).await?;
                members::read(t, base.id).await?
            }
        };
        let data = json!({
            "org_name": t.caller().org.name,
            "inviter_name": inviter(t).await?,
            "role": role.fields.name,
            "link": self.settings.link("invitation", &token),
            "valid_days": VALID_FOR.num_days(),
        });
        let message = Message::new(invite.email, Template::Invitation, data).by(t.actor());
        crm_mail::enqueue(t, &message).await?;
        Ok(member)
    }
}

/// Counts a mail to somebody who need not have asked for it; one that is not sent after all is not counted.
async fn count(t: &mut TenantTx, email_normalized: &str) -> Result<()> {
    let limits = [
        (Key::org("invite", t.org()), throttle::INVITING),
        (Key::account("invite", email_normalized), throttle::INVITED),
    ];
    for (key, limit) in limits {
        if let Some(seconds) = throttle::count(t, &key, limit).await? {
            return Err(Error::TooMany { seconds });
        }
    }
    Ok(())
}

fn taken(error: diesel::result::Error) -> Error {
    match Error::violated_unique(&error) {
        Some("memberships_org_id_email_normalized_key") => already(),
        _ => error.into(),
    }
}

fn already() -> Error {
    Error::taken("email", "this address is a member or invited already")
}

/// The membership to take up again, of somebody who left or let an invitation expire.
async fn former(t: &mut TenantTx, email_normalized: &str) -> Result<Option<Uuid>> {
    let here = memberships::org_id.eq(t.org()).and(memberships::email_normalized.eq(email_normalized));
    let found = memberships::table.filter(here).select(Former::as_select()).for_no_key_update();
    let Some(Former { id, state, invitation_expires_at }) = found.first(t.conn()?).await.optional()? else {
        return Ok(None);
    };
    let expired = invitation_expires_at.is_none_or(|at| at <= t.now());
    match state {
        MemberState::Removed => Ok(Some(id)),
        MemberState::Invited if expired => Ok(Some(id)),
        _ => Err(already()),
    }
}

async fn inviter(t: &mut TenantTx) -> Result<String> {
    match t.caller().user {
        Some(id) => Ok(users::table.find(id).select(users::name).first(t.conn()?).await?),
        None => Ok(t.caller().org.name.clone()),
    }
}
