//! How an invitation becomes a membership.

use chrono::{DateTime, Utc};
use crm_core::rules::normalize_email;
use crm_core::{Caller, Code, Error, FieldCode, MemberId, Principal, Result, TenantTx, UserId};
use crm_records::base_changes;
use crm_schema::memberships;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Deserialize;
use uuid::Uuid;
use validator::Validate;

use crate::email_tokens::unusable;
use crate::events::{Client, Event, EventKind};
use crate::members::{self, MemberState};
use crate::sessions::{SignedIn, TokenPair};
use crate::tokens::Bearer;
use crate::users::{Account, NewUser, User};
use crate::{AccessClaims, Identity, OrgSummary, TokenKind, orgs, password, secret};

/// Body of the acceptance of an invitation. Whoever is signed in needs the token only; whoever has no account yet makes one.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptInvitation {
    /// What stands in the link.
    pub token: String,
    /// What the person is called; without it, what stands before the `@`.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255), custom(function = "crm_core::rules::one_line"))]
    pub name: Option<String>,
    /// The new account's password, 8 to 128 characters.
    #[serde(default)]
    #[validate(custom(function = "crm_core::rules::password"))]
    pub password: Option<String>,
    /// The same again.
    #[serde(default)]
    pub confirm_password: Option<String>,
}

/// An invitation that can be accepted.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = memberships)]
struct Open {
    id: Uuid,
    email: String,
    email_normalized: String,
}

impl Identity {
    /// Accepts an invitation: signed in with the invited address, or, where it has no account, by making one. Answers tokens bound to
    /// the organization.
    ///
    /// # Errors
    /// `TokenUnusable`; `Forbidden` for another address and for a platform administrator; `Unauthenticated` when the address has an
    /// account and nobody is signed in; 422 without a password for the new account.
    pub async fn accept_invitation(
        &self,
        client: &Client,
        claims: Option<&AccessClaims>,
        input: AcceptInvitation,
    ) -> Result<SignedIn> {
        let (org, open) = self.open_invitation(&input.token).await?;
        let nobody = Caller::system(org.info());
        let (tokens, user) = match claims {
            Some(claims) => self.join_signed_in(client, claims, nobody, &open, &input.token).await?,
            None => self.join_new(client, nobody, &open, input).await?,
        };
        Ok(SignedIn::new(tokens, user.clone(), Some(org), &self.belongings(user.id).await?))
    }

    async fn open_invitation(&self, token: &str) -> Result<(OrgSummary, Open)> {
        let org = secret::org_of(token).ok_or_else(unusable)?;
        let found = self.db.platform(async |p| OrgSummary::find(p, org).await).await?;
        let org = found.ok_or_else(unusable)?;
        let open = self.db.tenant(&Caller::system(org.info()), async |t| open(t, token).await).await?;
        Ok((org, open))
    }

    async fn join_signed_in(
        &self,
        client: &Client,
        claims: &AccessClaims,
        nobody: Caller,
        invited: &Open,
        token: &str,
    ) -> Result<(TokenPair, User)> {
        let signed_in = self.signed_in(claims).await?;
        let user = signed_in.user;
        let refused = match signed_in.platform_admin {
            Some(_) => Some(("platform_admin", "a platform administrator has no part in any organization")),
            None if normalize_email(&user.email) != invited.email_normalized => {
                Some(("another_address", "the invitation is for another address"))
            }
            None => None,
        };
        if let Some((reason, message)) = refused {
            let denied = Event::refused(EventKind::PermissionDenied, reason).user(user.id).org(nobody.org.id);
            self.db.platform(async |p| denied.record(p, client).await).await?;
            return Err(Error::Forbidden(message.into()));
        }
        self.db
            .tenant(&nobody, async |t| {
                let invited = open(t, token).await?;
                let user = join(t, client, &invited, user.id).await?;
                let bearer = bearer(t, &user, claims);
                Ok((self.extend_session(t, &bearer).await?, user))
            })
            .await
    }

    async fn join_new(
        &self,
        client: &Client,
        nobody: Caller,
        invited: &Open,
        input: AcceptInvitation,
    ) -> Result<(TokenPair, User)> {
        let account =
            self.db.platform(async |p| Account::by_email(p, &invited.email_normalized).await).await?;
        if account.is_some() {
            return Err(sign_in_first());
        }
        let password = input
            .password
            .ok_or_else(|| Error::field("password", FieldCode::Required, "is required to make an account"))?;
        if input.confirm_password.as_ref() != Some(&password) {
            return Err(Error::field(
                "confirm_password",
                FieldCode::Mismatch,
                "the two passwords do not match",
            ));
        }
        let password_hash = password::hash(password).await?;
        self.db
            .tenant(&nobody, async |t| {
                let invited = open(t, &input.token).await?;
                let new = NewUser {
                    email: &invited.email,
                    name: input.name.as_deref(),
                    password_hash: Some(&password_hash),
                    verified: true,
                };
                let user = new.insert(t).await.map_err(|error| match error.code() {
                    Code::Duplicate => sign_in_first(),
                    _ => error,
                })?;
                Event::done(EventKind::Registered).user(user.id).record(t, client).await?;
                let user = join(t, client, &invited, user.id).await?;
                let org = Some(t.org());
                Ok((self.open_session(t, client, user.id, org, TokenKind::Member).await?, user))
            })
            .await
    }
}

fn bearer(t: &TenantTx, user: &User, claims: &AccessClaims) -> Bearer {
    Bearer { user: user.id, session: claims.session, org: Some(t.org()), kind: TokenKind::Member }
}

fn sign_in_first() -> Error {
    Error::Unauthenticated("this address has an account: sign in to accept the invitation".into())
}

/// The invitation with this token, held until the transaction ends.
async fn open(t: &mut TenantTx, token: &str) -> Result<Open> {
    let here = memberships::org_id.eq(t.org()).and(memberships::state.eq(MemberState::Invited));
    let fresh = memberships::invitation_expires_at.gt(t.now());
    let this =
        memberships::table.filter(here).filter(memberships::invitation_digest.eq(secret::digest(token)));
    let found = this.filter(fresh).select(Open::as_select()).for_no_key_update().first(t.conn()?).await;
    found.optional()?.ok_or_else(unusable)
}

/// Turns the invitation into the person's membership. That they hold the token proves that they read mail to its address.
async fn join(t: &mut TenantTx, client: &Client, invited: &Open, user: UserId) -> Result<User> {
    crate::users::lock(t, user).await?;
    if crate::users::platform_admin(t, user).await?.is_some() {
        return Err(Error::Forbidden("a platform administrator has no part in any organization".into()));
    }
    become_member(t, MemberId(invited.id), user);
    let old = members::read(t, invited.id).await?;
    let base = old.base.next(t);
    let today = t.now().with_timezone(&t.caller().org.timezone).date_naive();
    diesel::update(members::this(t, invited.id))
        .set((
            base_changes!(memberships, base),
            memberships::user_id.eq(user),
            memberships::state.eq(MemberState::Active),
            memberships::date_of_joining.eq(today),
            memberships::invitation_digest.eq(None::<String>),
            memberships::invitation_expires_at.eq(None::<DateTime<Utc>>),
        ))
        .execute(t.conn()?)
        .await
        .map_err(|error| match Error::violated_unique(&error) {
            Some("memberships_org_id_user_id_key") => {
                Error::Refused(Code::Conflict, "you are a member of this organization already".into())
            }
            _ => error.into(),
        })?;
    orgs::enter_directory(t, user).await?;
    let new = members::read(t, invited.id).await?;
    members::changed(t, client, &old, &new, EventKind::MembershipJoined).await?;
    crate::users::verified(t, user).await
}

/// From here on the new member acts.
fn become_member(t: &mut TenantTx, member: MemberId, user: UserId) {
    let principal = Principal::User { is_superuser: false, in_tenant: true, grants: None };
    let caller = Caller { principal, member: Some(member), user: Some(user), ..t.caller().clone() };
    t.become_caller(caller);
}
