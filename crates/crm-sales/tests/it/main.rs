//! Conversion as another program uses it: the services alone, on a real database as the application role.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use crm_access::BuiltinRole;
use crm_core::{Caller, Code, Db, Error, Result};
use crm_leads::{Lead, LeadFields, LeadStatus};
use crm_records::{Edit, RecordInput, tally};
use crm_sales::{ConversionRequest, Wish};
use crm_schema::{accounts, contacts, conversions, opportunities, record_sources};
use crm_testkit::{member, org};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures_util::future::join_all;
use serde_json::{Value, json};

fn input(body: Value) -> RecordInput<LeadFields> {
    RecordInput::parse(body.as_object().unwrap().clone()).unwrap()
}

async fn lead(db: &Db, who: &Caller, body: Value) -> Lead {
    db.tenant(who, async |t| crm_sales::create(t, input(body)).await).await.unwrap()
}

/// How many rows of each table there are.
async fn rows(db: &Db, who: &Caller) -> [i64; 5] {
    let count = db.tenant(who, async |t| -> Result<[i64; 5]> {
        macro_rules! count {
            ($table:ident) => {
                $table::table.filter($table::org_id.eq(t.org())).count().get_result(t.conn()?).await?
            };
        }
        Ok([
            count!(accounts),
            count!(contacts),
            count!(opportunities),
            count!(conversions),
            count!(record_sources),
        ])
    });
    count.await.unwrap()
}

fn usual() -> ConversionRequest {
    ConversionRequest::default()
}

#[tokio::test]
async fn the_permissions_are_judged_in_the_service_itself() {
    let db = crm_testkit::shared_db().await;
    let (system, elsewhere) = (org(&db, "EUR").await, org(&db, "EUR").await);
    let courier = member(&db, &system, BuiltinRole::Courier).await;
    let id = lead(&db, &system, json!({"email": "a@example.com"})).await.base.id;
    let refused = db.tenant(&courier, async |t| crm_sales::convert(t, id, usual()).await).await;
    assert!(matches!(refused, Err(Error::Forbidden(_) | Error::NotFound)), "{refused:?}");
    let refused = db.tenant(&elsewhere, async |t| crm_sales::convert(t, id, usual()).await).await;
    assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
    let refused = db.tenant(&elsewhere, async |t| crm_sales::unconvert(t, id).await).await;
    assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
    let refused = db.tenant(&elsewhere, async |t| crm_sales::find_conversion(t, id).await).await;
    assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
    assert_eq!(rows(&db, &system).await, [0; 5]);
}

#[tokio::test]
async fn however_many_convert_a_lead_it_is_converted_once() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let body = json!({"email": "a@example.com", "company_name": "A", "opportunity_amount": "5"});
    let id = lead(&db, &system, body).await.base.id;
    let once = async || db.tenant(&system, async |t| crm_sales::convert(t, id, usual()).await).await;
    let answers: Vec<_> = join_all((0..8).map(|_| once())).await.into_iter().map(Result::unwrap).collect();
    let first = answers.as_slice().first().unwrap();
    assert!(answers.iter().all(|answer| answer == first), "{answers:?}");
    assert_eq!(rows(&db, &system).await, [1, 1, 1, 1, 2]);
}

#[tokio::test]
async fn a_failure_half_way_leaves_nothing() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let before = lead(&db, &system, json!({"email": "a@example.com", "company_name": "A"})).await;
    let id = before.base.id;
    let bad = json!({"amount": "not a number"}).as_object().unwrap().clone();
    let request = ConversionRequest { opportunity: Wish::With(bad), ..usual() };
    let refused = db.tenant(&system, async |t| crm_sales::convert(t, id, request).await).await.unwrap_err();
    assert_eq!(refused.code(), Code::ValidationFailed);
    assert_eq!(rows(&db, &system).await, [0; 5]);
    let after = db.tenant(&system, async |t| crm_leads::find(t, id).await).await.unwrap();
    assert_eq!((after.base, after.fields), (before.base, before.fields));
}

#[tokio::test]
async fn the_sums_follow_a_conversion_and_its_undoing() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let body = json!({"email": "a@example.com", "company_name": "A", "status": "assigned", "rating": "HOT"});
    let id = lead(&db, &system, body).await.base.id;
    let sums = async || {
        let kinds = ["lead", "account", "contact", "opportunity"];
        let sums = db.tenant(&system, async |t| tally::read(t, &kinds, &[]).await).await.unwrap();
        sums.into_iter().map(|of| format!("{} {} {}", of.kind, of.bucket, of.sum.count)).collect::<Vec<_>>()
    };
    let before = sums().await;
    let edit = Edit::patch(json!({"status": "converted"}).as_object().unwrap().clone());
    let lead = db.tenant(&system, async |t| crm_sales::update(t, id, edit).await).await.unwrap();
    assert_eq!(lead.fields.status, Some(LeadStatus::Converted));
    assert_eq!(
        sums().await,
        ["account active 1", "contact active 1", "lead converted|HOT 1", "opportunity QUALIFICATION| 1"]
    );
    db.tenant(&system, async |t| crm_sales::unconvert(t, id).await).await.unwrap();
    assert_eq!(sums().await, before);
    assert_eq!(rows(&db, &system).await, [0; 5]);
}
