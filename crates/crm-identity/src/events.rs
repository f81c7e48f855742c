//! The audit trail of accounts, sessions, memberships and administration. No personal data: ids, or digests where there is none.

use std::net::IpAddr;

use crm_core::{OrgId, Result, Tx, UserId};
use crm_schema::security_events as row;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

/// What of a user agent is kept, in characters.
const USER_AGENT_MAX: usize = 500;

/// Where a request came from, for the audit trail and for counting attempts.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The peer's address, as far as it is known for certain.
    pub ip: Option<IpAddr>,
    /// What the peer calls its program.
    pub user_agent: Option<String>,
}

impl Client {
    pub(crate) fn ip_text(&self) -> Option<String> {
        self.ip.map(|ip| ip.to_string())
    }

    pub(crate) fn user_agent_text(&self) -> Option<String> {
        self.user_agent
            .as_ref()
            .map(|text| text.chars().filter(|c| !c.is_control()).take(USER_AGENT_MAX).collect())
    }
}

crm_core::text_enum!(
    /// What the audit trail records.
    EventKind {
        LoginSuccess = "login_success",
        LoginFailure = "login_failure",
        Logout = "logout",
        OrgSwitch = "org_switch",
        TokenRefresh = "token_refresh",
        TokenReused = "token_reused",
        SessionsEnded = "sessions_ended",
        PasswordChanged = "password_changed",
        PasswordReset = "password_reset",
        EmailVerified = "email_verified",
        Registered = "registered",
        PermissionDenied = "permission_denied",
        MembershipInvited = "membership_invited",
        MembershipJoined = "membership_joined",
        MembershipChanged = "membership_changed",
        MembershipRemoved = "membership_removed",
        RoleChanged = "role_changed",
        OrgCreated = "org_created",
        OrgChanged = "org_changed",
        OrgSuspended = "org_suspended",
        OrgResumed = "org_resumed",
        PlatformAdminGranted = "platform_admin_granted",
        PlatformAccess = "platform_access",
    }
);

/// An entry of the audit trail about to be written.
pub(crate) struct Event {
    kind: EventKind,
    success: bool,
    user: Option<UserId>,
    org: Option<OrgId>,
    detail: Value,
}

impl Event {
    pub(crate) fn done(kind: EventKind) -> Self {
        Self { kind, success: true, user: None, org: None, detail: json!({}) }
    }

    pub(crate) fn refused(kind: EventKind, reason: &'static str) -> Self {
        Self { success: false, detail: json!({"reason": reason}), ..Self::done(kind) }
    }

    /// The account it is about.
    pub(crate) fn user(self, user: impl Into<Option<UserId>>) -> Self {
        Self { user: user.into(), ..self }
    }

    /// The organization, where the transaction does not say it.
    pub(crate) fn org(self, org: impl Into<Option<OrgId>>) -> Self {
        Self { org: org.into(), ..self }
    }

    pub(crate) fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let Value::Object(detail) = &mut self.detail {
            detail.insert(key.to_owned(), value.into());
        }
        self
    }

    /// Writes it with the transaction: an event that must outlive a refusal needs a transaction that commits.
    pub(crate) async fn record(self, tx: &mut impl Tx, client: &Client) -> Result<()> {
        let (org, now) = (self.org.or(tx.org()), tx.now());
        diesel::insert_into(row::table)
            .values((
                row::id.eq(Uuid::now_v7()),
                row::event.eq(self.kind),
                row::user_id.eq(self.user),
                row::org_id.eq(org),
                row::success.eq(self.success),
                row::ip_address.eq(client.ip_text()),
                row::user_agent.eq(client.user_agent_text()),
                row::detail.eq(self.detail),
                row::created_at.eq(now),
            ))
            .execute(tx.conn()?)
            .await?;
        Ok(())
    }
}
