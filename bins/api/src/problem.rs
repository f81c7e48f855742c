//! Errors on the wire: `application/problem+json` (RFC 9457), one shape everywhere.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, ETAG, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use crm_core::{Code, Error, FieldError};
use serde::Serialize;

/// A refusal on its way to the client. What it stands in for is [`Error`]; this is its only mapping to HTTP.
#[derive(Debug)]
pub struct Problem(pub Error);

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The status, the headers and a document, into which the middleware writes what it knows of the request.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::new(self.status_code());
        let headers = response.headers_mut();
        match &self.0 {
            error if error.code().status() == 401 => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Error::TooMany { seconds } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
            }
            Error::Unavailable(_) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
            }
            Error::Stale { current } => {
                if let Ok(tag) = HeaderValue::from_str(&format!("\"{current}\"")) {
                    headers.insert(ETAG, tag);
                }
            }
            _ => {}
        }
        ProblemDocument::new(&self.0, "", "").write(response)
    }
}

/// A problem document.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemDocument {
    /// Always `about:blank`: `code` says which kind it is.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// A few words for a person, the same for every problem of a code.
    title: String,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// The machine-readable kind, from a closed list.
    code: Code,
    /// This case, for a person.
    detail: String,
    /// The path of the request.
    instance: String,
    /// What to quote when asking for help.
    request_id: String,
    /// Of a record that was merged: the id of the one that it is part of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    merged_into: Option<uuid::Uuid>,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
}

impl ProblemDocument {
    /// The document of one refusal.
    pub fn new(error: &Error, instance: &str, request_id: &str) -> Self {
        let code = error.code();
        let errors = if let Error::Fields(_, fields) = error { fields.clone() } else { Vec::new() };
        Self {
            kind: "about:blank",
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: error.to_string(),
            instance: instance.to_owned(),
            request_id: request_id.to_owned(),
            merged_into: if let Error::Merged { into } = error { Some(*into) } else { None },
            errors,
        }
    }

    /// Writes itself into a response, keeping the headers that the refusal set.
    pub fn write(&self, response: HttpResponse<BoxBody>) -> HttpResponse<BoxBody> {
        let (mut response, _) = response.into_parts();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.set_body(BoxBody::new(serde_json::to_vec(self).unwrap_or_default()))
    }
}
