//! Many operations in one request.

use crm_core::{Error, FieldCode, Result, TenantTx};
use crm_leads::Leads;
use crm_records::{Module, RecordInput};
use diesel_async::RunQueryDsl as _;
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

/// Whether another connection waits for a row of ours.
async fn somebody_waits(t: &mut TenantTx) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a look at the catalog")]
    let query = diesel::sql_query("SELECT count(*) FROM pg_locks WHERE NOT granted");
    let row: Waiting = query.get_result(t.conn().unwrap()).await.unwrap();
    row.count > 0
}

#[derive(diesel::QueryableByName)]
struct Waiting {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}

const UNKNOWN: &str = "0190b5a0-0000-7000-8000-00000000dead";

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

async fn count(ann: &Person) -> i64 {
    ann.get("/api/leads/?count=true").await.expect(200)["count"].as_i64().unwrap()
}

#[actix_web::test]
async fn operations_are_done_in_their_order_and_answer_the_records() {
    let ann = TestApp::new().await.founder().await;
    let (old, gone) = (ann.lead(json!({"title": "old"})).await, ann.lead(json!({"title": "gone"})).await);
    let operations = json!([
        {"op": "create", "fields": {"title": "new", "email": "new@example.com"}},
        {"op": "update", "id": old["id"], "version": 1, "fields": {"city": "Berlin"}},
        {"op": "delete", "id": gone["id"]},
    ]);
    for atomic in [true, false] {
        let answer = ann.post("/api/leads/bulk/", &json!({"operations": operations, "atomic": atomic})).await;
        if !atomic {
            // Done once already: each for itself is refused now.
            let answer = answer.expect(200);
            assert_eq!((&answer["succeeded"], &answer["failed"]), (&json!(0), &json!(3)), "{answer}");
            let status: Vec<_> =
                answer["results"].as_array().unwrap().iter().map(|r| r["status"].clone()).collect();
            assert_eq!(status, [json!(409), json!(412), json!(404)]);
            assert_eq!(answer["results"][0]["problem"]["errors"][0]["field"], "email");
            assert_eq!(answer["results"][0]["problem"]["code"], "duplicate");
            assert_eq!(answer["results"][1]["id"], old["id"]);
            continue;
        }
        let answer = answer.expect(200);
        assert_eq!(answer["succeeded"], 3);
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.iter().map(|r| r["status"].clone()).collect::<Vec<_>>(), [201, 200, 204]);
        assert_eq!(results[0]["record"]["title"], "new");
        assert_eq!(results[1]["record"]["version"], 2);
        assert_eq!(results[2]["id"], gone["id"]);
        assert_eq!(ann.get(&format!("/api/leads/{}/", id(&gone))).await.status, 404);
    }
    assert_eq!(count(&ann).await, 2);
}

#[actix_web::test]
async fn where_it_is_all_or_nothing_the_first_refusal_names_its_place_and_nothing_stays() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "x", "email": "x@example.com"})).await;
    let good = json!({"op": "create", "fields": {"title": "good"}});
    for (bad, status, code, field) in [
        (json!({"op": "create", "fields": {"email": "no"}}), 422, "validation_failed", "operations.1.email"),
        (json!({"op": "create", "fields": {"nmae": "x"}}), 400, "malformed_request", "operations.1.nmae"),
        (
            json!({"op": "create", "fields": {"email": "X@example.com"}}),
            409,
            "duplicate",
            "operations.1.email",
        ),
        (json!({"op": "create"}), 422, "validation_failed", "operations.1.fields"),
        (json!({"op": "create", "id": UNKNOWN, "fields": {}}), 422, "validation_failed", "operations.1.id"),
        (
            json!({"op": "delete", "id": lead["id"], "fields": {}}),
            422,
            "validation_failed",
            "operations.1.fields",
        ),
        (json!({"op": "update", "fields": {}}), 422, "validation_failed", "operations.1.id"),
        (json!({"op": "update", "id": UNKNOWN, "fields": {}}), 422, "validation_failed", "operations.1.id"),
        (json!({"op": "delete", "id": UNKNOWN}), 422, "validation_failed", "operations.1.id"),
        (
            json!({"op": "delete", "id": lead["id"], "version": 7}),
            412,
            "stale_version",
            "operations.1.version",
        ),
        (json!({"op": "merge", "id": lead["id"]}), 422, "validation_failed", "operations.1.op"),
        (
            json!({"op": "delete", "id": lead["id"], "force": true}),
            400,
            "malformed_request",
            "operations.1.force",
        ),
    ] {
        let body = json!({"operations": [good, bad, good]});
        let problem = ann.post("/api/leads/bulk/", &body).await.problem(status);
        assert_eq!(problem, (code.to_owned(), vec![field.to_owned()]), "{bad}");
        assert_eq!(count(&ann).await, 1, "{bad}");
    }
}

#[actix_web::test]
async fn each_for_itself_a_refusal_undoes_only_its_own_operation() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let body = json!({"atomic": false, "operations": [
        {"op": "create", "fields": {"title": "a", "email": "a@example.com", "assigned_to": [bob.member_id()]}},
        {"op": "create", "fields": {"title": "b", "email": "a@example.com"}},
        {"op": "create", "fields": {"title": "undone", "assigned_to": [UNKNOWN]}},
        {"op": "create", "fields": {"title": "d"}},
    ]});
    let answer = ann.post("/api/leads/bulk/", &body).await.expect(200);
    assert_eq!((&answer["succeeded"], &answer["failed"]), (&json!(2), &json!(2)));
    let problem = &answer["results"][2]["problem"];
    assert_eq!((&problem["status"], &problem["errors"][0]["field"]), (&json!(422), &json!("assigned_to")));
    let left = ann.get("/api/leads/?ordering=title").await.expect(200);
    let titles: Vec<_> = left["results"].as_array().unwrap().iter().map(|l| l["title"].clone()).collect();
    assert_eq!(titles, ["a", "d"], "a record that was refused at its links left nothing");
    assert_eq!(ann.get("/api/leads/?search=undone").await.expect(200)["results"], json!([]));
}

#[actix_web::test]
async fn a_patch_reaches_all_that_a_filter_finds_and_no_other_number_than_expected() {
    let ann = TestApp::new().await.founder().await;
    for title in ["a", "b", "c"] {
        ann.lead(json!({"title": title, "status": if title == "c" { "closed" } else { "assigned" }})).await;
    }
    let patch = json!({"status": "in process", "rating": "HOT"});
    let tried = json!({"filter": {"status": "assigned"}, "patch": patch, "dry_run": true});
    let answer = ann.post("/api/leads/bulk/", &tried).await.expect(200);
    assert_eq!((&answer["matched"], answer["ids"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(answer["results"], json!([]));
    let wrong = json!({"filter": {"status": "assigned"}, "patch": patch, "expect_count": 3});
    assert_eq!(
        ann.post("/api/leads/bulk/", &wrong).await.problem(409),
        ("conflict".into(), vec!["expect_count".into()])
    );
    assert_eq!(ann.get("/api/leads/?rating=HOT&count=true").await.expect(200)["count"], 0);
    let right = json!({"filter": {"status": "assigned"}, "patch": patch, "expect_count": 2});
    let answer = ann.post("/api/leads/bulk/", &right).await.expect(200);
    assert_eq!((&answer["matched"], &answer["succeeded"]), (&json!(2), &json!(2)));
    let hot = ann.get("/api/leads/?rating=HOT&status=in+process&count=true").await.expect(200);
    assert_eq!(hot["count"], 2);
    for (body, status, field) in [
        (json!({"filter": {"stauts": "assigned"}, "patch": {}}), 400, "filter.stauts"),
        (json!({"filter": {"limit": 1}, "patch": {}}), 422, "filter.limit"),
        (json!({"filter": {"status": null}, "patch": {}}), 400, "filter.status"),
        (json!({"filter": {"status": "closed"}}), 422, "patch"),
        (json!({"filter": {}, "patch": {"email": "no"}}), 422, "operations.0.email"),
        (json!({"operations": [], "atomic": true}), 422, "operations"),
        (json!({"operations": [], "filter": {}}), 422, "operations"),
        (json!({}), 422, "operations"),
        (json!({"operations": [{"op": "delete", "id": UNKNOWN}], "dry_run": true}), 422, "dry_run"),
        (json!({"operation": []}), 400, "operation"),
    ] {
        assert_eq!(ann.post("/api/leads/bulk/", &body).await.problem(status).1, [field], "{body}");
    }
    let many = vec![json!({"op": "delete", "id": UNKNOWN}); 1_001];
    assert_eq!(
        ann.post("/api/leads/bulk/", &json!({"operations": many})).await.problem(422).1,
        ["operations"]
    );
}

#[actix_web::test]
async fn each_operation_asks_for_the_permission_that_it_would_need_alone() {
    let ann = TestApp::new().await.founder().await;
    let eve = ann.app.founder().await;
    let role =
        json!({"name": "Reader", "grants": {"leads": {"actions": ["view", "change"], "scope": "own"}}});
    ann.post("/api/roles/", &role).await.expect(201);
    let bob = ann.colleague("Reader").await;
    let (hers, his) = (
        ann.lead(json!({"title": "hers"})).await,
        ann.lead(json!({"title": "his", "assigned_to": [bob.member_id()]})).await,
    );
    let foreign = eve.lead(json!({"title": "foreign"})).await;
    let body = json!({"atomic": false, "operations": [
        {"op": "create", "fields": {"title": "x"}},
        {"op": "update", "id": his["id"], "fields": {"city": "Bonn"}},
        {"op": "update", "id": hers["id"], "fields": {"city": "Bonn"}},
        {"op": "update", "id": foreign["id"], "fields": {"city": "Bonn"}},
        {"op": "delete", "id": his["id"]},
    ]});
    let answer = bob.post("/api/leads/bulk/", &body).await.expect(200);
    let status: Vec<_> = answer["results"].as_array().unwrap().iter().map(|r| r["status"].clone()).collect();
    assert_eq!(status, [403, 200, 404, 404, 403], "{answer}");
    let nothing = json!({"filter": {"title": "hers"}, "patch": {"city": "Bonn"}, "expect_count": 0});
    bob.post("/api/leads/bulk/", &nothing).await.expect(200);
}

#[actix_web::test]
async fn a_step_that_is_refused_takes_its_rows_and_its_signals_with_it() {
    let app = TestApp::new().await;
    let system = crm_testkit::org(&app.db, "EUR").await;
    let ann = crm_testkit::member(&app.db, &system, crm_access::BuiltinRole::Admin).await;
    let mut signals = app.db.signals();
    let lead = |title: &str| {
        let object = json!({"title": title}).as_object().unwrap().clone();
        RecordInput::parse(object).unwrap()
    };
    let ids = app
        .db
        .tenant(&ann, async |t| -> Result<_> {
            let first = Leads::create(t, lead("first")).await?;
            let refused: Result<()> = t
                .savepoint(async |t| {
                    t.signal("test_of_steps", "refused".into());
                    Leads::create(t, lead("undone")).await?;
                    let inner: Result<()> = t.savepoint(async |_| Err(Error::NotFound)).await;
                    assert!(matches!(inner, Err(Error::NotFound)));
                    Err(Error::field("x", FieldCode::InvalidValue, "no"))
                })
                .await;
            assert!(matches!(refused, Err(Error::Fields(..))));
            let kept = t
                .savepoint(async |t| {
                    t.signal("test_of_steps", "kept".into());
                    Leads::create(t, lead("kept")).await
                })
                .await?;
            Ok([first.base.id, kept.base.id])
        })
        .await
        .unwrap();
    let page = app.db.tenant(&ann, async |t| Leads::list(t, &Default::default()).await).await.unwrap();
    assert_eq!(page.results.len(), ids.len());
    loop {
        let signal = signals.recv().await.unwrap();
        if signal.channel == "test_of_steps" {
            assert_eq!(signal.payload, "kept");
            break;
        }
    }
}

#[actix_web::test]
async fn a_filter_changes_only_what_is_still_as_it_found_it() {
    let database = crm_testkit::fresh_database().await;
    let ann = TestApp::on(database.db.clone()).await.founder().await;
    let lead = ann.lead(json!({"title": "x", "city": "Bonn"})).await;
    let system = ann.app.system(&ann);
    let mut t = ann.app.db.open(&system).await.unwrap();
    let edit =
        |city: &str| crm_records::Edit::patch([("city".to_owned(), json!(city))].into_iter().collect());
    Leads::update(&mut t, id(&lead).parse().unwrap(), edit("Kiel")).await.unwrap();
    // The list still finds it in Bonn, and its row is ours until we let go.
    let body = json!({"filter": {"city": "Bonn"}, "patch": {"title": "in Bonn"}, "atomic": false});
    let bulk = ann.post("/api/leads/bulk/", &body);
    let let_go = async {
        while !somebody_waits(&mut t).await {
            tokio::task::yield_now().await;
        }
        t.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(bulk, let_go);
    let answer = answer.expect(200);
    assert_eq!((&answer["matched"], &answer["failed"]), (&json!(1), &json!(1)), "{answer}");
    assert_eq!(answer["results"][0]["status"], 412);
    let left = ann.get(&format!("/api/leads/{}/", id(&lead))).await.expect(200);
    assert_eq!((&left["title"], &left["city"]), (&json!("x"), &json!("Kiel")));
}
