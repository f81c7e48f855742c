//! What an organization has mailed: recipients and states, never what the mail said beyond its subject.

use chrono::{DateTime, Utc};
use crm_access::Require;
use crm_core::{MemberId, Result, TenantTx};
use crm_records::list::{Field, Kind, Page, Params, Resource, Shaped};
use crm_schema::mails;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use crate::{MailState, Template};

/// Mails as a list.
pub const MAILS: Resource = Resource {
    kind: "mail",
    table: "mails",
    fields: &[
        Field::email("to", "to_normalized").required(),
        Field::new("template", Kind::Choice(Template::WORDS)).required(),
        Field::new("state", Kind::Choice(MailState::WORDS)).required(),
    ],
    searchable: false,
    mutable: false,
    neighbours: None,
};

/// A mail of an organization.
#[derive(Debug, Clone, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = mails)]
pub struct Mail {
    /// Its id.
    pub id: Uuid,
    /// The recipient.
    #[diesel(column_name = to_address)]
    pub to: String,
    /// What it says.
    pub template: Template,
    /// How far it has come.
    pub state: MailState,
    /// Its subject, once it was sent.
    pub subject: Option<String>,
    /// How often it was tried.
    pub attempts: i32,
    /// What came of the last attempt if it was not sent.
    pub last_error: Option<String>,
    /// When the server took it.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it was caused.
    pub created_at: DateTime<Utc>,
    /// Who caused it; null for the program itself.
    pub created_by: Option<MemberId>,
}

/// Lists the mails, newest first.
///
/// # Errors
/// `Forbidden` without `mail.view_message`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Mail>>> {
    let scope = t.require("mail.view_message")?;
    let selection = MAILS.select(params, t.caller(), scope)?;
    let page = selection
        .run(t, async |t, f| {
            let query =
                mails::table.filter(f.filter).order_by(f.slice).select((Mail::as_select(), selection.keys()));
            Ok(query.load(t.conn()?).await?)
        })
        .await?;
    selection.shape.page(t, page).await
}
