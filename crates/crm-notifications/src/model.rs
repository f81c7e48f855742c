use chrono::{DateTime, Utc};
use crm_core::MemberId;
use crm_records::list::{Field, Kind, Resource};
use crm_schema::notifications;
use diesel::prelude::*;
use serde::Serialize;
use uuid::Uuid;

crm_core::text_enum!(
    /// What happened.
    Verb {
        /// A record was assigned to the recipient.
        Assigned = "assigned",
        /// A comment mentions the recipient.
        Mentioned = "mentioned",
        /// A record that the recipient follows was commented on.
        Commented = "commented",
    }
);

impl Verb {
    /// The whole of it in one line.
    pub(crate) fn sentence(self, by: &str, kind: &str, title: &str) -> String {
        match self {
            Self::Assigned => format!("{by} assigned you a {kind}: {title}"),
            Self::Mentioned => format!("{by} mentioned you in a comment: {title}"),
            Self::Commented => format!("{by} commented: {title}"),
        }
    }
}

/// Notifications as a list.
pub const NOTIFICATIONS: Resource = Resource {
    kind: "notification",
    table: "notifications",
    fields: &[
        Field::new("verb", Kind::Choice(Verb::WORDS)).required(),
        Field::new("kind", Kind::Text),
        Field::new("record_id", Kind::Id),
        Field::new("read_at", Kind::Timestamp),
    ],
    searchable: false,
    mutable: false,
    neighbours: None,
};

/// What a member was told.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = notifications)]
pub struct Notification {
    /// Its id; a member's ids grow in the order in which they are told.
    pub id: Uuid,
    /// What happened.
    pub verb: Verb,
    /// Who did it; null for the program itself.
    pub created_by: Option<MemberId>,
    /// What kind of record it is about.
    pub kind: Option<String>,
    /// The record.
    pub record_id: Option<Uuid>,
    /// What the record was called then, in 255 characters.
    pub title: String,
    /// More, by verb: for a comment `comment_id` and `excerpt`.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
    /// The page of the front end, from its root.
    pub link: String,
    /// When the member read it; null for one that is unread.
    pub read_at: Option<DateTime<Utc>>,
    /// When it was told.
    pub created_at: DateTime<Utc>,
}
