//! What is asked and answered about second factors.

use serde::{Deserialize, Serialize};
use validator::Validate;

crm_core::text_enum!(
    /// A second factor.
    Factor {
        Totp = "totp",
        RecoveryCode = "recovery_code",
    }
);

/// A second factor as somebody presents it.
pub(crate) enum Evidence {
    Totp(String),
    RecoveryCode(String),
}

impl Evidence {
    pub(super) fn from(code: Option<String>, recovery_code: Option<String>) -> Option<Self> {
        match (code, recovery_code) {
            (Some(code), None) => Some(Self::Totp(code)),
            (None, Some(code)) => Some(Self::RecoveryCode(code)),
            _ => None,
        }
    }
}

/// How an account's second factor stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TwoFactor {
    /// Whether signing in asks for it.
    pub enabled: bool,
    /// How many recovery codes are left.
    pub recovery_codes_left: i64,
}

/// What an authenticator needs. Shown once.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct TwoFactorSetup {
    /// The secret in base 32, to be typed.
    pub secret: String,
    /// The same as a URL, to be shown as a QR code.
    pub otpauth_url: String,
}

/// Codes that stand in for a lost authenticator, each once. Shown once.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct RecoveryCodes {
    /// Ten of them.
    pub recovery_codes: Vec<String>,
}

/// Body of what takes a code of the authenticator.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TwoFactorCode {
    /// Six digits.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 20))]
    pub code: String,
}

/// Body of the removal of the second factor: one of the three.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisableTwoFactor {
    /// The account's password.
    #[serde(default)]
    #[validate(length(min = 1, max = 1000))]
    pub password: Option<String>,
    /// A code of the authenticator.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 20))]
    pub code: Option<String>,
    /// A recovery code.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 50))]
    pub recovery_code: Option<String>,
}
