//! The end of every sign-in, however somebody proved who they are.

use crm_core::{Caller, Code, Error, OrgId, PlatformTx, Result, UserId};
use crm_jobs::{Failure, Job};
use crm_mail::{Message, Template};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::directory::Belonging;
use crate::events::{Client, Event, EventKind};
use crate::login::{Settled, forgive, kind_of, wrong_credentials};
use crate::two_factor::Factor;
use crate::users::{Account, NewUser, lock, signed_in_now, verified};
use crate::{Identity, SignedIn, access_tokens, passwords, two_factor};

/// The kind of the jobs that follow when the owner of an address takes over an account that somebody else may have made.
pub const ACCOUNT_CLAIMED: &str = "platform.account_claimed";

#[derive(Serialize, Deserialize)]
struct AccountClaimed {
    user: UserId,
}

crm_core::text_enum!(
    /// How somebody proved who they are.
    Method {
        Password = "password",
        Link = "link",
        Code = "code",
        Oidc = "oidc",
    }
);

impl Method {
    /// The organization to work in when none is named: after a mailed link, a mailed code or a provider of identities only one that
    /// leaves no doubt.
    fn choose(self, belongings: &[Belonging]) -> Option<&Belonging> {
        match (self, belongings) {
            (Self::Password, latest_first) => latest_first.first(),
            (_, [only]) => Some(only),
            _ => None,
        }
    }
}

/// The answer of every sign-in.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum SignIn {
    /// It is done.
    Done(Box<SignedIn>),
    /// The account asks for a second factor first.
    SecondFactor(SecondFactorRequired),
}

impl SignIn {
    /// The tokens, for a caller who can't ask anybody for a second factor.
    ///
    /// # Errors
    /// `InvalidCredentials` when the account asks for one.
    pub fn signed_in(self) -> Result<SignedIn> {
        match self {
            Self::Done(signed_in) => Ok(*signed_in),
            Self::SecondFactor(_) => Err(Error::Refused(
                Code::InvalidCredentials,
                "the account asks for a second factor, so a password alone does not sign in".into(),
            )),
        }
    }
}

/// What a sign-in waits for.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct SecondFactorRequired {
    /// Always true.
    pub second_factor_required: bool,
    /// To be sent with a code to `/api/auth/2fa/verify/`, once. It opens nothing else.
    pub challenge: String,
    /// What the account takes.
    pub methods: Vec<Factor>,
    /// How long the challenge can be answered, in seconds.
    pub expires_in: i64,
}

impl std::fmt::Debug for SecondFactorRequired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecondFactorRequired").field("methods", &self.methods).finish_non_exhaustive()
    }
}

/// Somebody who has proven to own an account.
pub(crate) struct Proven {
    pub(crate) user: UserId,
    pub(crate) method: Method,
    /// [`Account::mark`] when it was proven.
    pub(crate) mark: String,
    /// The organization they want to work in.
    pub(crate) wanted: Option<OrgId>,
    /// The second factor, once that is proven too.
    pub(crate) factor: Option<Factor>,
}

impl Proven {
    pub(crate) fn new(account: &Account, method: Method) -> Self {
        Self { user: account.user.id, method, mark: account.mark(), wanted: None, factor: None }
    }
}

impl Identity {
    /// Lets somebody in: begins a session, or asks for the second factor.
    pub(crate) async fn enter(&self, client: &Client, proven: Proven) -> Result<SignIn> {
        let belongings = self.belongings(proven.user).await?;
        let current = match proven.wanted {
            // Looked up by itself: it may be beyond the end of the list.
            Some(org) => self.belonging(proven.user, org).await?,
            None => proven.method.choose(&belongings).cloned(),
        };
        let current = current.map(|belonging| belonging.org);
        let Proven { user, method, wanted, factor, .. } = proven;
        self.db
            .platform(async |p| {
                lock(p, user).await?;
                let account = Account::by_id(p, user).await?;
                // Somebody who changed the password meanwhile wins: what was verified no longer opens anything.
                if let Some(refusal) = outdated(p, client, &proven, &account).await? {
                    return Settled::Ok(Err(refusal));
                }
                if method == Method::Password {
                    forgive(p, client, &account.email_normalized).await?;
                }
                if factor.is_none()
                    && let Some(methods) = two_factor::methods(p, user).await?
                {
                    let challenge = two_factor::challenge(p, &proven).await?;
                    let expires_in = two_factor::CHALLENGE_TTL.num_seconds();
                    let asked =
                        SecondFactorRequired { second_factor_required: true, challenge, methods, expires_in };
                    return Ok(Ok(SignIn::SecondFactor(asked)));
                }
                if let Some(org) = wanted.filter(|_| current.is_none()) {
                    let denied = Event::refused(EventKind::PermissionDenied, "not_a_member");
                    denied.user(user).org(org).record(p, client).await?;
                    let message = "you are not an active member of this organization";
                    return Ok(Err(Error::Forbidden(message.into())));
                }
                let kind = kind_of(p, user).await?;
                let org = current.as_ref().map(|org| org.id);
                let tokens = self.open_session(p, client, user, org, kind).await?;
                let mut done = Event::done(EventKind::LoginSuccess).user(user).org(org);
                done = done.detail("method", method.as_str());
                if let Some(factor) = factor {
                    done = done.detail("second_factor", factor.as_str());
                }
                done.record(p, client).await?;
                let user = signed_in_now(p, user).await?;
                Ok(Ok(SignIn::Done(Box::new(SignedIn::new(tokens, user, current, &belongings)))))
            })
            .await?
    }

    /// The account of an address that somebody has just proven to read, made if there is none. One whose address was never proven
    /// before is taken from whoever made it: its password, second factor, sessions and access tokens end.
    pub(crate) async fn account_of(
        &self,
        p: &mut PlatformTx,
        client: &Client,
        method: Method,
        (email, name): (&str, Option<&str>),
    ) -> Settled<Account> {
        let email_normalized = crm_core::rules::normalize_email(email);
        let Some(found) = Account::by_email(p, &email_normalized).await? else {
            let user = NewUser { email, name, password_hash: None, verified: true }.insert(p).await?;
            let event = Event::done(EventKind::Registered).user(user.id);
            event.detail("method", method.as_str()).record(p, client).await?;
            let data = json!({"name": user.name, "link": self.settings.page("")});
            crm_mail::enqueue(p, &Message::new(&user.email, Template::Welcome, data)).await?;
            return Account::by_id(p, user.id).await.map(Ok);
        };
        lock(p, found.user.id).await?;
        let account = Account::by_id(p, found.user.id).await?;
        if !account.user.is_active {
            return shut_out(p, client, account.user.id, method).await.map(Err);
        }
        if account.user.email_verified_at.is_some() {
            return Ok(Ok(account));
        }
        let id = account.user.id;
        verified(p, id).await?;
        two_factor::remove(p, id).await?;
        let event = Event::done(EventKind::EmailVerified).user(id).detail("method", method.as_str());
        event.record(p, client).await?;
        passwords::hand_over(p, client, id, email_normalized).await?;
        crm_jobs::enqueue(p, ACCOUNT_CLAIMED, &AccountClaimed { user: id }).await?;
        Account::by_id(p, id).await.map(Ok)
    }
}

impl Identity {
    /// Revokes the access tokens that whoever made an account left in its organizations.
    pub(crate) async fn end_tokens(&self, job: &Job) -> Result<(), Failure> {
        let AccountClaimed { user } = job.payload()?;
        for Belonging { org, member, .. } in self.belongings(user).await? {
            let system = Caller::system(org.info());
            self.db.tenant(&system, async |t| access_tokens::revoke_of(t, member.0).await).await?;
        }
        Ok(())
    }
}

/// Why what was proven a moment ago opens nothing any more, if so.
async fn outdated(
    p: &mut PlatformTx,
    client: &Client,
    proven: &Proven,
    account: &Account,
) -> Result<Option<Error>> {
    let (user, method) = (account.user.id, proven.method);
    let (reason, refusal) = match (account.user.is_active, account.mark() == proven.mark) {
        (true, true) => return Ok(None),
        (false, _) if method != Method::Password => return shut_out(p, client, user, method).await.map(Some),
        (false, _) => ("account_shut_out", wrong_credentials()),
        (true, false) if method == Method::Password => ("wrong_password", wrong_credentials()),
        (true, false) => ("password_changed", begin_again()),
    };
    let event = Event::refused(EventKind::LoginFailure, reason).user(user);
    event.detail("method", method.as_str()).record(p, client).await?;
    Ok(Some(refusal))
}

async fn shut_out(p: &mut PlatformTx, client: &Client, user: UserId, method: Method) -> Result<Error> {
    let event = Event::refused(EventKind::LoginFailure, "account_shut_out").user(user);
    event.detail("method", method.as_str()).record(p, client).await?;
    Ok(Error::Forbidden("this account is shut out".into()))
}

pub(crate) fn begin_again() -> Error {
    Error::Refused(
        Code::TokenUnusable,
        "this sign-in was finished already, took too long or was never begun: begin again".into(),
    )
}

/// Does it again if somebody else made the same account at the same moment.
pub(crate) async fn retried<T>(work: impl AsyncFn() -> Result<T>) -> Result<T> {
    match work().await {
        Err(error) if error.code() == Code::Duplicate => work().await,
        done => done,
    }
}
