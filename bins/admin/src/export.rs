//! Records as a file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use crm_core::Error;
use crm_records::list::Params;
use crm_transfer::{Format, Sheet, csv_chunk};

use crate::database::{Database, block_on, told};
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
    /// Where to; what is there is replaced. CSV goes to the standard output where none is given
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
    let mut out = Output::new(format, args.output.as_deref(), module.name)?;
    let progress = bar(0)?;
    block_on(async {
        let who = args.whose.find(&database, &db).await?;
        let mut sink = |header: &[&str], rows: &[Vec<crm_transfer::Cell>], total: u64| {
            progress.set_length(total);
            out.write(header, rows)?;
            progress.inc(rows.len() as u64);
            Ok(())
        };
        module.export(&db, &who, &params, &mut sink).await.map_err(told)
    })??;
    let rows = progress.position();
    progress.finish_and_clear();
    out.finish()?;
    if args.output.is_some() {
        say!("{rows} rows");
    }
    Ok(ExitCode::SUCCESS)
}

/// A file on its way.
enum Output {
    Csv { out: Box<dyn Write>, begun: bool },
    Xlsx { sheet: Option<Box<Sheet>>, name: &'static str, path: PathBuf },
}

impl Output {
    fn new(format: Format, path: Option<&Path>, name: &'static str) -> Result<Self> {
        Ok(match (format, path) {
            (Format::Csv, None) => Self::Csv { out: Box::new(std::io::stdout()), begun: false },
            (Format::Csv, Some(path)) => {
                let file = File::create(path).with_context(|| format!("can't write {}", path.display()))?;
                Self::Csv { out: Box::new(BufWriter::new(file)), begun: false }
            }
            (Format::Xlsx, Some(path)) => Self::Xlsx { sheet: None, name, path: path.to_owned() },
            (Format::Xlsx, None) => bail!("a workbook needs --output"),
        })
    }

    fn write(&mut self, header: &[&str], rows: &[Vec<crm_transfer::Cell>]) -> Result<(), Error> {
        match self {
            Self::Csv { out, begun } => {
                let chunk = csv_chunk(Some(header).filter(|_| !*begun), rows)?;
                *begun = true;
                out.write_all(&chunk).map_err(Error::internal)
            }
            Self::Xlsx { sheet, name, .. } => {
                let sheet = match sheet {
                    Some(sheet) => sheet,
                    None => sheet.insert(Box::new(Sheet::new(name, header)?)),
                };
                rows.iter().try_for_each(|row| sheet.push(row))
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Csv { mut out, .. } => Ok(out.flush()?),
            Self::Xlsx { sheet, path, .. } => {
                let sheet = sheet.context("there is nothing to write")?;
                let finished = sheet.finish().map_err(told)?;
                std::fs::copy(finished.path(), &path)
                    .with_context(|| format!("can't write {}", path.display()))?;
                Ok(())
            }
        }
    }
}
