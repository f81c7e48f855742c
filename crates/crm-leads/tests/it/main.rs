//! Leads as another program uses them: the service alone, on a real database as the application role.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unexpected fails")]

use crm_access::BuiltinRole;
use crm_core::{Caller, Code, Db, Error, Result};
use crm_leads::LeadFields;
use crm_records::list::{Params, Shaped};
use crm_records::{Edit, Precondition, RecordInput};
use crm_schema::records;
use crm_testkit::{member, org};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

fn input(body: Value) -> RecordInput<LeadFields> {
    RecordInput::parse(body.as_object().unwrap().clone()).unwrap()
}

async fn titles(db: &Db, who: &Caller, params: &[(&str, &str)]) -> Vec<String> {
    let page = db.tenant(who, async |t| crm_leads::list(t, &Params::of(params)).await).await.unwrap();
    let title = |lead| match lead {
        Shaped::Plain(crm_leads::Lead { fields, .. }) => fields.title.unwrap(),
        Shaped::Value(_) => panic!("no shape was asked for"),
    };
    page.results.into_iter().map(title).collect()
}

#[tokio::test]
async fn the_permission_is_judged_in_the_service_itself() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let courier = member(&db, &system, BuiltinRole::Courier).await;
    let refused = db.tenant(&courier, async |t| crm_leads::create(t, input(json!({}))).await).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
    let refused = db.tenant(&courier, async |t| crm_leads::list(t, &Params::default()).await).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))));
}

#[tokio::test]
async fn two_organizations_in_one_database_do_not_meet() {
    let db = crm_testkit::shared_db().await;
    let (ours, theirs) = (org(&db, "EUR").await, org(&db, "JPY").await);
    let body = json!({"title": "Secret", "email": "same@example.com", "opportunity_amount": "5"});
    let lead = db.tenant(&ours, async |t| crm_leads::create(t, input(body.clone())).await).await.unwrap();
    let twin = db.tenant(&theirs, async |t| crm_leads::create(t, input(body)).await).await.unwrap();
    assert_eq!(lead.fields.opportunity_amount.unwrap().to_string(), "5.00");
    assert_eq!(twin.fields.opportunity_amount.unwrap().to_string(), "5");
    let id = lead.base.id;
    assert!(matches!(db.tenant(&theirs, async |t| crm_leads::find(t, id).await).await, Err(Error::NotFound)));
    let edit = Edit::patch(json!({"title": "Stolen"}).as_object().unwrap().clone());
    assert!(matches!(
        db.tenant(&theirs, async |t| crm_leads::update(t, id, edit).await).await,
        Err(Error::NotFound)
    ));
    let gone = db.tenant(&theirs, async |t| crm_leads::delete(t, id, &Precondition::default()).await).await;
    assert!(matches!(gone, Err(Error::NotFound)));
    assert_eq!(titles(&db, &ours, &[]).await, ["Secret"]);
}

#[tokio::test]
async fn an_own_scope_reaches_what_was_created_or_assigned() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let (ann, bob) =
        (member(&db, &system, BuiltinRole::User).await, member(&db, &system, BuiltinRole::User).await);
    let add = async |who: &Caller, body: Value| {
        db.tenant(who, async |t| crm_leads::create(t, input(body)).await).await.unwrap()
    };
    add(&system, json!({"title": "nobody's"})).await;
    add(&ann, json!({"title": "ann's"})).await;
    let shared = add(&ann, json!({"title": "shared", "assigned_to": [bob.member]})).await;
    assert_eq!(titles(&db, &ann, &[("ordering", "title")]).await, ["ann's", "shared"]);
    assert_eq!(titles(&db, &bob, &[]).await, ["shared"]);
    assert_eq!(titles(&db, &system, &[("count", "true")]).await.len(), 3);
    let id = shared.base.id;
    let refused = db.tenant(&bob, async |t| crm_leads::delete(t, id, &Precondition::default()).await).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))), "an assignee does not delete");
    db.tenant(&ann, async |t| crm_leads::delete(t, id, &Precondition::default()).await).await.unwrap();
    assert_eq!(titles(&db, &bob, &[]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_creation_leaves_nothing_behind() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let unknown = json!({"title": "Half done", "assigned_to": [Uuid::now_v7()]});
    let refused = db.tenant(&system, async |t| crm_leads::create(t, input(unknown)).await).await.unwrap_err();
    assert_eq!(refused.code(), Code::ValidationFailed);
    let left = db
        .tenant(&system, async |t| -> Result<i64> {
            let mine = records::table.filter(records::org_id.eq(t.org())).filter(records::kind.eq("lead"));
            Ok(mine.count().get_result(t.conn()?).await?)
        })
        .await
        .unwrap();
    assert_eq!(left, 0);
    assert_eq!(titles(&db, &system, &[("search", "half")]).await, Vec::<String>::new());
}

#[tokio::test]
async fn converted_has_one_door() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let lead = db
        .tenant(&system, async |t| crm_leads::create(t, input(json!({"status": "closed"}))).await)
        .await
        .unwrap();
    let to = async |status: Value| {
        let edit = Edit::patch(json!({"status": status}).as_object().unwrap().clone());
        db.tenant(&system, async |t| crm_leads::update(t, lead.base.id, edit).await).await
    };
    for status in ["assigned", "in process", "recycled", "closed", "assigned"] {
        assert!(to(json!(status)).await.is_ok(), "any to any, {status}");
    }
    assert!(to(Value::Null).await.is_ok());
    assert_eq!(to(json!("converted")).await.unwrap_err().code(), Code::Conflict);
    // What only a conversion will do, done by hand here.
    db.tenant(&system, async |t| -> Result<()> {
        use crm_schema::leads;
        let this = leads::table.filter(leads::org_id.eq(t.org()).and(leads::id.eq(lead.base.id)));
        diesel::update(this)
            .set((leads::status.eq("converted"), leads::title.eq("Done")))
            .execute(t.conn()?)
            .await?;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(to(json!("closed")).await.unwrap_err().code(), Code::Conflict);
    assert!(to(json!("converted")).await.is_ok(), "to say what is stored changes nothing");
    assert_eq!(
        titles(&db, &system, &[]).await,
        Vec::<String>::new(),
        "converted leads left the working list"
    );
    assert_eq!(titles(&db, &system, &[("status", "converted")]).await, ["Done"]);
}

#[tokio::test]
async fn days_are_counted_from_today_in_the_organizations_own_time_zone() {
    let database = crm_testkit::fresh_database().await;
    let db = &database.db;
    let system = org(db, "EUR").await;
    let lead = db
        .tenant(&system, async |t| crm_leads::create(t, input(json!({"title": "Silent"}))).await)
        .await
        .unwrap();
    let now = async || {
        let lead = db.tenant(&system, async |t| crm_leads::find(t, lead.base.id).await).await.unwrap();
        let stale = titles(db, &system, &[("stale", "true")]).await.len();
        (lead.follow_up.days_since_last_contact, lead.follow_up.is_stale, stale, lead.base.version)
    };
    assert_eq!(now().await, (0, false, 0, 1));
    db.clock().advance(chrono::TimeDelta::days(30));
    assert_eq!(now().await, (30, false, 0, 1), "not more than thirty");
    db.clock().advance(chrono::TimeDelta::days(1));
    assert_eq!(now().await, (31, true, 1, 1));
}
