//! An import as a record: what was asked for, and what came of it.

use chrono::{DateTime, Utc};
use crm_access::{MODULES, Require, scope_of};
use crm_core::{Code, Error, FieldCode, Result, TenantTx};
use crm_records::list::{Clause, Field, Kind, Page, Params, Resource, Shaped, SortValues, Value as Bound};
use crm_records::{Base, Module, Target, attachments, base_columns, base_values, created};
use crm_schema::imports;
use crm_storage::Stored;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::convert::{DateFormat, DecimalMark, Habits};
use crate::mapping::MappedColumn;

crm_core::text_enum!(
    /// Where an import stands.
    ImportState {
        Queued = "queued",
        Running = "running",
        Done = "done",
        Failed = "failed",
        Undoing = "undoing",
        Undone = "undone",
    }
);

crm_core::text_enum!(
    /// What a row that is refused means for the others.
    ImportMode {
        /// Nothing is imported.
        AllOrNothing = "all_or_nothing",
        /// The others are imported.
        SkipBad = "skip_bad",
    }
);

crm_core::text_enum!(
    /// What becomes of a row whose record is there already: by e-mail address for leads and contacts, by name otherwise.
    Duplicates {
        /// It is refused.
        Error = "error",
        /// It is left out.
        Skip = "skip",
        /// It changes the record; blank cells leave its fields alone.
        Update = "update",
    }
);

/// Imports as a list, and as something that a file hangs on.
pub const IMPORTS: Target = Target {
    resource: Resource {
        kind: "import",
        table: "imports",
        fields: &[
            Field::new("module", Kind::Text).ordered().required(),
            Field::new("state", Kind::Choice(ImportState::WORDS)).required(),
            Field::new("mode", Kind::Choice(ImportMode::WORDS)).required(),
            Field::new("duplicates", Kind::Choice(Duplicates::WORDS)).required(),
            Field::new("total_rows", Kind::Integer).required(),
            Field::new("done_rows", Kind::Integer).required(),
            Field::new("failed_rows", Kind::Integer).required(),
            Field::new("started_at", Kind::Timestamp),
            Field::new("finished_at", Kind::Timestamp),
        ],
        searchable: false,
        mutable: true,
        neighbours: None,
    },
    view: "imports.view_import",
    change: "imports.change_import",
};

/// The permission to begin one.
pub const ADD_IMPORT: &str = "imports.add_import";

/// What an import was asked for, and how far it has come.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, ToSchema)]
#[diesel(table_name = imports)]
pub struct ImportFields {
    /// The module that the rows go into.
    pub module: String,
    /// Its file, as `/api/attachments/<id>/download/` answers it.
    pub file_id: Uuid,
    /// Where it stands.
    pub state: ImportState,
    /// What a row that is refused means for the others.
    pub mode: ImportMode,
    /// What becomes of a row whose record is there already.
    pub duplicates: Duplicates,
    /// How the file is read: delimiter, encoding, columns and where they go.
    #[schema(value_type = Object)]
    pub options: Value,
    /// Rows of data in the file.
    pub total_rows: i32,
    /// How many of them have been read.
    pub done_rows: i32,
    /// Rows that made a record.
    pub created_rows: i32,
    /// Rows that changed one.
    pub updated_rows: i32,
    /// Rows that were left out because their record is there already, or says the same.
    pub skipped_rows: i32,
    /// Rows that were refused: `/api/imports/<id>/errors/` tells why.
    pub failed_rows: i32,
    /// Rows that undoing it took back.
    pub undone_rows: i32,
    /// Rows that undoing it left, because somebody has changed their record since.
    pub kept_rows: i32,
    /// Why nothing came of it.
    pub error: Option<String>,
    /// When its first row was read.
    pub started_at: Option<DateTime<Utc>>,
    /// When its last one was.
    pub finished_at: Option<DateTime<Utc>>,
}

/// An import.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Import {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What was asked for, and how far it has come.
    #[serde(flatten)]
    pub fields: ImportFields,
}

/// How a file is read, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) delimiter: char,
    pub(crate) encoding: String,
    pub(crate) date_format: Option<String>,
    pub(crate) decimal: Option<String>,
    pub(crate) columns: Vec<KeptColumn>,
    /// The row before which undoing it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undo_before: Option<i32>,
}

/// A column of the file and where it goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptColumn {
    pub(crate) header: String,
    pub(crate) field: Option<String>,
}

impl Kept {
    pub(crate) fn of(import: &ImportFields) -> Result<Self> {
        serde_json::from_value(import.options.clone()).map_err(Error::internal)
    }

    pub(crate) fn habits(&self) -> Habits {
        Habits {
            dates: self.date_format.as_deref().and_then(DateFormat::from_word),
            decimal: self.decimal.as_deref().and_then(DecimalMark::from_word),
        }
    }
}

/// What a client says of a file beside its bytes.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// What separates its cells; found out otherwise.
    pub delimiter: Option<String>,
    /// Headers and fields, as JSON; what it leaves out goes by its header.
    pub mapping: Option<String>,
    /// How its days and numbers are written.
    pub habits: Habits,
    /// What becomes of a row whose record is there already.
    pub duplicates: Option<Duplicates>,
    /// What a row that is refused means for the others.
    pub mode: Option<ImportMode>,
    /// How many rows a preview shows.
    pub limit: Option<usize>,
}

impl ImportOptions {
    /// Reads them from a query string.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub fn read(params: &Params) -> Result<Self> {
        fn word<T>(
            params: &Params,
            name: &str,
            words: &[&str],
            of: impl Fn(&str) -> Option<T>,
        ) -> Result<Option<T>> {
            let Some(given) = params.get(name) else { return Ok(None) };
            let message = || format!("{given:?} is not one of {}", words.join(", "));
            of(given).map(Some).ok_or_else(|| Error::parameter(name, FieldCode::NotAChoice, message()))
        }
        let limit = params.get("limit").map(|text| match text.parse() {
            Ok(limit @ 0..=MOST_SHOWN) => Ok(limit),
            _ => {
                let message = format!("must be a whole number from 0 to {MOST_SHOWN}");
                Err(Error::parameter("limit", FieldCode::OutOfRange, message))
            }
        });
        Ok(Self {
            delimiter: params.get("delimiter").map(str::to_owned),
            mapping: params.get("mapping").map(str::to_owned),
            habits: Habits {
                dates: word(params, "date_format", DateFormat::WORDS, DateFormat::from_word)?,
                decimal: word(params, "decimal", DecimalMark::WORDS, DecimalMark::from_word)?,
            },
            duplicates: word(params, "duplicates", Duplicates::WORDS, Duplicates::from_word)?,
            mode: word(params, "mode", ImportMode::WORDS, ImportMode::from_word)?,
            limit: limit.transpose()?,
        })
    }
}

/// Rows that a preview shows at most.
pub(crate) const MOST_SHOWN: usize = 200;

/// Makes sure that the caller may import into the module in this way.
///
/// # Errors
/// `Forbidden` without the permission to import, to add, or to change where duplicates are updated.
pub fn may_import<M: Module>(t: &TenantTx, duplicates: Duplicates) -> Result<()> {
    t.require(ADD_IMPORT)?;
    t.require(M::ADD)?;
    if duplicates == Duplicates::Update {
        t.require(M::TARGET.change)?;
    }
    Ok(())
}

/// What is known of a file that is to be imported.
#[derive(Debug, Clone)]
pub struct Examined {
    /// What separates its cells.
    pub delimiter: char,
    /// How its text is written.
    pub encoding: &'static str,
    /// Its columns and where they go.
    pub columns: Vec<MappedColumn>,
    /// Its rows of data.
    pub total_rows: i32,
}

/// Puts an import in, whose file is stored already, and has it begin after this transaction.
///
/// # Errors
/// As [`may_import`]; `QuotaExceeded`.
pub async fn start<M: Module>(
    t: &mut TenantTx,
    file: Uuid,
    stored: Stored,
    (examined, options): (&Examined, &ImportOptions),
    quota_bytes: Option<i64>,
) -> Result<Import> {
    let duplicates = options.duplicates.unwrap_or(Duplicates::Error);
    may_import::<M>(t, duplicates)?;
    let column =
        |column: &MappedColumn| KeptColumn { header: column.header.clone(), field: column.field.clone() };
    let kept = Kept {
        delimiter: examined.delimiter,
        encoding: examined.encoding.to_owned(),
        date_format: options.habits.dates.map(|format| format.to_string()),
        decimal: options.habits.decimal.map(|mark| mark.to_string()),
        columns: examined.columns.iter().map(column).collect(),
        undo_before: None,
    };
    let import = Import {
        base: Base::new(t),
        fields: ImportFields {
            module: M::NAME.to_owned(),
            file_id: file,
            state: ImportState::Queued,
            mode: options.mode.unwrap_or(ImportMode::AllOrNothing),
            duplicates,
            options: serde_json::to_value(kept).map_err(Error::internal)?,
            total_rows: examined.total_rows,
            done_rows: 0,
            created_rows: 0,
            updated_rows: 0,
            skipped_rows: 0,
            failed_rows: 0,
            undone_rows: 0,
            kept_rows: 0,
            error: None,
            started_at: None,
            finished_at: None,
        },
    };
    created(t, IMPORTS.resource.kind, &import.base, None).await?;
    diesel::insert_into(imports::table)
        .values((base_values!(imports, import.base), &import.fields))
        .execute(t.conn()?)
        .await?;
    attachments::create(t, &IMPORTS, import.base.id, file, stored, quota_bytes).await?;
    Ok(import)
}

/// Whether the caller may look at records of a module, and so at what was to become some.
fn sees(t: &TenantTx, module: &str) -> bool {
    scope_of(&t.caller().principal, &format!("{module}.view_record")).is_some()
}

/// Makes sure that the caller may see the file of a record, if that is an import.
///
/// # Errors
/// `NotFound` for an import into a module whose records the caller may not look at.
pub async fn check_file(t: &mut TenantTx, record: Uuid) -> Result<()> {
    let module: Option<String> = imports::table
        .filter(imports::org_id.eq(t.org()).and(imports::id.eq(record)))
        .select(imports::module)
        .first(t.conn()?)
        .await
        .optional()?;
    if module.is_none_or(|module| sees(t, &module)) { Ok(()) } else { Err(Error::NotFound) }
}

/// Lists the imports that the caller may see, newest first: those into modules whose records the caller may look at.
///
/// # Errors
/// `Forbidden` without `imports.view_import`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Import>>> {
    let scope = t.require(IMPORTS.view)?;
    let mut selection = IMPORTS.resource.select(params, t.caller(), scope)?;
    let modules = MODULES.iter().map(|module| module.name).filter(|module| sees(t, module));
    let modules = Bound::Texts(modules.map(str::to_owned).collect());
    selection.and(Clause::Any(IMPORTS.resource.table, "module", modules));
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, ImportFields, SortValues)> = imports::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((base_columns!(imports), ImportFields::as_select(), selection.keys()))
                .load(t.conn()?)
                .await?;
            Ok(rows.into_iter().map(|(base, fields, keys)| (Import { base, fields }, keys)).collect())
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One import that the caller may see: into a module whose records the caller may look at.
///
/// # Errors
/// `Forbidden` without `imports.view_import`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Import> {
    let scope = t.require(IMPORTS.view)?;
    let row: (Base, ImportFields) = imports::table
        .filter(IMPORTS.one(t, scope, id))
        .select((base_columns!(imports), ImportFields::as_select()))
        .first(t.conn()?)
        .await?;
    if !sees(t, &row.1.module) {
        return Err(Error::NotFound);
    }
    Ok(Import { base: row.0, fields: row.1 })
}

/// The import, whoever began it, for the work on it; locked until the transaction ends.
pub(crate) async fn locked(t: &mut TenantTx, id: Uuid) -> Result<Import> {
    let row: (Base, ImportFields) = imports::table
        .filter(imports::org_id.eq(t.org()).and(imports::id.eq(id)))
        .select((base_columns!(imports), ImportFields::as_select()))
        .for_update()
        .first(t.conn()?)
        .await?;
    Ok(Import { base: row.0, fields: row.1 })
}

/// Puts the new state of an import in place of the stored one, as another version.
pub(crate) async fn store(t: &mut TenantTx, import: &Import) -> Result<()> {
    let (now, fields) = (t.now(), &import.fields);
    diesel::update(imports::table.filter(imports::org_id.eq(t.org()).and(imports::id.eq(import.base.id))))
        .set((
            imports::version.eq(imports::version + 1),
            imports::updated_at.eq(now),
            imports::state.eq(fields.state),
            imports::options.eq(&fields.options),
            imports::done_rows.eq(fields.done_rows),
            imports::created_rows.eq(fields.created_rows),
            imports::updated_rows.eq(fields.updated_rows),
            imports::skipped_rows.eq(fields.skipped_rows),
            imports::failed_rows.eq(fields.failed_rows),
            imports::undone_rows.eq(fields.undone_rows),
            imports::kept_rows.eq(fields.kept_rows),
            imports::error.eq(&fields.error),
            imports::started_at.eq(fields.started_at),
            imports::finished_at.eq(fields.finished_at),
        ))
        .execute(t.conn()?)
        .await?;
    Ok(())
}

/// Has a finished import taken back by whoever asks.
///
/// # Errors
/// `Forbidden` without `imports.change_import` and the permission to delete in its module; `NotFound`; `Conflict` for one that is under
/// way or taken back already.
pub async fn ask_to_undo(
    t: &mut TenantTx,
    id: Uuid,
    delete: impl Fn(&str) -> Option<&'static str>,
) -> Result<Import> {
    IMPORTS.check(t, IMPORTS.change, id).await?;
    let mut import = locked(t, id).await?;
    if !sees(t, &import.fields.module) {
        return Err(Error::NotFound);
    }
    let permission = delete(&import.fields.module);
    t.require(permission.ok_or_else(|| Error::internal("an import into no module"))?)?;
    if !matches!(import.fields.state, ImportState::Done | ImportState::Failed) {
        let message = format!("an import that is {} can't be taken back", import.fields.state);
        return Err(Error::Refused(Code::Conflict, message.into()));
    }
    if import.fields.state == ImportState::Done {
        // Of a former attempt to take it back.
        import.fields.error = None;
    }
    import.fields.state = ImportState::Undoing;
    store(t, &import).await?;
    import.base.version += 1;
    Ok(import)
}
