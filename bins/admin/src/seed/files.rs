//! Files of the demonstration, in the storage like every other: documents that members share, offers on deals, notes on accounts.

use std::convert::Infallible;
use std::fmt::Write as _;

use anyhow::Result;
use bytes::Bytes;
use crm_accounts::ACCOUNTS;
use crm_api::settings::Settings;
use crm_core::{OrgId, TenantTx, body};
use crm_opportunities::OPPORTUNITIES;
use crm_records::{Target, attachments};
use crm_schema::{accounts, opportunities};
use crm_storage::{Key, MAX_ATTACHMENT_BYTES, Storage, Stored};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures_util::stream;
use serde_json::{Value, json};
use uuid::Uuid;

use super::lead::Office;
use super::org::{Founder, object};
use super::words;

/// Deals with an offer: the newest ones, so that they are at hand.
const OFFERS: i64 = 12;

/// Accounts with a note of a visit.
const VISITS: i64 = 6;

/// A file and what it is.
struct Paper {
    name: String,
    bytes: Vec<u8>,
    on: On,
}

/// What a file hangs on.
enum On {
    /// It is a document, of these fields.
    Document(Value),
    /// A record that is there.
    Record(Target, Uuid),
}

impl Founder {
    /// Stores the files and says what they are; how many they are.
    pub(super) async fn file(&self, settings: &Settings, org: OrgId, office: &Office) -> Result<usize> {
        let storage = crm_api::startup::storage(settings).await?;
        let mut papers = documents(office);
        papers.extend(self.work(org, async |t| on_records(t).await).await?);
        let mut stored = Vec::new();
        let done = match put(&storage, org, &papers, &mut stored).await {
            Ok(()) => self.work(org, async |t| add(t, &papers, &stored, settings).await).await,
            Err(error) => Err(error),
        };
        if done.is_err() {
            // No row names them.
            for (id, _) in &stored {
                storage.delete(&Key::new(org.0, *id)).await?;
            }
        }
        done.map(|()| papers.len())
    }
}

async fn put(
    storage: &Storage,
    org: OrgId,
    papers: &[Paper],
    stored: &mut Vec<(Uuid, Stored)>,
) -> Result<()> {
    for Paper { name, bytes, .. } in papers {
        let id = Uuid::now_v7();
        let bytes = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(bytes))]);
        stored.push((id, storage.put(org.0, id, name, MAX_ATTACHMENT_BYTES, bytes).await?));
    }
    Ok(())
}

async fn add(
    t: &mut TenantTx,
    papers: &[Paper],
    stored: &[(Uuid, Stored)],
    settings: &Settings,
) -> crm_core::Result<()> {
    let quota = settings.storage_quota_bytes;
    for (paper, (id, stored)) in papers.iter().zip(stored) {
        let stored = stored.clone();
        match &paper.on {
            On::Document(fields) => {
                let fields = body::parse(object(fields.clone()))?;
                crm_documents::create(t, fields, (*id, stored), quota).await?;
            }
            On::Record(target, record) => {
                attachments::create(t, target, *record, *id, stored, quota).await?;
            }
        }
    }
    Ok(())
}

/// What members share: with teams, with some of them, with nobody yet.
fn documents(office: &Office) -> Vec<Paper> {
    let paper = |title: &str, name: &str, bytes: Vec<u8>, shares: Value| {
        let mut fields = json!({"title": title});
        if let (Value::Object(fields), Value::Object(shares)) = (&mut fields, shares) {
            fields.extend(shares);
        }
        Paper { name: name.into(), bytes, on: On::Document(fields) }
    };
    let prices = price_list(office.currency).into_bytes();
    let terms = [
        "1. Offers are valid for six weeks.",
        "2. Delivery is free from an order of 5,000 on.",
        "3. Invoices are due within 30 days.",
        "4. The warranty is five years on frames and two years on everything else.",
    ];
    vec![
        paper("Price list", "price-list.csv", prices.clone(), json!({"teams": office.teams})),
        paper("Price list of last year", "price-list.csv", prices, json!({"status": "inactive"})),
        paper(
            "Terms of business",
            "terms.pdf",
            pdf("Terms of business", &terms),
            json!({"teams": office.teams, "shared_to": some(&office.members, 1, 1)}),
        ),
        paper("Sales playbook", "playbook.md", PLAYBOOK.into(), json!({"teams": some(&office.teams, 0, 2)})),
        paper("Logo", "logo.svg", LOGO.into(), json!({"shared_to": some(&office.members, 0, 3)})),
        paper("Plan for next quarter", "plan.txt", PLAN.into(), json!({})),
    ]
}

/// So many of them behind the first `skipped`, or as many as there are.
pub(super) fn some(ids: &[Uuid], skipped: usize, number: usize) -> Vec<Uuid> {
    ids.iter().skip(skipped).take(number).copied().collect()
}

/// An offer for each of the newest deals that have an amount, a note of a visit at the newest accounts.
async fn on_records(t: &mut TenantTx) -> crm_core::Result<Vec<Paper>> {
    let deals: Vec<(Uuid, String, Option<i64>, Option<String>)> = opportunities::table
        .filter(opportunities::org_id.eq(t.org()).and(opportunities::amount.is_not_null()))
        .order_by(opportunities::id.desc())
        .limit(OFFERS)
        .select((opportunities::id, opportunities::name, opportunities::amount, opportunities::currency))
        .load(t.conn()?)
        .await?;
    let visited: Vec<(Uuid, String, Option<String>)> = accounts::table
        .filter(accounts::org_id.eq(t.org()))
        .order_by(accounts::id.desc())
        .limit(VISITS)
        .select((accounts::id, accounts::name, accounts::city))
        .load(t.conn()?)
        .await?;
    let offers = deals.into_iter().map(|(id, name, amount, currency)| {
        // The currencies of the demonstration all have cents.
        let amount = amount.unwrap_or_default();
        let (whole, cents, currency) = (amount / 100, amount % 100, currency.unwrap_or_default());
        let lines = [format!("For {name}"), String::new(), format!("In all: {currency} {whole}.{cents:02}")];
        let lines = lines.each_ref().map(String::as_str);
        Paper { name: "offer.pdf".into(), bytes: pdf("Offer", &lines), on: On::Record(OPPORTUNITIES, id) }
    });
    let notes = visited.into_iter().map(|(id, name, city)| {
        let place = city.map(|city| format!(" in {city}")).unwrap_or_default();
        let text = format!(
            "# Visit at {name}{place}\n\n* Two floors, 40 desks, lease until the end of next year\n\
             * Decides together with the works council\n* Wants to see the wool chairs before the summer\n"
        );
        Paper { name: "visit.md".into(), bytes: text.into_bytes(), on: On::Record(ACCOUNTS, id) }
    });
    Ok(offers.chain(notes).collect())
}

fn price_list(currency: &str) -> String {
    let mut text = String::from("name,sku,category,price,currency\r\n");
    for (name, sku, category, price) in words::PRODUCTS {
        // Writing to a text can't fail.
        let _ = write!(text, "\"{name}\",{sku},{category},{price},{currency}\r\n");
    }
    text
}

/// One page of text as a PDF: the least that every reader opens.
fn pdf(title: &str, lines: &[&str]) -> Vec<u8> {
    let mut page = format!("BT /F1 18 Tf 72 770 Td ({}) Tj /F1 11 Tf 0 -12 Td", in_pdf(title));
    for line in lines {
        let _ = write!(page, " 0 -18 Td ({}) Tj", in_pdf(line));
    }
    page.push_str(" ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{page}\nendstream", page.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    let (mut file, mut places) = (String::from("%PDF-1.4\n"), String::new());
    for (number, object) in (1..).zip(&objects) {
        let _ = writeln!(places, "{:010} 00000 n ", file.len());
        let _ = write!(file, "{number} 0 obj\n{object}\nendobj\n");
    }
    let (size, at) = (objects.len() + 1, file.len());
    let _ = write!(
        file,
        "xref\n0 {size}\n0000000000 65535 f \n{places}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{at}\n%%EOF\n"
    );
    file.into_bytes()
}

/// A text between the parentheses of a PDF, which has the letters of western Europe.
fn in_pdf(text: &str) -> String {
    let mut written = String::new();
    for c in text.chars() {
        match c {
            '(' | ')' | '\\' => written.extend(['\\', c]),
            ' '..='~' => written.push(c),
            '\u{a0}'..='\u{ff}' => {
                let _ = write!(written, "\\{:03o}", u32::from(c));
            }
            _ => written.push('?'),
        }
    }
    written
}

const PLAYBOOK: &str = "# Sales playbook\n\n\
    1. Answer within a working day, with a question.\n\
    2. Never send an offer to somebody you have not spoken to.\n\
    3. Write down who decides, by when, and what happens if nobody does.\n\
    4. An offer without a date to talk about it is a price list.\n";

const PLAN: &str = "Plan for next quarter\n\n\
    - Two trade fairs, one of them abroad\n\
    - Call everybody whose lease ends within a year\n\
    - Ask every new customer for one introduction\n";

const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 64 64\" width=\"64\" height=\"64\">\
    <path d=\"M22 6h20M26 6v12c-12 4-16 14-12 24l10 16h16l10-16c4-10 0-20-12-24V6\" fill=\"none\" stroke=\"#0F766E\" stroke-width=\"4\" \
    stroke-linejoin=\"round\"/></svg>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_pdf_names_the_place_of_every_object() {
        let file = String::from_utf8(pdf("Offer (new)", &["Zoë", "Łukasz", "a\\b"])).unwrap();
        assert!(
            file.contains("(Offer \\(new\\))") && file.contains("(Zo\\353)") && file.contains("(?ukasz)")
        );
        let (before, table) = file.split_once("xref\n").unwrap();
        let entries: Vec<&str> = table.lines().skip(2).take(5).collect();
        for (number, entry) in (1..).zip(entries) {
            assert_eq!(entry.len(), 19, "20 bytes with the end of the line");
            let at: usize = entry[..10].parse().unwrap();
            assert!(before[at..].starts_with(&format!("{number} 0 obj")), "{entry}");
        }
        let at: usize = file.lines().rev().nth(1).unwrap().parse().unwrap();
        assert_eq!(at, before.len());
        let (_, stream) = file.split_once("/Length ").unwrap();
        let length: usize = stream.split(' ').next().unwrap().parse().unwrap();
        let (_, text) = stream.split_once("stream\n").unwrap();
        assert!(text[length..].starts_with("\nendstream"));
    }
}
