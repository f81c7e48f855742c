use crm_core::body::{self, Object};
use crm_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use validator::Validate;

use crate::custom::{CUSTOM_FIELDS, CustomChange};
use crate::{Base, Links};

/// A record as a body gives it: its module's fields, and the links that every record has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordInput<F> {
    /// The module's fields.
    pub fields: F,
    /// Assignees, teams and tags.
    pub links: Links,
    /// The organization's own fields.
    pub custom: CustomChange,
    /// Whether the record is to be made although one that looks the same is there.
    pub allow_duplicate: bool,
}

impl<F: DeserializeOwned + Validate> RecordInput<F> {
    /// Reads the body of a POST, in which the server's own fields have no place.
    ///
    /// # Errors
    /// 400 or 422 naming the fields.
    pub fn parse(mut object: Object) -> Result<Self> {
        let custom = object.remove(CUSTOM_FIELDS);
        Self::split(object, custom, false)
    }

    fn split(mut object: Object, custom: Option<Value>, partial: bool) -> Result<Self> {
        let links =
            ["assigned_to", "teams", "tags"].iter().filter_map(|key| object.remove_entry(*key)).collect();
        // All are read before one is refused, so that one answer names every fault.
        match (body::parse(object), body::parse::<Links>(links), CustomChange::read(custom, partial)) {
            (Ok(fields), Ok(links), Ok(custom)) => {
                Ok(Self { fields, links: links.sorted(), custom, allow_duplicate: false })
            }
            (fields, links, custom) => Err(joined([fields.err(), links.err(), custom.err()])),
        }
    }
}

/// The faults of all that are of the first one's kind.
fn joined(errors: [Option<Error>; 3]) -> Error {
    let join = |first, next| match (first, next) {
        (Error::Fields(code, mut all), Error::Fields(other, more)) if code == other => {
            all.extend(more);
            Error::Fields(code, all)
        }
        (first, _) => first,
    };
    errors.into_iter().flatten().reduce(join).unwrap_or_else(|| Error::internal("no error to report"))
}

/// What a writer demands of the stored record before it is changed.
#[derive(Debug, Clone, Default)]
pub struct Precondition {
    /// The versions of `If-Match`, one of which must be the stored one.
    pub if_match: Option<Vec<i64>>,
}

impl Precondition {
    /// # Errors
    /// `Stale` when the record is at another version.
    pub fn check(&self, base: &Base) -> Result<()> {
        match &self.if_match {
            Some(versions) if !versions.contains(&base.version) => {
                Err(Error::Stale { current: base.version })
            }
            _ => Ok(()),
        }
    }
}

/// A change to a record: PUT's whole new state or PATCH's merge patch (RFC 7396), with what it presupposes.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The body.
    pub body: Object,
    /// Whether fields that are left out keep their value.
    pub partial: bool,
    /// What must hold of the stored record.
    pub precondition: Precondition,
}

impl Edit {
    /// A merge patch without precondition, for a call from code.
    pub fn patch(body: Object) -> Self {
        Self { body, partial: true, precondition: Precondition::default() }
    }

    /// The record's new state, judged as a whole. `stored` is the record as it is shown; `read_only` names fields of it
    /// that the server owns beside those of every record.
    ///
    /// # Errors
    /// `Stale`; 400 for a server-owned field with another value than the stored one; 400 or 422 for the rest.
    pub fn input<F, R>(mut self, stored: &R, base: &Base, read_only: &[&str]) -> Result<RecordInput<F>>
    where
        F: DeserializeOwned + Validate,
        R: Serialize,
    {
        // Merged by whoever knows the definitions: an unknown key is refused, also where it is to be cleared.
        let (custom, partial) = (self.body.remove(CUSTOM_FIELDS), self.partial);
        let mut object = self.object(stored, base, read_only)?;
        object.remove(CUSTOM_FIELDS);
        RecordInput::split(object, custom, partial)
    }

    /// The same for something without links.
    ///
    /// # Errors
    /// As [`Edit::input`].
    pub fn fields<F, R>(self, stored: &R, base: &Base, read_only: &[&str]) -> Result<F>
    where
        F: DeserializeOwned + Validate,
        R: Serialize,
    {
        body::parse(self.object(stored, base, read_only)?)
    }

    fn object(self, stored: &impl Serialize, base: &Base, read_only: &[&str]) -> Result<Object> {
        self.precondition.check(base)?;
        let Value::Object(mut stored) = serde_json::to_value(stored).map_err(Error::internal)? else {
            return Err(Error::internal("a record is a JSON object"));
        };
        let mut sent = self.body;
        let echo = body::take_server_owned(&mut sent, read_only);
        body::check_echo(&echo, &stored)?;
        if !self.partial {
            return Ok(sent);
        }
        body::take_server_owned(&mut stored, read_only);
        Ok(body::merge(stored, sent))
    }
}
