//! Records as a file.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use crm_core::Error;
use crm_records::list::Params;
use crm_transfer::{Format, Sheet, csv_chunk};
use indicatif::ProgressBar;

use crate::database::{Database, block_on, told};
use crate::output::Output;
use crate::transfer::{Whose, bar, module};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The module, such as leads
    module: String,
    #[command(flatten)]
    whose: Whose,
    /// csv or xlsx; otherwise by the ending of the output, and csv where that tells nothing
    #[arg(long, value_parser = format)]
    format: Option<Format>,
    /// Where to, for its owner alone; what is there is replaced once all is written. CSV goes to the standard output where none is given
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only these columns, in this order, separated by commas
    #[arg(long)]
    fields: Option<String>,
    /// A parameter of the list, such as status=closed or ordering=-created_at; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
}

fn format(word: &str) -> Result<Format, String> {
    Format::from_word(word).ok_or_else(|| format!("one of {}", Format::WORDS.join(", ")))
}

/// Writes what the member may see.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let module = module(&args.module)?;
    let database = Database::connect()?;
    let db = database.app()?;
    let ending = args.output.as_deref().and_then(Path::extension).and_then(|ending| ending.to_str());
    let format = args.format.or(ending.and_then(Format::from_word)).unwrap_or(Format::Csv);
    let mut params = Params::default();
    for filter in &args.filter {
        let (name, value) =
            filter.split_once('=').with_context(|| format!("{filter:?} is not NAME=VALUE"))?;
        params.pairs.push((name.to_owned(), value.to_owned()));
    }
    params.pairs.extend(args.fields.clone().map(|fields| ("fields".to_owned(), fields)));
    let mut table = match format {
        Format::Csv => Table::Csv { begun: false },
        Format::Xlsx if args.output.is_none() => bail!("a workbook needs --output"),
        Format::Xlsx => Table::Xlsx { sheet: None, name: module.name },
    };
    let mut out = Output::create(args.output.as_deref())?;
    // On a terminal the lines themselves show how far it is.
    let shows_lines = args.output.is_none() && std::io::stdout().is_terminal();
    let progress = if shows_lines { ProgressBar::hidden() } else { bar(0)? };
    block_on(async {
        let who = args.whose.find(&database, &db).await?;
        let mut sink = |header: &[&str], rows: &[Vec<crm_transfer::Cell>], total: u64| {
            progress.set_length(total);
            table.write(&mut out, header, rows)?;
            progress.inc(rows.len() as u64);
            Ok(())
        };
        module.export(&db, &who, &params, &mut sink).await.map_err(told)
    })??;
    let rows = progress.position();
    progress.finish_and_clear();
    table.finish(out)?;
    if args.output.is_some() {
        say!("{rows} rows");
    }
    Ok(ExitCode::SUCCESS)
}

/// A table on its way: lines as they come, or a workbook that is written as a whole in the end.
enum Table {
    Csv { begun: bool },
    Xlsx { sheet: Option<Box<Sheet>>, name: &'static str },
}

impl Table {
    fn write(
        &mut self,
        out: &mut Output,
        header: &[&str],
        rows: &[Vec<crm_transfer::Cell>],
    ) -> Result<(), Error> {
        match self {
            Self::Csv { begun } => {
                let chunk = csv_chunk(Some(header).filter(|_| !*begun), rows)?;
                *begun = true;
                out.write_all(&chunk).map_err(Error::internal)
            }
            Self::Xlsx { sheet, name } => {
                let sheet = match sheet {
                    Some(sheet) => sheet,
                    None => sheet.insert(Box::new(Sheet::new(name, header)?)),
                };
                rows.iter().try_for_each(|row| sheet.push(row))
            }
        }
    }

    fn finish(self, mut out: Output) -> Result<()> {
        if let Self::Xlsx { sheet, .. } = self {
            let finished = sheet.context("there is nothing to write")?.finish().map_err(told)?;
            std::io::copy(&mut finished.reopen()?, &mut out)?;
        }
        out.finish()
    }
}
