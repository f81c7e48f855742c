//! The audit trail of accounts, sessions, tokens, memberships and administration, as it is written. No personal data: ids, or digests
//! where there is none.

use std::net::IpAddr;

use crm_core::{OrgId, Result, TenantTx, Tx, UserId};
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
    /// The request itself.
    pub request: Option<RequestInfo>,
}

/// Which request it was, so that an event can be found in the log and the other way round.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// The id in the log and in `X-Request-Id`.
    pub id: String,
    /// The method.
    pub method: String,
    /// The path as it is declared, without the ids in it.
    pub route: &'static str,
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
        /// A request that was answered 403; repetitions are counted rather than written again.
        PermissionDenied = "permission_denied",
        /// A token that names an organization to which its holder does not belong.
        CrossOrgAttempt = "cross_org_attempt",
        /// A limit on attempts was reached.
        SuspiciousActivity = "suspicious_activity",
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
        /// A personal access token was made.
        TokenCreated = "token_created",
        TokenRevoked = "token_revoked",
        /// A personal access token was used, at most once a minute from each address.
        TokenUsed = "token_used",
        /// Something that looks like a personal access token and opens nothing.
        TokenInvalid = "token_invalid",
        TwoFactorEnabled = "two_factor_enabled",
        TwoFactorDisabled = "two_factor_disabled",
        TwoFactorFailed = "two_factor_failed",
        RecoveryCodeUsed = "recovery_code_used",
        OidcLinked = "oidc_linked",
        OidcRefused = "oidc_refused",
        SignInCodeFailed = "sign_in_code_failed",
        MagicLinkRequested = "magic_link_requested",
        WebhookCreated = "webhook_created",
        WebhookChanged = "webhook_changed",
        WebhookDeleted = "webhook_deleted",
    }
);

/// An entry of the audit trail about to be written.
#[derive(Debug, Clone)]
pub struct Event {
    kind: EventKind,
    success: bool,
    user: Option<UserId>,
    org: Option<OrgId>,
    detail: Value,
}

impl Event {
    /// Something that was done.
    pub fn done(kind: EventKind) -> Self {
        Self { kind, success: true, user: None, org: None, detail: json!({}) }
    }

    /// Something that was refused.
    pub fn refused(kind: EventKind, reason: &'static str) -> Self {
        Self { success: false, detail: json!({"reason": reason}), ..Self::done(kind) }
    }

    /// The account it is about.
    pub fn user(self, user: impl Into<Option<UserId>>) -> Self {
        Self { user: user.into(), ..self }
    }

    /// The organization, where the transaction does not say it.
    pub fn org(self, org: impl Into<Option<OrgId>>) -> Self {
        Self { org: org.into(), ..self }
    }

    /// More about it: ids and words, nothing that says who somebody is and nothing secret.
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let Value::Object(detail) = &mut self.detail {
            detail.insert(key.to_owned(), value.into());
        }
        self
    }

    /// The count of a summary.
    #[cfg(test)]
    pub(crate) fn repeated(&self) -> u64 {
        self.detail["repeated"].as_u64().unwrap()
    }

    /// Writes it with the transaction: an event that must outlive a refusal needs a transaction that commits.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn record(self, tx: &mut impl Tx, client: &Client) -> Result<()> {
        let (org, now) = (self.org.or(tx.org()), tx.now());
        let request = client.request.as_ref();
        diesel::insert_into(row::table)
            .values((
                row::id.eq(Uuid::now_v7()),
                row::event.eq(self.kind),
                row::user_id.eq(self.user),
                row::org_id.eq(org),
                row::success.eq(self.success),
                row::ip_address.eq(client.ip_text()),
                row::user_agent.eq(client.user_agent_text()),
                row::request_id.eq(request.map(|request| &request.id)),
                row::method.eq(request.map(|request| &request.method)),
                row::route.eq(request.map(|request| request.route)),
                row::detail.eq(self.detail),
                row::created_at.eq(now),
            ))
            .execute(tx.conn()?)
            .await?;
        Ok(())
    }
}

/// Writes down what the caller has done in this transaction; `detail` is an object of ids and words.
///
/// # Errors
/// Those of the database.
pub async fn audit(t: &mut TenantTx, client: &Client, kind: EventKind, detail: Value) -> Result<()> {
    let user = t.caller().user;
    Event { detail, ..Event::done(kind) }.user(user).record(t, client).await
}
