use crm_core::MemberId;
use uuid::Uuid;

use crate::Template;

/// A mail to one recipient that is not composed yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its row, and what its Message-ID is made of: two deliveries of one message can be told from two messages.
    pub id: Uuid,
    /// The recipient's address, without a name.
    pub to: String,
    /// What the mail says.
    pub template: Template,
    /// The template's values, an object.
    pub data: serde_json::Value,
    /// The member who caused it; none for the program itself and outside every organization.
    pub by: Option<MemberId>,
}

impl Message {
    /// A new message with an id of its own.
    pub fn new(to: impl Into<String>, template: Template, data: serde_json::Value) -> Self {
        Self { id: Uuid::now_v7(), to: to.into(), template, data, by: None }
    }

    /// The same, caused by a member of the organization whose mail it is.
    pub fn by(self, member: Option<MemberId>) -> Self {
        Self { by: member, ..self }
    }
}
