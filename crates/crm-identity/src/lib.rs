//! Who people are and where they belong: accounts, sessions, tokens, organizations, memberships, invitations, roles and
//! platform administrators.
//!
//! A route reads the access token with [`Identity::verify_access`] and opens a tenant transaction with
//! [`AccessClaims::in_org`], which looks the member up in one query. Whatever hashes a password or spans several
//! transactions is a method of [`Identity`]; everything else takes a transaction.

mod assigned;
mod caller;
mod directory;
mod email_tokens;
mod events;
mod housekeeping;
mod invitations;
mod joining;
mod login;
mod mail;
pub mod members;
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
mod throttle;
mod tokens;
mod users;
mod viewer;

pub use directory::{OrgRole, OrgSummary};
pub use events::{Client, EventKind};
pub use invitations::Invite;
pub use joining::AcceptInvitation;
pub use login::Login;
pub use mail::{SEND_MAIL, enqueue_mail};
pub use password::hash as hash_password;
pub use passwords::{ChangePassword, ForgotPassword, PASSWORD_RESET_REQUESTED, ResetPassword};
pub use platform::{NewPlatformAdmin, grant_platform_admin};
pub use registration::{Register, VerifyEmail};
pub use renewal::{RefreshToken, SwitchOrg, Switched, SwitchedProfile};
pub use sessions::{SignedIn, TokenPair};
pub use settings::{Identity, IdentitySettings, TokenSettings};
pub use tokens::{AccessClaims, MemberClaims, TokenKind, Tokens};
pub use users::{PlatformAdmin, User};
pub use viewer::{Me, SignedInUser, signed_in};
