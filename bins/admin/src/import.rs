//! A file as records.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use crm_core::{Db, Error};
use crm_identity::InTheNameOf;
use crm_storage::{Key, MAX_ATTACHMENT_BYTES, Storage};
use crm_transfer::{
    Cell, DateFormat, DecimalMark, Duplicates, Habits, IMPORT, Import, ImportMode, ImportOptions,
    ImportState, Preview, Progress, Refused, Source, Transferable, Work, csv_chunk,
};
use futures_util::stream;
use uuid::Uuid;

use crate::database::{Database, block_on, told};
use crate::output::Output;
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
    /// Where rows that were refused are kept as a table, with what is wrong with each; written only if there are any
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    errors: Option<PathBuf>,
}

/// Imports a file in the name of a member, here and now.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let module = module(&args.module)?;
    let file = File::open(&args.file).with_context(|| format!("can't read {}", args.file.display()))?;
    if !file.metadata()?.is_file() {
        bail!("can't read {}: it is no file", args.file.display());
    }
    // Where they can't be written is told before anything is done.
    let errors = match &args.errors {
        Some(path) => Some((Output::create(Some(path))?, path.as_path())),
        None => None,
    };
    let database = Database::connect()?;
    let db = database.app()?;
    let options = ImportOptions {
        delimiter: args.delimiter.clone(),
        mapping: args.mapping.clone(),
        habits: Habits { dates: args.date_format, decimal: args.decimal },
        duplicates: Some(args.duplicates),
        mode: Some(args.mode),
        // Of the rows only those that would be refused are told; all of them are looked through for some.
        limit: Some(usize::MAX),
    };
    block_on(async {
        let who = args.whose.find(&database, &db).await?;
        if args.dry_run {
            // What would be refused as a whole is refused here too.
            let copy = file.try_clone()?;
            db.tenant(&who, async |t| module.examine(t, copy, &options).await).await.map_err(told)?;
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
        show(&db, &who, import.base.id, errors).await
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
    let refused: Vec<_> = seen.verdicts.iter().filter(|verdict| !verdict.ok).collect();
    for verdict in refused.iter().take(TOLD) {
        for fault in &verdict.errors {
            say!("row {}: {}: {}", verdict.row, fault.field, fault.message);
        }
    }
    if refused.len() > TOLD {
        say!("and {} rows more", refused.len() - TOLD);
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

/// The output for rows that were refused, and what it is called.
type Errors<'a> = Option<(Output, &'a Path)>;

async fn show(db: &Db, who: &InTheNameOf, id: Uuid, errors: Errors<'_>) -> Result<ExitCode> {
    let import = db.tenant(who, async |t| crm_transfer::find(t, id).await).await.map_err(told)?;
    let fields = &import.fields;
    if fields.failed_rows > 0 {
        show_refused(db, who, id, errors).await?;
    }
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

/// Tells of the first rows that were refused, and keeps all of them in a file where one is given.
async fn show_refused(db: &Db, who: &InTheNameOf, id: Uuid, mut errors: Errors<'_>) -> Result<()> {
    let mut refused = db.tenant(who, async |t| Refused::begin(t, id).await).await.map_err(told)?;
    let (mut told_of, mut all) = (0, 0);
    while let Some(rows) = db.tenant(who, async |t| refused.page(t).await).await.map_err(told)? {
        for row in rows.iter().take(TOLD - told_of) {
            let [number, field, message] = [0, 1, 2].map(|at| row.get(at).map(Cell::csv).unwrap_or_default());
            say!("row {number}: {field}: {message}");
            told_of += 1;
        }
        if let Some((file, _)) = &mut errors {
            let header = refused.header();
            file.write_all(&csv_chunk(Some(header.as_slice()).filter(|_| all == 0), &rows).map_err(told)?)?;
        }
        all += rows.len();
    }
    match errors {
        Some((file, path)) => {
            file.finish()?;
            say!("{all} rows with what is wrong with them are in {}", path.display());
        }
        None if all > told_of => say!("and {} rows more: --errors FILE keeps all of them", all - told_of),
        None => {}
    }
    Ok(())
}
