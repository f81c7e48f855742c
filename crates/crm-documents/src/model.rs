use crm_core::{MemberId, TeamId, rules};
use crm_records::list::{Field, Kind, Rel, Resource};
use crm_records::{ASSIGNEES, Base, Described, LinkIds, LinkTable, Links, TEAMS, Target};
use crm_schema::attachments;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

crm_core::text_enum!(
    /// Whether a document is in use.
    DocumentStatus { Active = "active", Inactive = "inactive" }
);

/// With whom a document is shared: the assignees of every record, under the word for a document.
pub(crate) const SHARED_TO: LinkTable = LinkTable { field: "shared_to", ..ASSIGNEES };

/// The ids of both, as part of a document's row.
pub(crate) const SHARES: (LinkIds, LinkIds) = (ids(SHARED_TO), ids(TEAMS));

const fn ids(links: LinkTable) -> LinkIds {
    LinkIds::new("documents", links.table, links.owner, links.linked)
}

/// Documents as a list, and as something that comments, files and history hang on.
pub const DOCUMENTS: Target = Target {
    resource: Resource {
        kind: "document",
        table: "documents",
        fields: &[
            Field::new("title", Kind::Text).ordered().required(),
            Field::new("status", Kind::Choice(DocumentStatus::WORDS)).required(),
            Field::link(SHARED_TO.field, SHARES.0, Rel::Member),
            Field::link(TEAMS.field, SHARES.1, Rel::Team),
        ],
        searchable: true,
        mutable: true,
        neighbours: None,
    },
    view: "documents.view_document",
    change: "documents.change_document",
};

/// What a client writes of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentFields {
    /// Unique in the organization, ignoring case.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub title: String,
    /// Whether it is in use.
    #[serde(default = "active")]
    pub status: DocumentStatus,
    /// The members who may read it.
    #[serde(default)]
    #[validate(length(max = 100, message = "100 members at most"))]
    pub shared_to: Vec<MemberId>,
    /// The teams whose members may read it.
    #[serde(default)]
    #[validate(length(max = 100, message = "100 teams at most"))]
    pub teams: Vec<TeamId>,
}

const fn active() -> DocumentStatus {
    DocumentStatus::Active
}

impl DocumentFields {
    /// With each share once, in a fixed order.
    pub(crate) fn settled(mut self) -> Self {
        self.shared_to.sort();
        self.shared_to.dedup();
        self.teams.sort();
        self.teams.dedup();
        self
    }

    /// With whom it is shared, as the links of every record.
    pub(crate) fn links(&self) -> Links {
        Links { assigned_to: self.shared_to.clone(), teams: self.teams.clone(), tags: Vec::new() }
    }
}

/// The file that a document is.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = attachments)]
pub struct DocumentFile {
    /// Its id among the attachments.
    #[diesel(column_name = id)]
    pub file_id: Uuid,
    /// Its name when it was uploaded.
    pub file_name: String,
    /// Its media type, found from its bytes or its name.
    pub content_type: String,
    /// Its size in bytes.
    pub size_bytes: i64,
    /// The SHA-256 digest of its bytes, in hexadecimal.
    pub sha256: String,
}

/// A document.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Document {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: DocumentFields,
    /// Its present file.
    #[serde(flatten)]
    pub file: DocumentFile,
}

impl Document {
    /// The fields of a document that the server owns beside those of every record.
    pub(crate) const READ_ONLY: &'static [&'static str] =
        &["file_id", "file_name", "content_type", "size_bytes", "sha256"];

    /// What its file is called when it is downloaded: its title, with the extension of the file.
    pub fn download_name(&self) -> String {
        let title = &self.fields.title;
        let extension = self.file.file_name.rsplit_once('.').map(|(_, extension)| format!(".{extension}"));
        match extension {
            Some(extension) if !title.to_lowercase().ends_with(&extension.to_lowercase()) => {
                format!("{title}{extension}")
            }
            _ => title.clone(),
        }
    }

    /// How the document is found, and what it is called there.
    pub(crate) fn described(&self) -> Described {
        described(&self.fields.title, &self.file.file_name)
    }
}

pub(crate) fn described(title: &str, file_name: &str) -> Described {
    Described {
        title: title.to_owned(),
        subtitle: file_name.to_owned(),
        text: format!("{title} {file_name}"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use crm_core::OrgId;

    use super::*;

    #[test]
    fn a_download_is_called_by_its_title_and_keeps_its_extension() {
        for (title, file_name, want) in [
            ("Price list", "a.pdf", "Price list.pdf"),
            ("Price list.PDF", "a.pdf", "Price list.PDF"),
            ("Price list 1.5", "a.xlsx", "Price list 1.5.xlsx"),
            ("Price list", "README", "Price list"),
        ] {
            let at = DateTime::UNIX_EPOCH;
            let (org_id, id) = (OrgId::generate(), Uuid::nil());
            let base = Base {
                org_id,
                id,
                version: 1,
                created_at: at,
                updated_at: at,
                created_by: None,
                updated_by: None,
            };
            let fields = DocumentFields {
                title: title.into(),
                status: active(),
                shared_to: Vec::new(),
                teams: Vec::new(),
            };
            let (file_name, content_type, sha256) = (file_name.into(), String::new(), String::new());
            let file = DocumentFile { file_id: id, file_name, content_type, size_bytes: 1, sha256 };
            assert_eq!(Document { base, fields, file }.download_name(), want);
        }
    }
}
