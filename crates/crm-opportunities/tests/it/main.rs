//! Opportunities as another program uses them: the service alone, on a real database as the application role.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::collections::BTreeMap;

use chrono::NaiveDate;
use crm_access::BuiltinRole;
use crm_core::{Caller, Db, Error, Result};
use crm_opportunities::{Opportunity, OpportunityFields, Stage, lines};
use crm_records::list::Params;
use crm_records::tally::{self, Sum, Tally};
use crm_records::{Edit, Precondition, RecordInput};
use crm_schema::opportunities;
use crm_testkit::{member, org};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

fn input(body: Value) -> RecordInput<OpportunityFields> {
    RecordInput::parse(body.as_object().unwrap().clone()).unwrap()
}

async fn add(db: &Db, who: &Caller, body: Value) -> Result<Opportunity> {
    db.tenant(who, async |t| crm_opportunities::create(t, input(body)).await).await
}

async fn change(db: &Db, who: &Caller, deal: &Opportunity, patch: Value) -> Result<Opportunity> {
    let edit = Edit::patch(patch.as_object().unwrap().clone());
    db.tenant(who, async |t| crm_opportunities::update(t, deal.base.id, edit).await).await
}

#[tokio::test]
async fn the_permission_is_judged_in_the_service_itself() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let courier = member(&db, &system, BuiltinRole::Courier).await;
    let deal = add(&db, &system, json!({"name": "Chairs"})).await.unwrap();
    assert!(matches!(add(&db, &courier, json!({"name": "x"})).await, Err(Error::Forbidden(_))));
    assert!(matches!(change(&db, &courier, &deal, json!({"name": "x"})).await, Err(Error::Forbidden(_))));
    let refused = db.tenant(&courier, async |t| crm_opportunities::list(t, &Params::default()).await).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))));
    let body = json!({"name": "x"}).as_object().unwrap().clone();
    let refused = db.tenant(&courier, async |t| lines::create(t, deal.base.id, body).await).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))));
}

#[tokio::test]
async fn two_organizations_in_one_database_do_not_meet() {
    let db = crm_testkit::shared_db().await;
    let (ours, theirs) = (org(&db, "EUR").await, org(&db, "JPY").await);
    let deal = add(&db, &ours, json!({"name": "Same", "amount": "5"})).await.unwrap();
    let twin = add(&db, &theirs, json!({"name": "same", "amount": "5"})).await.unwrap();
    assert_eq!(deal.fields.amount.unwrap().to_string(), "5.00");
    assert_eq!(twin.fields.amount.unwrap().to_string(), "5");
    assert!(matches!(change(&db, &theirs, &deal, json!({"name": "Stolen"})).await, Err(Error::NotFound)));
    let id = deal.base.id;
    let gone =
        db.tenant(&theirs, async |t| crm_opportunities::delete(t, id, &Precondition::default()).await).await;
    assert!(matches!(gone, Err(Error::NotFound)));
    let body = json!({"name": "x"}).as_object().unwrap().clone();
    let line = db.tenant(&theirs, async |t| lines::create(t, id, body).await).await;
    assert!(matches!(line, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_name_that_is_taken_gets_a_number() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let free = async |wanted: &str| {
        db.tenant(&system, async |t| crm_opportunities::free_name(t, wanted).await).await.unwrap()
    };
    assert_eq!(free(" Chairs ").await, "Chairs");
    add(&db, &system, json!({"name": "CHAIRS"})).await.unwrap();
    assert_eq!(free("Chairs").await, "Chairs (2)");
    add(&db, &system, json!({"name": "chairs (2)"})).await.unwrap();
    assert_eq!(free("Chairs").await, "Chairs (3)");
    assert_eq!(free(&"x".repeat(400)).await.len(), 245);
}

/// A deal's stage, currency, amount, probability and closing date.
type Row = (String, Option<String>, Option<i64>, i32, Option<NaiveDate>);

#[tokio::test]
async fn the_tally_is_as_true_as_the_rows_whatever_is_done() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let mut rng = StdRng::seed_from_u64(5);
    let mut deals: Vec<Opportunity> = Vec::new();
    for round in 0..60 {
        let stage = Stage::ALL[rng.random_range(0..6)];
        let currency = if rng.random_bool(0.5) { "EUR" } else { "USD" };
        let amount = rng.random_bool(0.8).then(|| format!("{}.5", rng.random_range(1..1000)));
        let closes = rng.random_bool(0.8).then(|| format!("2026-11-0{}", rng.random_range(1..5)));
        let body = json!({"stage": stage, "currency": currency, "amount": amount, "closed_on": closes,
            "probability": rng.random_range(0..=100)});
        match rng.random_range(0..6) {
            0..=3 => {
                let mut body = body;
                body["name"] = json!(format!("Deal {round}"));
                deals.extend(add(&db, &system, body).await.ok());
            }
            4 if !deals.is_empty() => {
                let at = rng.random_range(0..deals.len());
                if let Ok(deal) = change(&db, &system, &deals[at], body).await {
                    deals[at] = deal;
                }
            }
            5 if !deals.is_empty() => {
                let id = deals.remove(rng.random_range(0..deals.len())).base.id;
                let gone = db.tenant(&system, async |t| {
                    crm_opportunities::delete(t, id, &Precondition::default()).await
                });
                gone.await.unwrap();
            }
            _ => {}
        }
    }
    // The first period has no beginning; nothing is told from the last day on.
    let days = [2, 3, 4].map(|day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap());
    let (told, rows) = db
        .tenant(&system, async |t| -> Result<_> {
            let told = tally::read(t, &["opportunity"], &days).await?;
            let rows: Vec<Row> = opportunities::table
                .filter(opportunities::org_id.eq(t.org()))
                .select((
                    opportunities::stage,
                    opportunities::currency,
                    opportunities::amount,
                    opportunities::probability,
                    opportunities::closed_on,
                ))
                .load(t.conn()?)
                .await?;
            Ok((told, rows))
        })
        .await
        .unwrap();
    let mut counted: BTreeMap<(String, Option<NaiveDate>), Sum> = BTreeMap::new();
    for (stage, currency, amount, probability, closes) in rows {
        let bucket = format!("{stage}|{}", amount.and(currency).unwrap_or_default());
        let due = closes.filter(|day| stage != "CLOSED_LOST" && *day < days[2]);
        let begin = |day| days.into_iter().rev().find(|begin| *begin <= day).unwrap_or(NaiveDate::MIN);
        for from in [Some(None), due.map(|day| Some(begin(day)))].into_iter().flatten() {
            let sum = counted.entry((bucket.clone(), from)).or_default();
            sum.count += 1;
            sum.amount += amount.unwrap_or_default();
            sum.weighted += amount.unwrap_or_default() * i64::from(probability);
        }
    }
    let told: BTreeMap<_, _> = told.into_iter().map(|of| ((of.bucket, of.from), of.sum)).collect();
    assert_eq!(told, counted);
    assert!(deals.len() > 5);
}

#[tokio::test]
async fn no_deal_is_refused_for_the_sake_of_a_sum() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    // Often enough for the sums to be folded into one.
    for _ in 0..300 {
        let big = Tally {
            bucket: "CLOSED_WON|EUR".into(),
            due: None,
            amount: i64::MAX / 4,
            weighted: i64::MAX / 4,
        };
        db.tenant(&system, async |t| tally::moved(t, "opportunity", None, [big]).await).await.unwrap();
    }
    let told = db.tenant(&system, async |t| tally::read(t, &["opportunity"], &[]).await).await.unwrap();
    assert_eq!(told[0].sum, Sum { count: 300, amount: i64::MAX, weighted: i64::MAX });
}
