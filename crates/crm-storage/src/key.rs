use std::{fmt, str::FromStr};

use object_store::path::Path;
use uuid::Uuid;

use crate::Error;

/// Where a blob lies in the store, written as `<org>/<id>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    org: Uuid,
    id: Uuid,
}

impl Key {
    /// The key of blob `id` of organization `org`.
    pub fn new(org: Uuid, id: Uuid) -> Self {
        Self { org, id }
    }

    /// What the keys of an organization begin with.
    pub(crate) fn folder(org: Uuid) -> Path {
        Path::from(org.to_string())
    }

    /// Which one.
    pub fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn path(&self) -> Path {
        Path::from_iter([self.org.to_string(), self.id.to_string()])
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.id)
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (org, id) = text.split_once('/').ok_or(Error::BadKey)?;
        let uuid = |text| Uuid::try_parse(text).map_err(|_| Error::BadKey);
        Ok(Self::new(uuid(org)?, uuid(id)?))
    }
}
