//! How long a file of many leads takes from its upload to its last row, and one of as many deals.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chrono::Utc;
use serde_json::Value;

use super::http::Target;

/// Rows of the file.
const ROWS: usize = 100_000;

/// Uploads the files, waits for the end of each import and prints what it came to.
pub(super) fn measure(target: &Target) -> Result<()> {
    one(target, "leads", &leads())?;
    one(target, "opportunities", &deals())
}

fn one(target: &Target, module: &str, file: &str) -> Result<()> {
    let started = Instant::now();
    let path = format!("/api/{module}/import/?mode=skip_bad");
    let upload = target.upload(&path, &format!("{module}.csv"), file.as_bytes());
    let begun: Value = target.connect()?.ask_json(&upload)?;
    let id = super::text(&begun, "id")?.to_owned();
    loop {
        let now: Value = target.connect()?.ask_json(&target.get(&format!("/api/imports/{id}/")))?;
        match super::text(&now, "state")? {
            "done" => {
                let seconds = started.elapsed().as_secs_f64();
                let created = now.get("created_rows").and_then(Value::as_u64).context("no created_rows")?;
                say!(
                    "\nImport of {ROWS} {module}, {:.1} MB: {created} created in {seconds:.1} s, {:.0} rows/s",
                    file.len() as f64 / 1e6,
                    created as f64 / seconds
                );
                return Ok(());
            }
            "failed" => bail!("the import failed: {now}"),
            _ => sleep(Duration::from_millis(200)),
        }
    }
}

fn leads() -> String {
    let run = Utc::now().timestamp_micros();
    let mut text = String::from(
        "title,first_name,last_name,email,company_name,phone,status,source,opportunity_amount,city\r\n",
    );
    for row in 0..ROWS {
        // Writing to a text can't fail.
        let _ = write!(
            text,
            "\"Imported, number {row}\",Ada,Lindqvist,import.{run}.{row}@bench.example,Cedar Logistics,+1 212-555-0143,assigned,\
             email,1250.00,Lisbon\r\n"
        );
    }
    text
}

fn deals() -> String {
    let run = Utc::now().timestamp_micros();
    let mut text = String::from("name,stage,amount,currency,closed_on,lead_source,probability\r\n");
    for row in 0..ROWS {
        let (stage, probability) = match row % 4 {
            0 => ("PROSPECTING", ""),
            1 => ("NEGOTIATION", "60"),
            2 => ("CLOSED_WON", ""),
            _ => ("CLOSED_LOST", ""),
        };
        // Writing to a text can't fail.
        let _ = write!(
            text,
            "\"Imported {run}, number {row}\",{stage},1250.00,USD,2026-10-01,PARTNER,{probability}\r\n"
        );
    }
    text
}
