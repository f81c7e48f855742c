//! What a token may be used for, and what no token ever opens.

use std::collections::BTreeSet;

use crm_core::body::nearest;
use crm_core::{Error, FieldCode, FieldError, Result};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Jsonb;
use serde::{Deserialize, Serialize};

/// Every part of the API, in a scope.
const ANY: &str = "*";
const READ: &str = "read";
const WRITE: &str = "write";

/// What no scope opens, with everything below it: credentials are managed by a person who has signed in.
const CLOSED: &[&str] = &["/api/auth/", "/api/profile/tokens/", "/api/org/tokens/", "/api/platform/"];

/// The same for a path with one of these words in it: what signs webhooks, say.
const CLOSED_WORDS: &[&str] = &["secret", "rotate-secret"];

/// The one exception: whose token it is.
const ME: &str = "/api/auth/me/";

/// What a token may be used for: words `<resource>:<read|write>`, where the resource is the first part of a path below `/api/`, or `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromSqlRow, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[diesel(sql_type = Jsonb)]
pub struct Scopes(Vec<String>);

impl FromSql<Jsonb, Pg> for Scopes {
    /// What can't be read grants nothing.
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        let stored = <serde_json::Value as FromSql<Jsonb, Pg>>::from_sql(bytes)?;
        Ok(serde_json::from_value(stored).unwrap_or_default())
    }
}

impl Scopes {
    /// Reads what somebody wants a token to be used for; `known` are the resources that there are.
    ///
    /// # Errors
    /// 422 naming every word that is no scope.
    pub fn parse(words: &[String], known: &BTreeSet<&'static str>) -> Result<Self> {
        let (mut scopes, mut faults) = (Vec::new(), Vec::new());
        for (index, word) in words.iter().enumerate() {
            let word = word.trim().to_lowercase();
            match fault(&word, known) {
                Some(message) => {
                    faults.push(FieldError::new(format!("scopes.{index}"), FieldCode::NotAChoice, message))
                }
                None if scopes.contains(&word) => {}
                None => scopes.push(word),
            }
        }
        if faults.is_empty() {
            Ok(Self(scopes))
        } else {
            Err(Error::Fields(crm_core::Code::ValidationFailed, faults))
        }
    }

    /// Judges a request by its method and by the path of its operation. To write is not to read, and no scope at all is no access at all.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn allow(&self, method: &str, path: &str) -> Result<()> {
        let action = if matches!(method, "GET" | "HEAD" | "OPTIONS") { READ } else { WRITE };
        if is_closed(action, path) {
            let message = "a personal access token can't be used for this: sign in";
            return Err(Error::Forbidden(message.into()));
        }
        let resource = resource(path)
            .ok_or_else(|| Error::Forbidden("a personal access token opens nothing outside /api/".into()))?;
        if [resource, ANY].iter().any(|resource| self.0.contains(&format!("{resource}:{action}"))) {
            return Ok(());
        }
        Err(Error::Forbidden(format!("this token lacks the scope {resource}:{action}").into()))
    }
}

/// The resource that a path belongs to, as scopes name it.
pub fn resource(path: &str) -> Option<&str> {
    path.strip_prefix("/api/")?.split('/').next().filter(|part| !part.is_empty())
}

fn is_closed(action: &str, path: &str) -> bool {
    let below = CLOSED.iter().any(|closed| path.starts_with(closed));
    let worded = path.split('/').any(|part| CLOSED_WORDS.contains(&part));
    (below || worded) && !(path == ME && action == READ)
}

/// What is wrong with a scope.
fn fault(word: &str, known: &BTreeSet<&'static str>) -> Option<String> {
    let (resource, action) = word.split_once(':').unwrap_or((word, ""));
    let shown: String = word.chars().take(100).collect();
    if resource != ANY && !known.contains(resource) {
        let near = nearest(resource, known.iter().copied());
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Some(format!("{shown:?} is no scope: there is no such part of the API{hint}"));
    }
    (action != READ && action != WRITE)
        .then(|| format!("{shown:?} is no scope: use {resource}:{READ} or {resource}:{WRITE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(words: &[&str]) -> Result<Scopes> {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        Scopes::parse(&words, &BTreeSet::from(["leads", "teams", "auth", "profile", "org", "webhooks"]))
    }

    #[test]
    fn a_scope_opens_its_resource_for_its_action_and_nothing_else() {
        for (granted, method, path, open) in [
            (&[][..], "GET", "/api/leads/", false),
            (&["leads:read"], "GET", "/api/leads/", true),
            (&["leads:read"], "HEAD", "/api/leads/{id}/", true),
            (&["leads:read"], "OPTIONS", "/api/leads/", true),
            (&["leads:read"], "POST", "/api/leads/", false),
            (&["leads:read"], "GET", "/api/teams/", false),
            (&["leads:read"], "GET", "/api/leads-of-others/", false),
            (&["leads:write"], "GET", "/api/leads/", false),
            (&["leads:write"], "POST", "/api/leads/", true),
            (&["leads:write"], "PATCH", "/api/leads/{id}/", true),
            (&["leads:write"], "DELETE", "/api/leads/{id}/", true),
            (&["leads:read", "leads:write"], "PUT", "/api/leads/{id}/", true),
            (&["*:read"], "GET", "/api/teams/", true),
            (&["*:read"], "POST", "/api/teams/", false),
            (&["*:write"], "POST", "/api/teams/", true),
            (&["*:write"], "GET", "/api/teams/", false),
            (&["*:read", "*:write"], "GET", "/metrics/", false),
            (&["*:read", "*:write"], "GET", "/api/", false),
            (&["*:read", "*:write"], "GET", "/api/profile/", true),
            (&["*:read", "*:write"], "PATCH", "/api/org/settings/", true),
            (&["auth:read"], "GET", "/api/auth/me/", true),
            (&["*:read"], "GET", "/api/auth/me/", true),
            (&["leads:read"], "GET", "/api/auth/me/", false),
        ] {
            assert_eq!(
                scopes(granted).unwrap().allow(method, path).is_ok(),
                open,
                "{granted:?} {method} {path}"
            );
        }
    }

    #[test]
    fn no_scope_opens_what_manages_credentials() {
        let all =
            scopes(&["*:read", "*:write", "auth:read", "auth:write", "profile:write", "org:write"]).unwrap();
        for (method, path) in [
            ("GET", "/api/profile/tokens/"),
            ("POST", "/api/profile/tokens/"),
            ("DELETE", "/api/profile/tokens/{id}/"),
            ("GET", "/api/org/tokens/"),
            ("DELETE", "/api/org/tokens/{id}/"),
            ("POST", "/api/auth/me/"),
            ("POST", "/api/auth/switch-org/"),
            ("POST", "/api/auth/password/change/"),
            ("GET", "/api/auth/profile/"),
            ("GET", "/api/platform/orgs/"),
            ("POST", "/api/webhooks/{id}/secret/"),
            ("POST", "/api/webhooks/{id}/rotate-secret/"),
            ("POST", "/api/auth/2fa/disable/"),
        ] {
            let refused = all.allow(method, path).unwrap_err();
            assert_eq!(refused.code(), crm_core::Code::Forbidden, "{method} {path}");
            assert!(refused.to_string().ends_with("sign in"), "{method} {path}: {refused}");
        }
    }

    #[test]
    fn what_is_asked_for_is_put_in_order_and_every_fault_is_named() {
        let given = scopes(&[" Leads:READ ", "leads:read", "*:write"]).unwrap();
        assert_eq!(serde_json::to_value(given).unwrap(), serde_json::json!(["leads:read", "*:write"]));
        let wrong = ["leads:read", "leds:read", "leads", "leads:delete", "", ":read", "leads:read:x"];
        let Err(Error::Fields(_, faults)) = scopes(&wrong) else { panic!("it was not refused") };
        let named: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(named, ["scopes.1", "scopes.2", "scopes.3", "scopes.4", "scopes.5", "scopes.6"]);
        assert_eq!(
            faults[0].message,
            "\"leds:read\" is no scope: there is no such part of the API; did you mean leads?"
        );
    }

    #[test]
    fn stored_words_that_mean_nothing_grant_nothing() {
        let stored: Scopes = serde_json::from_str(r#"["leads", "leads:everything", "", "*"]"#).unwrap();
        assert!(stored.allow("GET", "/api/leads/").is_err());
    }
}
