use chrono::{Datelike, Days, Months, NaiveDate, TimeDelta, Utc};
use crm_testkit::fresh_database;
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

const GOALS: &str = "/api/opportunities/goals/";

fn today() -> NaiveDate {
    Utc::now().date_naive()
}

fn goal_path(goal: &Value) -> String {
    format!("{GOALS}{}/", goal["id"].as_str().unwrap())
}

/// A goal that is running, with further fields.
fn goal(further: Value) -> Value {
    let mut body = json!({
        "name": "November", "goal_type": "REVENUE", "target_value": "100", "currency": "EUR", "period_type": "MONTHLY",
        "period_start": today() - Days::new(10), "period_end": today() + Days::new(10),
    });
    for (key, value) in further.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

impl Person {
    async fn won(&self, further: Value) -> Value {
        let mut body =
            json!({"name": uuid::Uuid::now_v7(), "stage": "CLOSED_WON", "amount": "30", "currency": "EUR"});
        for (key, value) in further.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.deal(body).await
    }
}

#[actix_web::test]
async fn a_goal_counts_each_won_deal_once_in_its_own_currency() {
    let ann = TestApp::new().await.founder().await;
    let (bob, eve) = (ann.colleague("USER").await, ann.colleague("USER").await);
    let both = json!([bob.member_id(), eve.member_id()]);
    let team = ann.post("/api/teams/", &json!({"name": "East", "users": both})).await.expect(201);
    ann.won(json!({"assigned_to": both})).await;
    ann.won(json!({"assigned_to": [bob.member_id()], "currency": "USD"})).await;
    ann.won(json!({"assigned_to": [bob.member_id()], "is_active": false})).await;
    ann.won(json!({"assigned_to": [bob.member_id()], "closed_on": today() - Days::new(30)})).await;
    ann.won(json!({"amount": "15"})).await;
    ann.deal(json!({"name": "Open", "amount": "99", "currency": "EUR", "assigned_to": both})).await;
    let add = async |further| ann.post(GOALS, &goal(further)).await.expect(201);
    let reached = |goal: &Value| (goal["progress_value"].clone(), goal["progress_percent"].clone());
    assert_eq!(reached(&add(json!({"team_id": team["id"]})).await), (json!("30.00"), json!(30)));
    assert_eq!(reached(&add(json!({"assigned_to": bob.member_id()})).await), (json!("30.00"), json!(30)));
    assert_eq!(reached(&add(json!({})).await), (json!("45.00"), json!(45)));
    assert_eq!(reached(&add(json!({"target_value": "45"})).await), (json!("45.00"), json!(100)));
    let count = json!({"goal_type": "DEALS_CLOSED", "currency": null, "target_value": "4", "assigned_to": bob.member_id()});
    let count = add(count).await;
    assert_eq!((reached(&count), &count["status"]), ((json!("2"), json!(50)), &json!("on_track")));
    assert_eq!(ann.get(&format!("{GOALS}?current=true&count=true")).await.expect(200)["count"], 5);
    // A member reads what is set for them or for a team of theirs; nobody but an administrator sets one.
    assert_eq!(bob.get(&format!("{GOALS}?count=true")).await.expect(200)["count"], 3);
    assert_eq!(eve.get(&format!("{GOALS}?count=true")).await.expect(200)["count"], 1);
    assert_eq!(eve.get(&goal_path(&count)).await.problem(404).0, "not_found");
    assert_eq!(bob.post(GOALS, &goal(json!({}))).await.problem(403).0, "forbidden");
    assert_eq!(
        bob.patch(&goal_path(&count), &json!({"target_value": "1"})).await.problem(403).0,
        "forbidden"
    );
    let board = ann.get(&format!("{GOALS}leaderboard/")).await.expect(200);
    let places = board["results"].as_array().unwrap();
    assert_eq!(places.len(), 2);
    assert_eq!((&places[0]["rank"], &places[0]["goal_id"]), (&json!(1), &count["id"]));
    assert_eq!(places[0]["member"]["name"], "Test Person");
    assert_eq!(eve.get(&format!("{GOALS}leaderboard/")).await.expect(200)["results"], json!([]));
    let (_, fields) = ann.get(&format!("{GOALS}leaderboard/?period_type=DAILY")).await.problem(400);
    assert_eq!(fields, ["period_type"]);
}

#[actix_web::test]
async fn bad_goals_are_refused_by_field() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let team = eve.post("/api/teams/", &json!({"name": "Theirs"})).await.expect(201);
    for (further, status, field) in [
        (json!({"name": " "}), 422, "name"),
        (json!({"target_value": "0"}), 422, "target_value"),
        (json!({"target_value": "-5"}), 422, "target_value"),
        (json!({"target_value": "1.001"}), 422, "target_value"),
        (json!({"goal_type": "DEALS_CLOSED", "currency": null, "target_value": "1.5"}), 422, "target_value"),
        (json!({"goal_type": "DEALS_CLOSED", "target_value": "1"}), 422, "currency"),
        (json!({"period_end": today() - Days::new(10)}), 422, "period_end"),
        (json!({"period_start": null}), 400, "period_start"),
        (json!({"period_type": "DAILY"}), 422, "period_type"),
        (json!({"assigned_to": eve.member_id()}), 422, "assigned_to"),
        (json!({"team_id": team["id"]}), 422, "team_id"),
        (json!({"milestone": 50}), 400, "milestone"),
    ] {
        let (_, fields) = ann.post(GOALS, &goal(further.clone())).await.problem(status);
        assert_eq!(fields, [field], "{further}");
    }
    assert_eq!(ann.get(&format!("{GOALS}?count=true")).await.expect(200)["count"], 0);
}

#[actix_web::test]
async fn a_goal_is_read_and_written_back_and_deleted() {
    let ann = TestApp::new().await.founder().await;
    let made = ann.post(GOALS, &goal(json!({}))).await.expect(201);
    let mut back = made.clone();
    back["name"] = json!("December");
    let stored = ann.put(&goal_path(&made), &back).await.expect(200);
    assert_eq!((&stored["name"], &stored["version"]), (&json!("December"), &json!(2)));
    let counts = json!({"goal_type": "DEALS_CLOSED", "target_value": 3});
    let counts = ann.patch(&goal_path(&made), &counts).await.expect(200);
    assert_eq!((&counts["currency"], &counts["target_value"]), (&Value::Null, &json!("3")));
    assert_eq!(ann.delete(&goal_path(&made)).await.status, 204);
    assert_eq!(ann.get(&goal_path(&made)).await.problem(404).0, "not_found");
}

/// What is summed of all deals without looking at them is what is summed by looking at each.
async fn sums_are_true(ann: &Person) {
    for path in ["totals/?", "forecast/?months=3&"] {
        let path = format!("/api/opportunities/{path}");
        let all = ann.get(path.trim_end_matches(['?', '&'])).await.expect(200);
        assert_eq!(all, ann.get(&format!("{path}created_at__gte=2000-01-01")).await.expect(200), "{path}");
    }
}

#[actix_web::test]
async fn a_forecast_adds_up_by_month_and_never_euros_to_dollars() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let next = today().with_day(1).unwrap().checked_add_months(Months::new(1)).unwrap();
    let deal = async |who: &Person, amount: &str, currency: &str, day: Value| {
        let name = uuid::Uuid::now_v7();
        let body = json!({"name": name, "stage": "PROPOSAL", "amount": amount, "currency": currency, "closed_on": day});
        who.deal(body).await
    };
    deal(&ann, "10", "EUR", json!(next)).await;
    deal(&ann, "5.01", "EUR", json!(next + Days::new(3))).await;
    deal(&ann, "7", "USD", json!(next)).await;
    deal(&bob, "3", "USD", json!(next)).await;
    deal(&ann, "2", "EUR", Value::Null).await;
    deal(&ann, "1", "EUR", json!("2020-01-01")).await;
    deal(&ann, "4", "EUR", json!("2090-01-01")).await;
    ann.deal(json!({"name": "no amount", "closed_on": next})).await;
    ann.won(json!({})).await;
    let ahead = ann.get("/api/opportunities/forecast/?months=2").await.expect(200);
    assert_eq!(ahead["months"].as_array().unwrap().len(), 2);
    let month = &ahead["months"][1];
    assert_eq!(month["month"], next.format("%Y-%m").to_string());
    let sum = |currency: &str, count: i32, amount: &str, weighted: &str| json!({"currency": currency, "count": count, "amount": amount, "weighted": weighted, "stalled": 0});
    assert_eq!(month["currencies"][0], sum("EUR", 2, "15.01", "7.51"));
    assert_eq!(month["currencies"][1], sum("USD", 2, "10.00", "5.00"));
    assert_eq!(month["currencies"][2]["count"], 1);
    assert_eq!(month["currencies"][2]["amount"], Value::Null);
    for (bucket, want) in [
        ("undated", sum("EUR", 1, "2.00", "1.00")),
        ("overdue", sum("EUR", 1, "1.00", "0.50")),
        ("later", sum("EUR", 1, "4.00", "2.00")),
        ("won", sum("EUR", 1, "30.00", "30.00")),
    ] {
        assert_eq!(ahead[bucket], json!([want]), "{bucket}");
    }
    sums_are_true(&ann).await;
    for (further, day) in [
        (json!({"is_active": false, "stage": "PROPOSAL", "amount": "6", "currency": "USD"}), json!(next)),
        (
            json!({"is_active": false, "stage": "CLOSED_WON", "amount": "6", "currency": "EUR"}),
            json!(today()),
        ),
        (json!({"is_active": false, "stage": "PROPOSAL"}), Value::Null),
        (json!({"stage": "CLOSED_LOST", "amount": "6", "currency": "EUR"}), json!(today())),
    ] {
        let mut body = further;
        body["name"] = json!(uuid::Uuid::now_v7());
        body["closed_on"] = day;
        let deal = ann.deal(body).await;
        sums_are_true(&ann).await;
        let path = format!("/api/opportunities/{}/", deal["id"].as_str().unwrap());
        ann.patch(&path, &json!({"is_active": true, "stage": "NEGOTIATION", "closed_on": null}))
            .await
            .expect(200);
        sums_are_true(&ann).await;
        ann.delete(&path).await;
    }
    sums_are_true(&ann).await;
    let bobs = bob.get("/api/opportunities/forecast/").await.expect(200);
    assert_eq!(bobs["months"][1]["currencies"], json!([sum("USD", 1, "3.00", "1.50")]));
    assert_eq!(ann.get("/api/opportunities/forecast/?months=0").await.problem(400).1, ["months"]);
    let totals = ann.get("/api/opportunities/totals/?open=true").await.expect(200);
    assert_eq!((&totals["count"], &totals["currencies"][0]["amount"]), (&json!(8), &json!("22.01")));
}

#[actix_web::test]
async fn what_stages_may_take_is_set_as_a_whole_or_not_at_all() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let at = "/api/opportunities/aging-config/";
    let expected = bob.get(at).await.expect(200);
    assert_eq!(expected[0], json!({"stage": "PROSPECTING", "expected_days": 14, "warning_days": null}));
    assert_eq!(expected.as_array().unwrap().len(), 4);
    assert_eq!(bob.put(at, &json!([])).await.problem(403).0, "forbidden");
    let fine = json!({"stage": "PROPOSAL", "expected_days": 5, "warning_days": 3});
    for (bad, status, field) in [
        (json!({"stage": "CLOSED_WON", "expected_days": 5}), 422, "[1].stage"),
        (json!({"stage": "PROPOSAL", "expected_days": 6}), 422, "[1].stage"),
        (json!({"stage": "NEGOTIATION", "expected_days": 0}), 422, "[1].expected_days"),
        (json!({"stage": "NEGOTIATION", "expected_days": "x"}), 400, "[1].expected_days"),
        (json!({"stage": "NEGOTIATION", "expected_days": 5, "warning_days": -1}), 422, "[1].warning_days"),
        (json!({"stage": "NEGOTIATION", "expected_days": 5, "colour": 1}), 400, "[1].colour"),
        (json!(5), 422, "[1]"),
    ] {
        assert_eq!(ann.put(at, &json!([fine, bad])).await.problem(status).1, [field], "{bad}");
    }
    assert_eq!(ann.put(at, &fine).await.problem(400).0, "malformed_request");
    assert_eq!(ann.get(at).await.expect(200)[2]["expected_days"], 10, "nothing was written");
    assert_eq!(ann.put(at, &json!([fine])).await.expect(200)[2], fine);
    assert_eq!(ann.get(at).await.expect(200)[3]["expected_days"], 10);
}

#[actix_web::test]
async fn a_deal_that_is_red_is_one_that_the_filter_finds_and_its_people_are_told() {
    let database = fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let bob = ann.colleague("USER").await;
    let at = "/api/opportunities/aging-config/";
    ann.put(at, &json!([{"stage": "PROPOSAL", "expected_days": 7}])).await.expect(200);
    ann.deal(json!({"name": "Bob's", "stage": "PROPOSAL", "assigned_to": [bob.member_id()]})).await;
    ann.deal(json!({"name": "Nobody's", "stage": "PROPOSAL"})).await;
    ann.deal(json!({"name": "Put away", "stage": "PROPOSAL", "is_active": false})).await;
    ann.deal(json!({"name": "Lost", "stage": "CLOSED_LOST"})).await;
    ann.deal(json!({"name": "Young", "stage": "PROSPECTING"})).await;
    let mut seen = Vec::new();
    for days in [7, 3, 1] {
        app.db.clock().advance(TimeDelta::days(days));
        let ann = ann.sign_in_again().await;
        let page = ann.get("/api/opportunities/?ordering=name").await.expect(200);
        let rows = page["results"].as_array().unwrap();
        let red = rows.iter().filter(|row| row["aging_status"] == "red").count();
        let rotten = ann.get("/api/opportunities/?rotten=true&count=true").await.expect(200);
        assert_eq!(rotten["count"], red, "after {days} more days");
        let totals = ann.get("/api/opportunities/totals/").await.expect(200);
        assert_eq!(totals["stalled"], red);
        sums_are_true(&ann).await;
        seen.push((rows[0]["aging_status"].as_str().unwrap().to_owned(), rows[0]["days_in_stage"].clone()));
    }
    // Half as much again as seven days is ten and a half: the eleventh whole day.
    assert_eq!(seen, [("yellow".into(), json!(7)), ("yellow".into(), json!(10)), ("red".into(), json!(11))]);
    app.put_job(crm_opportunities::reminders::STALE, &ann).await;
    let mut told: Vec<_> = app
        .mails("stale_deals")
        .await
        .into_iter()
        .map(|mail| (mail.to, mail.data["items"][0]["name"].clone(), mail.data["count"].clone()))
        .collect();
    told.sort_by_key(|mail| mail.1.as_str().unwrap().to_owned());
    assert_eq!(
        told,
        [(bob.email.clone(), json!("Bob's"), json!(1)), (ann.email.clone(), json!("Nobody's"), json!(1)),]
    );
}

#[actix_web::test]
async fn a_milestone_is_told_once_and_anew_for_another_goal() {
    let database = fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let bob = ann.colleague("USER").await;
    let made = ann.post(GOALS, &goal(json!({"assigned_to": bob.member_id()}))).await.expect(201);
    let told = async || {
        app.put_job(crm_opportunities::reminders::MILESTONES, &ann).await;
        let mails = app.mails("goal_milestone").await.into_iter();
        mails.map(|mail| (mail.to, mail.data["milestone"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(told().await, []);
    ann.won(json!({"assigned_to": [bob.member_id()], "amount": "55"})).await;
    assert_eq!(told().await, [(bob.email.clone(), json!(50))]);
    assert_eq!(told().await, [], "once");
    ann.won(json!({"assigned_to": [bob.member_id()], "amount": "60"})).await;
    assert_eq!(told().await, [(bob.email.clone(), json!(100))], "only the highest");
    let again = ann.patch(&goal_path(&made), &json!({"target_value": "200"})).await.expect(200);
    assert_eq!((&again["milestone"], &again["progress_percent"]), (&json!(0), &json!(57)));
    assert_eq!(told().await, [(bob.email.clone(), json!(50))]);
    assert_eq!(ann.get(&goal_path(&made)).await.expect(200)["milestone"], 50);
}

#[actix_web::test]
async fn a_team_that_goals_are_set_for_is_not_deleted_under_them() {
    let ann = TestApp::new().await.founder().await;
    let team = ann.post("/api/teams/", &json!({"name": "East"})).await.expect(201);
    let path = format!("/api/teams/{}/", team["id"].as_str().unwrap());
    let goal = ann.post(GOALS, &goal(json!({"team_id": team["id"], "is_active": false}))).await.expect(201);
    assert_eq!(ann.delete(&path).await.problem(409).0, "in_use");
    assert_eq!(ann.get(&goal_path(&goal)).await.expect(200)["team_id"], team["id"]);
    assert_eq!(ann.delete(&goal_path(&goal)).await.status, 204);
    assert_eq!(ann.delete(&path).await.status, 204);
}

#[actix_web::test]
async fn whoever_is_suspended_is_reminded_of_nothing() {
    let database = fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let (bob, eve) = (ann.colleague("USER").await, ann.colleague("USER").await);
    let both = json!([bob.member_id(), eve.member_id()]);
    let team = ann.post("/api/teams/", &json!({"name": "East", "users": both})).await.expect(201);
    ann.deal(json!({"name": "Both's", "stage": "PROPOSAL", "assigned_to": both})).await;
    ann.won(json!({"assigned_to": both, "amount": "60"})).await;
    ann.post(GOALS, &goal(json!({"assigned_to": bob.member_id()}))).await.expect(201);
    ann.post(GOALS, &goal(json!({"team_id": team["id"]}))).await.expect(201);
    let status = format!("/api/user/{}/status/", bob.member_id());
    ann.post(&status, &json!({"status": "inactive"})).await.expect(200);
    app.put_job(crm_opportunities::reminders::MILESTONES, &ann).await;
    let mut told: Vec<_> = app.mails("goal_milestone").await.into_iter().map(|mail| mail.to).collect();
    let mut want = [ann.email.clone(), eve.email.clone()];
    told.sort();
    want.sort();
    assert_eq!(told, want, "of what was set for Bob the administrator");
    app.db.clock().advance(TimeDelta::days(60));
    app.put_job(crm_opportunities::reminders::STALE, &ann).await;
    let told: Vec<_> = app.mails("stale_deals").await.into_iter().map(|mail| mail.to).collect();
    assert_eq!(told, std::slice::from_ref(&eve.email));
}
