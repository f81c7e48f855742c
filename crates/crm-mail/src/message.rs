use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Template;

/// A mail to one recipient that is not composed yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Becomes the Message-ID, so that two deliveries of one message can be told from two messages.
    pub id: Uuid,
    /// The recipient's address, without a name.
    pub to: String,
    /// What the mail says.
    pub template: Template,
    /// The template's values, an object.
    pub data: serde_json::Value,
}

impl Message {
    /// A new message with an id of its own.
    pub fn new(to: impl Into<String>, template: Template, data: serde_json::Value) -> Self {
        Self { id: Uuid::now_v7(), to: to.into(), template, data }
    }
}
