use std::borrow::Cow;

use chrono::{DateTime, Utc};
use crm_core::{MemberId, TagId, TeamId, rules};
use crm_leads::LeadSource;
use crm_records::list::{Field, Kind, Rel, Resource};
use crm_records::{ASSIGNEES, Base, LinkIds, LinkTable, TAGS, TEAMS, Target};
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

use crate::origin::bare_origin;

const TABLE: &str = "web_forms";

/// To whom the leads are assigned: the assignees of every record, under the word for a form.
pub(crate) const ASSIGNED: LinkTable = LinkTable { field: "lead_assigned_to", ..ASSIGNEES };

/// The ids of all links, as part of a form's row.
pub(crate) const LINKS: (LinkIds, LinkIds, LinkIds) = LinkIds::of(TABLE);

/// Web forms as a list, and as something that tags are on.
pub const WEB_FORMS: Target = Target {
    resource: Resource {
        kind: "web_form",
        table: TABLE,
        fields: &[
            Field::new("title", Kind::Text).required(),
            Field::new("website", Kind::Text),
            Field::new("lead_source", Kind::Choice(LeadSource::WORDS)),
            Field::new("is_active", Kind::Bool).required(),
            Field::new("last_used_at", Kind::Timestamp),
            Field::link(ASSIGNED.field, LINKS.0, Rel::Member),
            Field::link(TEAMS.field, LINKS.1, Rel::Team),
            Field::link(TAGS.field, LINKS.2, Rel::Tag),
        ],
        searchable: false,
        mutable: true,
        neighbours: None,
    },
    view: "web_forms.view_web_form",
    change: "web_forms.change_web_form",
};

/// What a client writes of a web form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebFormFields {
    /// What it is called.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub title: String,
    /// The page that it stands on, for people.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255), custom(function = "rules::web_url"))]
    pub website: Option<String>,
    /// The origins that may send leads, such as `https://www.example.com`; any where there is none.
    #[serde(default)]
    #[validate(length(max = 20, message = "20 origins at most"), custom(function = "origins"))]
    pub allowed_origins: Vec<String>,
    /// The source of its leads.
    #[serde(default)]
    pub lead_source: Option<LeadSource>,
    /// Whether it takes leads.
    #[serde(default = "yes")]
    pub is_active: bool,
    /// The members to whom its leads are assigned.
    #[serde(default)]
    #[validate(length(max = 100, message = "100 members at most"))]
    pub lead_assigned_to: Vec<MemberId>,
    /// The teams to which its leads are assigned.
    #[serde(default)]
    #[validate(length(max = 100, message = "100 teams at most"))]
    pub teams: Vec<TeamId>,
    /// The tags of its leads.
    #[serde(default)]
    #[validate(length(max = 100, message = "100 tags at most"))]
    pub tags: Vec<TagId>,
}

const fn yes() -> bool {
    true
}

fn origins(list: &[String]) -> Result<(), ValidationError> {
    if list.iter().all(|text| text.len() <= 255 && bare_origin(text).is_some()) {
        return Ok(());
    }
    let mut error = ValidationError::new(crm_core::FieldCode::InvalidUrl.as_str());
    error.message = Some(Cow::Borrowed("must be origins without a path, such as https://www.example.com"));
    Err(error)
}

impl WebFormFields {
    /// With each link and origin once and in a fixed form.
    pub(crate) fn settled(mut self) -> Self {
        self.allowed_origins = self.allowed_origins.iter().filter_map(|text| bare_origin(text)).collect();
        self.allowed_origins.sort();
        self.allowed_origins.dedup();
        self.lead_assigned_to.sort();
        self.lead_assigned_to.dedup();
        self.teams.sort();
        self.teams.dedup();
        self.tags.sort();
        self.tags.dedup();
        self
    }
}

/// A web form, without its key.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct WebForm {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: WebFormFields,
    /// How its key begins.
    pub key_prefix: String,
    /// When it last took a lead, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl WebForm {
    /// The fields of a form that the server owns beside those of every record.
    pub(crate) const READ_ONLY: &'static [&'static str] = &["key_prefix", "last_used_at"];
}

/// A web form whose key was just made.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct IssuedWebForm {
    /// What can be seen of it later.
    #[serde(flatten)]
    pub form: WebForm,
    /// The key itself, this once.
    pub apikey: String,
}

impl std::fmt::Debug for IssuedWebForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedWebForm").field("form", &self.form).finish_non_exhaustive()
    }
}
