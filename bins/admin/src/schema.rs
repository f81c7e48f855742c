//! The OpenAPI document without a running server.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Yaml,
}

/// Prints the document.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let document = crm_api::openapi::document();
    let text = match args.format {
        Format::Json => document.to_pretty_json()?,
        Format::Yaml => document.to_yaml()?,
    };
    say!("{}", text.trim_end());
    Ok(ExitCode::SUCCESS)
}
