use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use crm_core::{Code, Db, Error, FieldCode, FieldError, Result, Sealer};
use crm_records::list::{Field, Kind, Resource};
use crm_records::{Base, Target};
use rand::RngCore;
use reqwest::dns::Resolve;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::addresses::check_url;
use crate::sender::Sender;
use crate::{SystemResolver, events};

/// Webhooks as a list.
pub const WEBHOOKS: Resource = Resource {
    kind: "webhook",
    table: "webhooks",
    fields: &[
        Field::new("url", Kind::Text).required(),
        Field::new("is_active", Kind::Bool).required(),
        Field::new("disabled_reason", Kind::Choice(DisabledReason::WORDS)),
        Field::new("failing_since", Kind::Timestamp),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

crm_core::text_enum!(
    /// Why the program switched a webhook off.
    DisabledReason {
        /// The receiver answered 410.
        Gone = "gone",
        /// Nothing was taken for days.
        Failing = "failing",
    }
);

/// What a client writes of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookFields {
    /// Where to send: https, a public address, port 80, 443 or from 1024.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 2000))]
    pub url: String,
    /// What to tell: `lead.created`, `lead.*` for every event of leads, `*` for everything.
    #[validate(length(min = 1, max = 100, message = "1 to 100 events"))]
    pub events: Vec<String>,
    /// What it is for.
    #[serde(default)]
    #[validate(length(max = 1000))]
    pub description: String,
    /// Whether anything is sent. Switched on again, it begins with what happens from then on.
    #[serde(default = "yes")]
    pub is_active: bool,
}

const fn yes() -> bool {
    true
}

impl WebhookFields {
    /// Judges the URL and the events.
    ///
    /// # Errors
    /// 422 with every fault.
    pub(crate) fn settle(mut self, targets: &[Target], allow_private: bool) -> Result<Self> {
        let mut faults = events::check(targets, &self.events).err().unwrap_or_default();
        self.events.sort();
        self.events.dedup();
        match check_url(&self.url, allow_private) {
            Ok(url) => self.url = url.into(),
            Err(why) => faults.push(FieldError::new("url", FieldCode::InvalidUrl, why)),
        }
        if faults.is_empty() { Ok(self) } else { Err(Error::Fields(Code::ValidationFailed, faults)) }
    }
}

/// A webhook.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Webhook {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: WebhookFields,
    /// Why the program switched it off; null when it did not.
    pub disabled_reason: Option<DisabledReason>,
    /// Since when nothing was taken; null after a success.
    pub failing_since: Option<DateTime<Utc>>,
    /// Until when the secret before the present one signs as well.
    pub previous_secret_until: Option<DateTime<Utc>>,
}

impl Webhook {
    /// The fields of a webhook that the server owns beside those of every record.
    pub(crate) const READ_ONLY: &'static [&'static str] =
        &["disabled_reason", "failing_since", "previous_secret_until"];
}

/// A webhook just made, with its secret: shown this once.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct NewWebhook {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// What its messages are signed with.
    pub secret: String,
}

/// A secret just made, shown this once.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct RotatedSecret {
    /// What messages are signed with from now on.
    pub secret: String,
    /// Until when they are signed with the one before as well.
    pub previous_secret_until: DateTime<Utc>,
}

/// How webhooks are sent.
#[derive(Clone)]
pub struct WebhookSettings {
    /// Seals their secrets.
    pub sealer: Sealer,
    /// Whether they may lead to this machine and its network: for development.
    pub allow_private: bool,
    /// How long a receiver may take to answer.
    pub time_limit: Duration,
    /// What resolves the names of their hosts.
    pub names: Arc<dyn Resolve>,
}

impl WebhookSettings {
    /// Those of an installation with this secret key.
    ///
    /// # Errors
    /// As [`Sealer::new`].
    pub fn new(secret_key: &str, allow_private: bool) -> Result<Self> {
        Ok(Self {
            sealer: Sealer::new(secret_key, "webhook")?,
            allow_private,
            time_limit: Duration::from_secs(10),
            names: Arc::new(SystemResolver),
        })
    }
}

/// The webhooks of all organizations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Webhooks {
    pub(crate) db: Db,
    pub(crate) sealer: Sealer,
    pub(crate) sender: Sender,
    pub(crate) targets: &'static [Target],
}

impl Webhooks {
    /// Webhooks that tell of records of these kinds.
    ///
    /// # Errors
    /// `Internal` when TLS can't be set up.
    pub fn new(db: Db, settings: WebhookSettings, targets: &'static [Target]) -> Result<Self> {
        let sender = Sender::new(&settings)?;
        Ok(Self { db, sealer: settings.sealer, sender, targets })
    }
}

/// A new secret as it is shown.
pub(crate) fn new_secret() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    format!("whsec_{}", STANDARD.encode(bytes))
}
