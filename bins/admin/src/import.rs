//! A file as records.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use crm_core::{Db, Error};
use crm_identity::InTheNameOf;
use crm_storage::{Key, MAX_ATTACHMENT_BYTES, Storage};
use crm_transfer::{
    Cell, DateFormat, DecimalMark, Duplicates, Habits, IMPORT, Import, ImportMode, ImportOptions,
    ImportState, Preview, Progress, Refused, Source, Transferable, Work,
};
use futures_util::stream;
use uuid::Uuid;

use crate::database::{Database, block_on, told};
use crate::transfer::{Whose, bar, module};

/// Rows that are told one by one.
const TOLD: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The module, such as leads
    module: String,
    /// A table of text
    file: PathBuf,
    #[command(flatten)]
    whose: Whose,
    /// What a bad row means for the others: all_or_nothing or skip_bad
    #[arg(long, default_value = "all_or_nothing", value_parser = |word: &str| ImportMode::from_word(word).ok_or("all_or_nothing or skip_bad"))]
    mode: ImportMode,
    /// What becomes of a row whose record is there already: error, skip or update
    #[arg(long, default_value = "error", value_parser = |word: &str| Duplicates::from_word(word).ok_or("error, skip or update"))]
    duplicates: Duplicates,
    /// What separates cells: one character, or tab; found out otherwise
    #[arg(long)]
    delimiter: Option<String>,
    /// Headers and fields as a JSON object
    #[arg(long)]
    mapping: Option<String>,
    /// How days are written, such as dd/mm/yyyy
    #[arg(long, value_parser = |word: &str| DateFormat::from_word(word).ok_or(DateFormat::WORDS.join(", ")))]
    date_format: Option<DateFormat>,
    /// What stands before the cents: . or ,
    #[arg(long, value_parser = |word: &str| DecimalMark::from_word(word).ok_or(". or ,"))]
    decimal: Option<DecimalMark>,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Imports a file in the name of a member, here and now.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let module = module(&args.module)?;
    let file = File::open(&args.file).with_context(|| format!("can't read {}", args.file.display()))?;
    let database = Database::connect()?;
    let db = database.app()?;
    let options = ImportOptions {
        delimiter: args.delimiter.clone(),
        mapping: args.mapping.clone(),
        habits: Habits { dates: args.date_format, decimal: args.decimal },
        duplicates: Some(args.duplicates),
        mode: Some(args.mode),
        limit: Some(TOLD),
    };
    block_on(async {
        let who = args.whose.find(&database, &db).await?;
        if args.dry_run {
            let mut source = Source::open(file, options.delimiter.as_deref()).map_err(told)?;
            let seen = db.tenant(&who, async |t| module.preview(t, &mut source, &options).await).await;
            return Ok(show_preview(&seen.map_err(told)?));
        }
        let storage = crm_api::startup::storage(&database.settings).await?;
        let name = args.file.file_name().and_then(|name| name.to_str()).unwrap_or("import.csv");
        let quota = database.settings.storage_quota_bytes;
        let import = begin(module, &db, &storage, &who, (file, name), &options, quota).await?;
        let rows = u64::try_from(import.fields.total_rows).unwrap_or_default();
        let progress = bar(rows)?;
        let shown = |done: i32| progress.set_position(u64::try_from(done).unwrap_or_default());
        while module.run(&db, &storage, &who, import.base.id, &shown).await.map_err(told)? == Progress::More {
        }
        progress.finish_and_clear();
        show(&db, &who, import.base.id).await
    })?
}

/// Keeps the file and puts the import in.
async fn begin(
    module: &Transferable<InTheNameOf>,
    db: &Db,
    storage: &Storage,
    who: &InTheNameOf,
    (mut file, name): (File, &str),
    options: &ImportOptions,
    quota: Option<i64>,
) -> Result<Import> {
    let copy = file.try_clone()?;
    let examined = db.tenant(who, async |t| module.examine(t, copy, options).await).await.map_err(told)?;
    std::io::Seek::rewind(&mut file)?;
    let bytes = stream::iter(std::iter::from_fn(move || {
        let mut chunk = vec![0; 64 * 1024];
        match file.read(&mut chunk) {
            Ok(0) => None,
            Ok(read) => {
                chunk.truncate(read);
                Some(Ok(Bytes::from(chunk)))
            }
            Err(error) => Some(Err(error)),
        }
    }));
    let id = Uuid::now_v7();
    let stored = storage.put(who.org.0, id, name, MAX_ATTACHMENT_BYTES, bytes).await?;
    let begun = db
        .tenant(who, async |t| {
            let import = module.start(t, (id, stored), (&examined, options), quota).await?;
            Work::of(t, import.base.id)?.put_later(t, IMPORT).await?;
            Ok::<_, Error>(import)
        })
        .await;
    if begun.is_err() {
        storage.delete(&Key::new(who.org.0, id)).await?;
    }
    begun.map_err(told)
}

fn show_preview(seen: &Preview) -> ExitCode {
    for column in &seen.columns {
        say!("{} -> {}", column.header, column.field.as_deref().unwrap_or("(left out)"));
    }
    for verdict in seen.verdicts.iter().filter(|verdict| !verdict.ok) {
        for fault in &verdict.errors {
            say!("row {}: {}: {}", verdict.row, fault.field, fault.message);
        }
    }
    let summary = &seen.summary;
    say!(
        "{} rows, {} judged: {} to be made, {} to be changed, {} to be left out, {} to be refused",
        seen.rows_total,
        summary.judged,
        summary.create,
        summary.update,
        summary.skip,
        summary.error
    );
    if summary.error == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn show(db: &Db, who: &InTheNameOf, id: Uuid) -> Result<ExitCode> {
    let (import, refused) = db
        .tenant(who, async |t| {
            let import = crm_transfer::find(t, id).await?;
            let rows = Refused::begin(t, id).await?.page(t).await?;
            Ok::<_, Error>((import, rows.unwrap_or_default()))
        })
        .await
        .map_err(told)?;
    for row in refused.iter().take(TOLD) {
        let [number, field, message] = [0, 1, 2].map(|at| row.get(at).map(Cell::csv).unwrap_or_default());
        say!("row {number}: {field}: {message}");
    }
    let fields = &import.fields;
    say!(
        "import {id} is {}: {} made, {} changed, {} left out, {} refused",
        fields.state,
        fields.created_rows,
        fields.updated_rows,
        fields.skipped_rows,
        fields.failed_rows
    );
    if let Some(error) = &fields.error {
        say!("{error}");
    }
    let good = fields.state == ImportState::Done && fields.failed_rows == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
