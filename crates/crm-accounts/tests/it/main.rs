//! Accounts as another program uses them: the service alone, on a real database as the application role.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::cell::Cell;

use chrono::NaiveDate;
use crm_access::BuiltinRole;
use crm_accounts::{ACCOUNTS, Account, AccountFields, Accounts};
use crm_core::{Caller, Code, Db, Error, Result, TenantTx};
use crm_records::list::Params;
use crm_records::{Base, Precondition, RecordInput, created, merge, tally};
use crm_schema::opportunities;
use crm_testkit::{member, org};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

fn input(body: Value) -> RecordInput<AccountFields> {
    RecordInput::parse(body.as_object().unwrap().clone()).unwrap()
}

async fn account(db: &Db, who: &Caller, name: &str) -> Account {
    db.tenant(who, async |t| crm_accounts::create(t, input(json!({"name": name}))).await).await.unwrap()
}

/// A deal of an account, made by whoever asks.
async fn deal(
    db: &Db,
    who: &Caller,
    account: Uuid,
    stage: &str,
    worth: Option<(i64, &str)>,
    closed: Option<&str>,
) -> Uuid {
    db.tenant(who, async |t| -> Result<Uuid> {
        let base = Base::new(t);
        created(t, "opportunity", &base, None).await?;
        diesel::insert_into(opportunities::table)
            .values((
                opportunities::org_id.eq(base.org_id),
                opportunities::id.eq(base.id),
                opportunities::created_at.eq(base.created_at),
                opportunities::updated_at.eq(base.updated_at),
                opportunities::created_by.eq(base.created_by),
                opportunities::name.eq(base.id.to_string()),
                opportunities::name_normalized.eq(base.id.to_string()),
                opportunities::account_id.eq(account),
                opportunities::stage.eq(stage),
                opportunities::amount.eq(worth.map(|(amount, _)| amount)),
                opportunities::currency.eq(worth.map(|(_, currency)| currency)),
                opportunities::probability.eq(10),
                opportunities::closed_on.eq(closed.map(|day| day.parse::<NaiveDate>().unwrap())),
                opportunities::stage_changed_at.eq(base.created_at),
                opportunities::position.eq("5"),
            ))
            .execute(t.conn()?)
            .await?;
        Ok(base.id)
    })
    .await
    .unwrap()
}

async fn rollups(db: &Db, who: &Caller, account: Uuid) -> Value {
    let all = db.tenant(who, async |t| crm_accounts::rollups(t, account).await).await.unwrap();
    serde_json::to_value(all).unwrap()
}

#[tokio::test]
async fn the_sums_of_an_account_are_those_of_the_deals_that_the_caller_may_see() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let ann = member(&db, &system, BuiltinRole::User).await;
    let acme = account(&db, &ann, "Acme").await.base.id;
    let other = account(&db, &ann, "Other").await.base.id;
    let none =
        json!({"open_deals": 0, "open_pipeline": [], "won_count": 0, "won_amount": [], "first_won_on": null});
    assert_eq!(rollups(&db, &system, acme).await, none);
    deal(&db, &system, acme, "PROPOSAL", Some((10_000, "EUR")), None).await;
    deal(&db, &system, acme, "PROSPECTING", Some((5, "JPY")), None).await;
    deal(&db, &ann, acme, "NEGOTIATION", Some((250, "EUR")), None).await;
    deal(&db, &system, acme, "PROSPECTING", None, None).await;
    deal(&db, &system, acme, "CLOSED_WON", Some((700, "EUR")), Some("2026-03-01")).await;
    deal(&db, &ann, acme, "CLOSED_WON", Some((900, "USD")), Some("2026-05-01")).await;
    deal(&db, &ann, acme, "CLOSED_LOST", Some((999, "EUR")), Some("2026-01-01")).await;
    deal(&db, &ann, other, "PROPOSAL", Some((1, "EUR")), None).await;
    assert_eq!(
        rollups(&db, &system, acme).await,
        json!({
            "open_deals": 4,
            "open_pipeline": [{"currency": "EUR", "amount": "102.50"}, {"currency": "JPY", "amount": "5"}],
            "won_count": 2,
            "won_amount": [{"currency": "EUR", "amount": "7.00"}, {"currency": "USD", "amount": "9.00"}],
            "first_won_on": "2026-03-01",
        })
    );
    assert_eq!(
        rollups(&db, &ann, acme).await,
        json!({
            "open_deals": 1, "open_pipeline": [{"currency": "EUR", "amount": "2.50"}],
            "won_count": 1, "won_amount": [{"currency": "USD", "amount": "9.00"}], "first_won_on": "2026-05-01",
        })
    );
}

#[tokio::test]
async fn an_account_with_deals_is_not_deleted_under_them_and_a_merge_takes_them_along() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let (winner, loser) =
        (account(&db, &system, "Winner").await.base.id, account(&db, &system, "Loser").await.base.id);
    let sold = deal(&db, &system, loser, "PROPOSAL", Some((100, "EUR")), None).await;
    let refused =
        db.tenant(&system, async |t| crm_accounts::delete(t, loser, &Precondition::default()).await).await;
    assert_eq!(refused.unwrap_err().code(), Code::InUse);
    let of = async |account: Uuid| -> Vec<(Uuid, i64)> {
        db.tenant(&system, async |t| -> Result<_> {
            let these = opportunities::org_id.eq(t.org()).and(opportunities::account_id.eq(account));
            let these =
                opportunities::table.filter(these).select((opportunities::id, opportunities::version));
            Ok(these.load(t.conn()?).await?)
        })
        .await
        .unwrap()
    };
    let body = json!({"loser_id": loser}).as_object().unwrap().clone();
    db.tenant(&system, async |t| merge::merge::<Accounts>(t, winner, body).await).await.unwrap();
    assert_eq!(of(winner).await, [(sold, 2)], "the deal is changed, and says so");
    let merged = db
        .tenant(&system, async |t| {
            merge::list(t, &crm_accounts::ACCOUNTS, winner, &Params::of(&[("fields", "id")])).await
        })
        .await
        .unwrap();
    let merged: Uuid =
        serde_json::to_value(merged).unwrap()["results"][0]["id"].as_str().unwrap().parse().unwrap();
    db.tenant(&system, async |t| merge::undo::<Accounts>(t, merged).await).await.unwrap();
    assert_eq!((of(winner).await.len(), of(loser).await), (0, vec![(sold, 3)]));
}

#[tokio::test]
async fn the_sums_of_all_accounts_follow_every_change() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let count = async || -> (i64, i64) {
        let sums = db.tenant(&system, async |t| tally::read(t, &["account"], &[]).await).await.unwrap();
        let of = |bucket: &str| sums.iter().find(|of| of.bucket == bucket).map_or(0, |of| of.sum.count);
        (of("active"), of("inactive"))
    };
    let (a, b) = (account(&db, &system, "A").await.base.id, account(&db, &system, "B").await.base.id);
    assert_eq!(count().await, (2, 0));
    let off = crm_records::Edit::patch(json!({"is_active": false}).as_object().unwrap().clone());
    db.tenant(&system, async |t| crm_accounts::update(t, b, off).await).await.unwrap();
    assert_eq!(count().await, (1, 1));
    let body = json!({"loser_id": b}).as_object().unwrap().clone();
    db.tenant(&system, async |t| merge::merge::<Accounts>(t, a, body).await).await.unwrap();
    assert_eq!(count().await, (1, 0));
    db.tenant(&system, async |t| crm_accounts::delete(t, a, &Precondition::default()).await).await.unwrap();
    assert_eq!(count().await, (0, 0));
}

#[tokio::test]
async fn the_permission_is_judged_in_the_service_itself() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let courier = member(&db, &system, BuiltinRole::Courier).await;
    let acme = account(&db, &system, "Acme").await.base.id;
    let body = json!({"loser_id": acme}).as_object().unwrap().clone();
    let merged = db.tenant(&courier, async |t| merge::merge::<Accounts>(t, acme, body).await).await;
    assert!(matches!(merged, Err(Error::Forbidden(_))));
    let undone = db.tenant(&courier, async |t| merge::undo::<Accounts>(t, acme).await).await;
    assert!(matches!(undone, Err(Error::Forbidden(_))));
    let summed = db.tenant(&courier, async |t| crm_accounts::rollups(t, acme).await).await;
    assert!(matches!(summed, Err(Error::Forbidden(_))));
}

#[tokio::test]
async fn a_merge_is_undone_within_thirty_days_and_no_later() {
    let database = crm_testkit::fresh_database().await;
    let (db, clock) = (&database.db, database.db.clock());
    let system = org(db, "EUR").await;
    let (a, b) = (account(db, &system, "A").await.base.id, account(db, &system, "B").await.base.id);
    let merged = async || -> Uuid {
        let body = json!({"loser_id": b}).as_object().unwrap().clone();
        db.tenant(&system, async |t| merge::merge::<Accounts>(t, a, body).await).await.unwrap();
        let params = Params::of(&[("limit", "1"), ("fields", "id")]);
        let page =
            db.tenant(&system, async |t| merge::list(t, &crm_accounts::ACCOUNTS, a, &params).await).await;
        serde_json::to_value(page.unwrap()).unwrap()["results"][0]["id"].as_str().unwrap().parse().unwrap()
    };
    let undo = async |id: Uuid| db.tenant(&system, async |t| merge::undo::<Accounts>(t, id).await).await;
    let first = merged().await;
    clock.advance(chrono::TimeDelta::days(29));
    undo(first).await.unwrap();
    let second = merged().await;
    clock.advance(chrono::TimeDelta::days(30));
    assert_eq!(undo(second).await.unwrap_err().code(), Code::Conflict);
}

/// Whether somebody waits for a row that another transaction has.
async fn is_waited_for(t: &mut TenantTx) -> Result<bool> {
    let waiting = "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
    Ok(diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(waiting)).get_result(t.conn()?).await?)
}

async fn comment(t: &mut TenantTx, account: Uuid) -> Result<Uuid> {
    let body = json!({"comment": "hello"}).as_object().unwrap().clone();
    Ok(crm_records::comments::create(t, &ACCOUNTS, account, body).await?.base.id)
}

async fn comments(db: &Db, who: &Caller, account: Uuid) -> usize {
    let list =
        async |t: &mut TenantTx| crm_records::comments::list(t, &ACCOUNTS, account, &Params::of(&[])).await;
    db.tenant(who, list).await.unwrap().results.len()
}

#[tokio::test]
async fn a_comment_during_a_merge_goes_along_or_is_led_to_the_winner() {
    let database = crm_testkit::fresh_database().await;
    let db = &database.db;
    let system = org(db, "EUR").await;
    for comment_first in [false, true] {
        let (a, b) = (account(db, &system, "A").await.base.id, account(db, &system, "B").await.base.id);
        let body = json!({"loser_id": b}).as_object().unwrap().clone();
        let (begun, go) = tokio::sync::oneshot::channel::<()>();
        let over = Cell::new(false);
        // Whoever is first keeps the transaction open until the other one waits for it, or is through without having waited.
        let hold = async |t: &mut TenantTx| -> Result<()> {
            while !over.get() && !is_waited_for(t).await? {
                tokio::task::yield_now().await;
            }
            Ok(())
        };
        let said = if comment_first {
            let first = db.tenant(&system, async |t| {
                let said = comment(t, b).await?;
                begun.send(()).unwrap();
                hold(t).await?;
                Ok::<_, Error>(said)
            });
            let second = async {
                go.await.unwrap();
                let merged = db
                    .tenant(&system, async |t| merge::merge::<Accounts>(t, a, body.clone()).await.map(drop));
                let merged = merged.await;
                over.set(true);
                merged
            };
            let (said, merged) = tokio::join!(first, second);
            merged.unwrap();
            said
        } else {
            let first = db.tenant(&system, async |t| {
                merge::merge::<Accounts>(t, a, body.clone()).await?;
                begun.send(()).unwrap();
                hold(t).await
            });
            let second = async {
                go.await.unwrap();
                let said = db.tenant(&system, async |t| comment(t, b).await).await;
                over.set(true);
                said
            };
            let (merged, said) = tokio::join!(first, second);
            merged.unwrap();
            said
        };
        match said {
            Ok(_) => assert!(comment_first),
            Err(refused) => assert!(!comment_first && refused.code() == Code::Merged, "{refused:?}"),
        }
        assert_eq!(comments(db, &system, a).await, usize::from(comment_first));
        db.tenant(&system, async |t| crm_accounts::delete(t, a, &Precondition::default()).await)
            .await
            .unwrap();
    }
}
