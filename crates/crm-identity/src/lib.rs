//! Who people are and where they belong: accounts, sessions, tokens, organizations, memberships, invitations, roles and
//! platform administrators.
//!
//! A route reads the access token with [`Identity::verify_access`] and opens a tenant transaction with
//! [`AccessClaims::in_org`], which looks the member up in one query. Whatever hashes a password or spans several
//! transactions is a method of [`Identity`]; everything else takes a transaction.

pub mod access_tokens;
pub mod audit;
mod audit_refusals;
mod audit_repeats;
mod caller;
mod directory;
mod email_tokens;
mod events;
mod guesses;
mod housekeeping;
mod invitations;
mod joining;
mod keys;
mod login;
pub mod members;
mod oidc;
pub mod org_key;
pub mod orgs;
mod password;
mod passwords;
pub mod platform;
pub mod profile;
mod registration;
mod renewal;
pub mod roles;
mod secret;
mod sessions;
mod settings;
mod sign_in;
mod sign_in_mail;
mod throttle;
mod tokens;
mod two_factor;
mod users;
mod viewer;

pub use access_tokens::{Credential, OrgClaims, Scopes, TokenClaims};
pub use caller::InTheNameOf;
pub use directory::{OrgRole, OrgSummary};
pub use events::{Client, Event, EventKind, RequestInfo, audit};
pub use invitations::Invite;
pub use joining::AcceptInvitation;
pub use login::Login;
pub use oidc::{BeginOidc, FinishOidc, OidcBegun, OidcProvider, OidcProviders, OidcSettings, OidcSummary};
pub use password::hash as hash_password;
pub use passwords::{ChangePassword, ForgotPassword, PASSWORD_RESET_REQUESTED, ResetPassword};
pub use platform::{NewPlatformAdmin, grant_platform_admin};
pub use registration::{Register, VerifyEmail};
pub use renewal::{RefreshToken, SwitchOrg, Switched, SwitchedProfile};
pub use sessions::{SignedIn, TokenPair};
pub use settings::{Identity, IdentitySettings, TokenSettings};
pub use sign_in::{ACCOUNT_CLAIMED, SecondFactorRequired, SignIn};
pub use sign_in_mail::{
    Delivery, RequestSignInMail, SIGN_IN_MAIL_REQUESTED, VerifySignInCode, VerifySignInLink,
};
pub use throttle::one_address;
pub use tokens::{AccessClaims, MemberClaims, TokenKind, Tokens};
pub use two_factor::{
    DisableTwoFactor, Factor, RecoveryCodes, TwoFactor, TwoFactorCode, TwoFactorSetup, VerifySecondFactor,
};
pub use users::{PlatformAdmin, User};
pub use viewer::{Me, SignedInUser, signed_in};
