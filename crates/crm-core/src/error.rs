use std::borrow::Cow;

use serde::Serialize;

/// What a service answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

crate::text_enum!(
    /// The machine-readable kind of a refusal: one closed list for the whole API.
    Code {
        MalformedRequest = "malformed_request",
        InvalidParameter = "invalid_parameter",
        InvalidCursor = "invalid_cursor",
        ReadOnlyField = "read_only_field",
        Unauthenticated = "unauthenticated",
        InvalidCredentials = "invalid_credentials",
        Forbidden = "forbidden",
        NoOrganization = "no_organization",
        NotFound = "not_found",
        Merged = "merged",
        MethodNotAllowed = "method_not_allowed",
        Conflict = "conflict",
        Duplicate = "duplicate",
        PossibleDuplicate = "possible_duplicate",
        InUse = "in_use",
        LastAdmin = "last_admin",
        StaleVersion = "stale_version",
        PayloadTooLarge = "payload_too_large",
        UnsupportedMediaType = "unsupported_media_type",
        ValidationFailed = "validation_failed",
        TokenUnusable = "token_unusable",
        TooManyRequests = "too_many_requests",
        QuotaExceeded = "quota_exceeded",
        IdempotencyKeyReused = "idempotency_key_reused",
        RequestInProgress = "request_in_progress",
        Internal = "internal",
        Unavailable = "unavailable",
    }
);

impl Code {
    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::MalformedRequest | Self::InvalidParameter | Self::InvalidCursor | Self::ReadOnlyField => {
                400
            }
            Self::Unauthenticated | Self::InvalidCredentials => 401,
            Self::Forbidden | Self::NoOrganization => 403,
            Self::NotFound => 404,
            Self::Merged => 410,
            Self::MethodNotAllowed => 405,
            Self::Conflict
            | Self::Duplicate
            | Self::PossibleDuplicate
            | Self::InUse
            | Self::LastAdmin
            | Self::RequestInProgress => 409,
            Self::StaleVersion => 412,
            Self::PayloadTooLarge | Self::QuotaExceeded => 413,
            Self::UnsupportedMediaType => 415,
            Self::ValidationFailed | Self::TokenUnusable | Self::IdempotencyKeyReused => 422,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// A few words for a person.
    pub const fn title(self) -> &'static str {
        match self {
            Self::MalformedRequest => "Malformed request",
            Self::InvalidParameter => "Invalid parameter",
            Self::InvalidCursor => "Invalid cursor",
            Self::ReadOnlyField => "Read-only field",
            Self::Unauthenticated => "Sign-in required",
            Self::InvalidCredentials => "Sign-in failed",
            Self::Forbidden => "Not allowed",
            Self::NoOrganization => "No organization chosen",
            Self::NotFound => "Not found",
            Self::Merged => "Merged into another record",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Conflict => "Conflict",
            Self::Duplicate => "Already exists",
            Self::PossibleDuplicate => "Looks like one that is there already",
            Self::InUse => "Still in use",
            Self::LastAdmin => "Last administrator",
            Self::StaleVersion => "Changed meanwhile",
            Self::PayloadTooLarge => "Too large",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::ValidationFailed => "Validation failed",
            Self::TokenUnusable => "Link no longer usable",
            Self::TooManyRequests => "Too many requests",
            Self::QuotaExceeded => "Storage is full",
            Self::IdempotencyKeyReused => "Idempotency key used for another request",
            Self::RequestInProgress => "The first request is still running",
            Self::Internal => "Internal error",
            Self::Unavailable => "Temporarily unavailable",
        }
    }
}

crate::text_enum!(
    /// What is wrong with one field: a closed list.
    FieldCode {
        Required = "required",
        UnknownField = "unknown_field",
        UnknownParameter = "unknown_parameter",
        WrongType = "wrong_type",
        InvalidValue = "invalid_value",
        NotAChoice = "not_a_choice",
        TooLong = "too_long",
        TooShort = "too_short",
        OutOfRange = "out_of_range",
        InvalidEmail = "invalid_email",
        InvalidUrl = "invalid_url",
        InvalidPhone = "invalid_phone",
        Mismatch = "mismatch",
        NotFound = "not_found",
        Inactive = "inactive",
        Taken = "taken",
        ReadOnly = "read_only",
        NotAllowed = "not_allowed",
    }
);

/// One field's fault, as it stands in `errors` of a problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The field or query parameter; a path with dots inside a nested value.
    pub field: String,
    /// What is wrong with it.
    pub code: FieldCode,
    /// The same for a person, with what would be right.
    pub message: String,
}

impl FieldError {
    /// A fault of `field`.
    pub fn new(field: impl Into<String>, code: FieldCode, message: impl Into<String>) -> Self {
        Self { field: field.into(), code, message: message.into() }
    }
}

/// Everything a service can refuse with. The HTTP layer maps it once, by [`Error::code`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The record is not there, or not for this caller: the two are not told apart.
    #[error("there is nothing here")]
    NotFound,
    /// The record was merged into another one, which the caller may look at.
    #[error("this record was merged into {into}")]
    Merged {
        /// That one's id.
        into: uuid::Uuid,
    },
    /// The caller may know of the thing and may not do this.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// No valid credential.
    #[error("{0}")]
    Unauthenticated(Cow<'static, str>),
    /// A body or parameters that are wrong in a way their fields tell.
    #[error("{}", summary(.1))]
    Fields(Code, Vec<FieldError>),
    /// Any other refusal.
    #[error("{1}")]
    Refused(Code, Cow<'static, str>),
    /// The record has another version than the caller's `If-Match` says.
    #[error("the record is at version {current} now")]
    Stale {
        /// The stored version.
        current: i64,
    },
    /// Tried too often.
    #[error("tried too often: wait {seconds} seconds")]
    TooMany {
        /// When to try again, in seconds.
        seconds: u64,
    },
    /// The database or another server is away.
    #[error("temporarily unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A fault of ours. Never shown.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn summary(fields: &[FieldError]) -> String {
    match fields {
        [one] => one.message.clone(),
        many => format!("{} fields are invalid", many.len()),
    }
}

impl Error {
    /// One invalid field of a body: 422.
    pub fn field(field: impl Into<String>, code: FieldCode, message: impl Into<String>) -> Self {
        Self::Fields(Code::ValidationFailed, vec![FieldError::new(field, code, message)])
    }

    /// One bad query parameter: 400.
    pub fn parameter(field: impl Into<String>, code: FieldCode, message: impl Into<String>) -> Self {
        Self::Fields(Code::InvalidParameter, vec![FieldError::new(field, code, message)])
    }

    /// A value that another record already has: 409.
    pub fn taken(field: &'static str, message: impl Into<String>) -> Self {
        Self::Fields(Code::Duplicate, vec![FieldError::new(field, FieldCode::Taken, message)])
    }

    /// A fault of ours.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    /// Its machine-readable kind.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::Merged { .. } => Code::Merged,
            Self::Forbidden(_) => Code::Forbidden,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Fields(code, _) | Self::Refused(code, _) => *code,
            Self::Stale { .. } => Code::StaleVersion,
            Self::TooMany { .. } => Code::TooManyRequests,
            Self::Unavailable(_) => Code::Unavailable,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// A write that ran into this unique constraint is refused for `field`; any other error stays what it is.
    pub fn unique(
        error: diesel::result::Error,
        constraint: &str,
        field: &'static str,
        message: &'static str,
    ) -> Self {
        match Self::violated_unique(&error) {
            Some(name) if name == constraint => Self::taken(field, message),
            _ => error.into(),
        }
    }

    /// Whether two transactions got into each other's way and one of them had to go: nothing is wrong with what was to be done, and done
    /// once more from the beginning it may well succeed.
    pub fn is_contended(&self) -> bool {
        matches!(self, Self::Refused(Code::Conflict, message) if *message == CONTENDED)
    }

    /// The unique constraint that a write ran into, by name.
    pub fn violated_unique(error: &diesel::result::Error) -> Option<&str> {
        use diesel::result::{DatabaseErrorKind::UniqueViolation, Error::DatabaseError};
        match error {
            DatabaseError(UniqueViolation, info) => info.constraint_name(),
            _ => None,
        }
    }
}

const CONTENDED: &str = "somebody else changed the same thing at the same time; try again";

fn contended() -> Error {
    Error::Refused(Code::Conflict, CONTENDED.into())
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind as Kind, Error as E};
        match error {
            E::NotFound => Self::NotFound,
            E::DatabaseError(Kind::ClosedConnection | Kind::UnableToSendCommand, _) => {
                Self::Unavailable(Box::new(error))
            }
            // Whoever writes a reference has looked for what it points at: it went away in between.
            E::DatabaseError(Kind::ForeignKeyViolation, _) => Self::Refused(
                Code::Conflict,
                "something this refers to was removed at the same moment".into(),
            ),
            E::DatabaseError(Kind::SerializationFailure, _) => contended(),
            E::DatabaseError(_, ref info) if info.message().starts_with("terminating connection") => {
                Self::Unavailable(Box::new(error))
            }
            E::DatabaseError(_, ref info) if info.message().contains("statement timeout") => {
                Self::Unavailable(Box::new(error))
            }
            E::DatabaseError(_, ref info) if info.message() == "deadlock detected" => contended(),
            other => Self::Internal(Box::new(other)),
        }
    }
}
