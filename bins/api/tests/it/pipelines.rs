use actix_web::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

const ALL: &str = "/api/leads/pipelines/";

fn id(record: &Value) -> &str {
    record["id"].as_str().unwrap()
}

fn at(record: &Value) -> String {
    format!("{ALL}{}/", id(record))
}

fn stage_at(stage: &Value) -> String {
    format!("/api/leads/stages/{}/", id(stage))
}

impl Person {
    async fn pipeline(&self, name: &str) -> Value {
        self.post(ALL, &json!({"name": name})).await.expect(201)
    }

    async fn move_lead(&self, lead: &Value, to: Value) -> crate::app::Reply {
        self.patch(&format!("/api/leads/{}/move/", id(lead)), &to).await
    }

    /// The titles of a board's cards, column by column.
    async fn board(&self, query: &str) -> Vec<(String, Vec<String>)> {
        let board = self.get(&format!("/api/leads/kanban/{query}")).await.expect(200);
        let titles = |column: &Value| {
            let leads = column["leads"].as_array().unwrap();
            leads.iter().map(|lead| lead["title"].as_str().unwrap().to_owned()).collect()
        };
        let columns = board["columns"].as_array().unwrap();
        columns.iter().map(|column| (column["name"].as_str().unwrap().to_owned(), titles(column))).collect()
    }

    /// Those of one column.
    async fn lead_column(&self, query: &str, name: &str) -> Vec<String> {
        let board = self.board(query).await;
        board.into_iter().find(|(column, _)| column == name).unwrap().1
    }
}

#[actix_web::test]
async fn a_pipeline_comes_with_stages_and_its_stages_have_an_order() {
    let ann = TestApp::new().await.founder().await;
    let reply = ann.post(ALL, &json!({"name": "  Sales ", "is_default": true})).await;
    let location = reply.header("location").to_owned();
    let pipeline = reply.expect(201);
    assert_eq!(location, at(&pipeline));
    let stages = pipeline["stages"].as_array().unwrap();
    let shown: Vec<_> =
        stages.iter().map(|s| (s["name"].as_str().unwrap(), s["order"].as_i64().unwrap())).collect();
    assert_eq!(
        shown,
        [("New", 1), ("Contacted", 2), ("Qualified", 3), ("Proposal", 4), ("Won", 5), ("Lost", 6)]
    );
    assert_eq!(
        (&stages[4]["maps_to_status"], &stages[4]["win_probability"]),
        (&json!("converted"), &json!(100))
    );
    assert_eq!(ann.get(&at(&pipeline)).await.expect(200), pipeline, "what is read is what was answered");
    assert_eq!(ann.put(&at(&pipeline), &pipeline).await.expect(200), pipeline, "and can be written back");

    let demo = json!({"name": "Demo", "order": 2, "color": "#abcdef", "wip_limit": 0});
    let demo = ann.post(&format!("{}stages/", at(&pipeline)), &demo).await.expect(201);
    assert_eq!(
        (&demo["color"], &demo["wip_limit"], &demo["order"]),
        (&json!("#ABCDEF"), &Value::Null, &json!(2))
    );
    let names = async || {
        let page = ann.get(&format!("{}stages/", at(&pipeline))).await.expect(200);
        let rows = page["results"].as_array().unwrap();
        let orders: Vec<_> = rows.iter().map(|stage| stage["order"].as_i64().unwrap()).collect();
        assert_eq!(orders, (1..=i64::try_from(rows.len()).unwrap()).collect::<Vec<_>>());
        rows.iter().map(|stage| stage["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names().await, "New Demo Contacted Qualified Proposal Won Lost");
    let moved = ann.patch(&stage_at(&demo), &json!({"order": 99, "name": "Trial"})).await.expect(200);
    assert_eq!((&moved["order"], &moved["version"]), (&json!(7), &json!(2)));
    assert_eq!(names().await, "New Contacted Qualified Proposal Won Lost Trial");
    let put = ann.put(&stage_at(&demo), &json!({"name": "Trial"})).await.expect(200);
    assert_eq!(
        (&put["order"], &put["color"]),
        (&json!(7), &json!("#6B7280")),
        "without order it keeps its place"
    );
    assert_eq!(ann.put(&stage_at(&demo), &put).await.expect(200), put);

    let mut ids: Vec<_> = ann.get(&at(&pipeline)).await.expect(200)["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["id"].clone())
        .collect();
    ids.reverse();
    let reorder = format!("{}stages/reorder/", at(&pipeline));
    ann.put(&reorder, &json!({"stage_ids": ids})).await.expect(200);
    assert_eq!(names().await, "Trial Lost Won Proposal Qualified Contacted New");
    ids.reverse();
    ann.post(&reorder, &json!({"stage_ids": ids})).await.expect(200);
    for wrong in [json!(&ids[1..]), json!([&ids[..], &ids[..1]].concat()), json!([]), json!([id(&pipeline)])]
    {
        assert_eq!(ann.put(&reorder, &json!({"stage_ids": wrong})).await.problem(422).1, ["stage_ids"]);
    }
    assert_eq!(ann.put(&reorder, &json!({"stage_ids": ["x"]})).await.problem(422).1, ["stage_ids[0]"]);
    assert_eq!(ann.delete(&stage_at(&demo)).await.status, 204);
    assert_eq!(names().await, "New Contacted Qualified Proposal Won Lost");

    let bare = ann.post(ALL, &json!({"name": "Bare", "create_default_stages": false})).await.expect(201);
    assert_eq!(bare["stages"], json!([]));
}

#[actix_web::test]
async fn bad_pipelines_and_stages_are_refused_by_field() {
    let ann = TestApp::new().await.founder().await;
    let pipeline = ann.pipeline("Sales").await;
    let stages = format!("{}stages/", at(&pipeline));
    for (body, status, field) in [
        (json!({"name": "x", "color": "red"}), 422, "color"),
        (json!({"name": "x", "color": "#12345"}), 422, "color"),
        (json!({"name": "x", "color": "#12345é"}), 422, "color"),
        (json!({"name": "x", "win_probability": 101}), 422, "win_probability"),
        (json!({"name": "x", "win_probability": -1}), 422, "win_probability"),
        (json!({"name": "x", "wip_limit": -1}), 422, "wip_limit"),
        (json!({"name": "x", "order": 0}), 422, "order"),
        (json!({"name": "x", "maps_to_status": "won"}), 422, "maps_to_status"),
        (json!({"name": "x", "stage_type": "paused"}), 422, "stage_type"),
        (json!({"name": " "}), 422, "name"),
        (json!({}), 422, "name"),
        (json!({"name": "x", "colour": "#123456"}), 400, "colour"),
        (json!({"name": "WON"}), 409, "name"),
    ] {
        let (_, fields) = ann.post(&stages, &body).await.problem(status);
        assert_eq!(fields, [field], "{body}");
    }
    assert_eq!(ann.post(ALL, &json!({"name": "SALES"})).await.problem(409).1, ["name"]);
    let won = &pipeline["stages"][4];
    assert_eq!(ann.patch(&stage_at(won), &json!({"name": "lost"})).await.problem(409).1, ["name"]);
    let other = ann.pipeline("Other").await;
    assert_eq!(ann.patch(&at(&other), &json!({"name": "sales"})).await.problem(409).1, ["name"]);
    let stale =
        ann.with(Method::PATCH, &at(&other), ("if-match", "\"9\""), Some(&json!({"name": "x"}))).await;
    assert_eq!(stale.status, 412);
    assert_eq!(ann.patch(&at(&other), &json!({"stages": []})).await.problem(400).1, ["stages"]);
}

#[actix_web::test]
async fn there_is_one_default_and_a_second_one_takes_over() {
    let ann = TestApp::new().await.founder().await;
    let first = ann.post(ALL, &json!({"name": "First", "is_default": true})).await.expect(201);
    let second = ann.post(ALL, &json!({"name": "Second", "is_default": true})).await.expect(201);
    let third = ann.pipeline("Third").await;
    let default = async || {
        let page = ann.get(&format!("{ALL}?is_default=true")).await.expect(200);
        page["results"].as_array().unwrap().iter().map(|p| id(p).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(default().await, [id(&second)]);
    assert_eq!(ann.get(&at(&first)).await.expect(200)["version"], 2, "the flag left it");
    let flag = json!({"is_default": true});
    let paths = [at(&first), at(&third), at(&second)];
    let replies = join_all(paths.iter().map(|path| ann.patch(path, &flag))).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    assert_eq!(default().await.len(), 1);
    ann.delete(&at(&first)).await;
    ann.delete(&at(&second)).await;
    ann.delete(&at(&third)).await;
    assert_eq!(default().await, Vec::<String>::new(), "a pipeline out of use is no default");
}

#[actix_web::test]
async fn what_holds_leads_stays_in_use() {
    let ann = TestApp::new().await.founder().await;
    let pipeline = ann.pipeline("Sales").await;
    let stage = &pipeline["stages"][0];
    let lead = ann.lead(json!({"title": "Card"})).await;
    ann.move_lead(&lead, json!({"stage_id": stage["id"]})).await.expect(200);
    assert_eq!(ann.delete(&stage_at(stage)).await.problem(409).0, "in_use");
    assert_eq!(ann.delete(&at(&pipeline)).await.problem(409).0, "in_use");
    assert_eq!(ann.patch(&at(&pipeline), &json!({"is_active": false})).await.problem(409).0, "in_use");
    ann.move_lead(&lead, json!({"stage_id": null})).await.expect(200);
    assert_eq!(ann.delete(&at(&pipeline)).await.status, 204);
    let shown = ann.get(&at(&pipeline)).await.expect(200);
    assert_eq!(shown["is_active"], false, "still to be read");
    assert_eq!(ann.get(ALL).await.expect(200)["results"], json!([]));
    assert_eq!(
        ann.get(&format!("{ALL}?is_active=false")).await.expect(200)["results"][0]["id"],
        pipeline["id"]
    );
    let board = ann.get(&format!("/api/leads/kanban/?pipeline_id={}", id(&pipeline))).await;
    assert_eq!(board.problem(404).0, "not_found");
    let moved = ann.move_lead(&lead, json!({"stage_id": stage["id"]})).await;
    assert_eq!(moved.problem(422).1, ["stage_id"], "no card comes to a pipeline out of use");
    ann.patch(&at(&pipeline), &json!({"is_active": true})).await.expect(200);
    ann.move_lead(&lead, json!({"stage_id": stage["id"]})).await.expect(200);
}

#[actix_web::test]
async fn leads_that_were_converted_in_a_stage_do_not_hold_it() {
    let ann = TestApp::new().await.founder().await;
    let pipeline = ann.pipeline("Sales").await;
    let [first, won] = [&pipeline["stages"][0], &pipeline["stages"][4]];
    let mut leads = Vec::new();
    for n in 0..2 {
        let lead = ann.lead(json!({"title": "Card", "email": format!("{n}@example.com")})).await;
        ann.move_lead(&lead, json!({"stage_id": first["id"]})).await.expect(200);
        leads.push(lead);
    }
    let counts = async || {
        let shown = ann.get(&at(&pipeline)).await.expect(200);
        let listed = ann.get(ALL).await.expect(200)["results"].as_array().unwrap().clone();
        assert!(listed.iter().all(|pipeline| *pipeline == shown), "{listed:?}");
        let stages = ann.get(&format!("{}stages/", at(&pipeline))).await.expect(200);
        assert_eq!(stages["results"], shown["stages"]);
        let one = ann.get(&stage_at(first)).await.expect(200);
        let stages = shown["stages"].as_array().unwrap();
        assert_eq!(stages.first().unwrap_or(&one)["lead_count"], one["lead_count"]);
        (shown["stage_count"].clone(), shown["lead_count"].clone(), one["lead_count"].clone())
    };
    assert_eq!(counts().await, (json!(6), json!(2), json!(2)));
    let held = ann.delete(&stage_at(first)).await;
    assert_eq!(held.problem(409).0, "in_use");
    for lead in &leads {
        ann.move_lead(lead, json!({"stage_id": won["id"]})).await.expect(200);
    }
    assert_eq!(counts().await, (json!(6), json!(0), json!(0)));
    let read = ann.get(&at(&pipeline)).await.expect(200);
    ann.move_lead(&ann.lead(json!({"title": "Other"})).await, json!({"stage_id": first["id"]}))
        .await
        .expect(200);
    let mut back = read.clone();
    back["description"] = json!("written back as it was read");
    ann.put(&at(&pipeline), &back).await.expect(200);
    let mut back = ann.get(&stage_at(first)).await.expect(200);
    back["lead_count"] = json!(0);
    ann.put(&stage_at(first), &back).await.expect(200);
    assert_eq!(ann.delete(&at(&pipeline)).await.problem(409).0, "in_use", "one lead is in it");

    assert_eq!(ann.delete(&stage_at(won)).await.status, 204);
    let lead = format!("/api/leads/{}/", id(&leads[0]));
    let now = ann.get(&lead).await.expect(200);
    assert_eq!((&now["status"], &now["stage_id"]), (&json!("converted"), &Value::Null));
    let history = ann.get(&format!("{lead}history/")).await.expect(200);
    assert_eq!(history["results"][0]["fields"], json!({"stage_id": [won["id"], null]}));
    assert_eq!(history["results"][0]["version"], now["version"]);
    ann.request(Method::POST, &format!("{lead}unconvert/"), None).await.expect(200);
}

#[actix_web::test]
async fn a_lead_whose_pipeline_went_out_of_use_comes_back_to_the_board_of_statuses() {
    let ann = TestApp::new().await.founder().await;
    let pipeline = ann.pipeline("Sales").await;
    let lead = ann.lead(json!({"title": "Card", "email": "a@example.com", "status": "assigned"})).await;
    ann.move_lead(&lead, json!({"stage_id": pipeline["stages"][4]["id"]})).await.expect(200);
    assert_eq!(ann.delete(&at(&pipeline)).await.status, 204, "a converted lead does not hold it");
    let path = format!("/api/leads/{}/unconvert/", id(&lead));
    let back = ann.request(Method::POST, &path, None).await.expect(200);
    assert_eq!((&back["status"], &back["stage_id"]), (&json!("assigned"), &Value::Null));
    assert_eq!(ann.lead_column("", "Assigned").await, ["Card"]);
}

#[actix_web::test]
async fn members_read_pipelines_and_only_administrators_write_them() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let bob = ann.colleague("USER").await;
    let pipeline = ann.pipeline("Sales").await;
    let stage = &pipeline["stages"][0];
    bob.get(ALL).await.expect(200);
    bob.get(&at(&pipeline)).await.expect(200);
    bob.get(&stage_at(stage)).await.expect(200);
    let named = json!({"name": "x"});
    for (method, path) in [
        (Method::POST, ALL.to_owned()),
        (Method::PATCH, at(&pipeline)),
        (Method::DELETE, at(&pipeline)),
        (Method::POST, format!("{}stages/", at(&pipeline))),
        (Method::PUT, format!("{}stages/reorder/", at(&pipeline))),
        (Method::PATCH, stage_at(stage)),
        (Method::DELETE, stage_at(stage)),
    ] {
        assert_eq!(bob.request(method.clone(), &path, Some(&named)).await.status, 403, "{method} {path}");
    }
}

#[actix_web::test]
async fn the_board_of_statuses_shows_every_open_lead_once() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let pipeline = ann.pipeline("Sales").await;
    for (title, status) in [
        ("a", json!("assigned")),
        ("b", json!("in process")),
        ("c", json!("recycled")),
        ("d", json!("closed")),
    ] {
        ann.lead(json!({"title": title, "status": status, "rating": "HOT"})).await;
    }
    ann.lead(json!({"title": "none"})).await;
    ann.lead(json!({"title": "asleep", "is_active": false})).await;
    let away = ann.lead(json!({"title": "away", "status": "assigned"})).await;
    ann.move_lead(&away, json!({"stage_id": pipeline["stages"][1]["id"]})).await.expect(200);
    let column = |name: &str, titles: &[&str]| {
        (name.to_owned(), titles.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(
        ann.board("").await,
        [
            column("No status", &["none"]),
            column("Assigned", &["a"]),
            column("In process", &["b"]),
            column("Recycled", &["c"]),
            column("Closed", &["d"])
        ]
    );
    let board = ann.get("/api/leads/kanban/?count=true&rating=HOT&fields=title").await.expect(200);
    assert_eq!(
        (&board["count"], &board["mode"], &board["pipeline"]),
        (&json!(4), &json!("status"), &Value::Null)
    );
    assert_eq!(board["columns"][1]["leads"], json!([{"title": "a"}]));
    let board = format!("/api/leads/kanban/?pipeline_id={}", id(&pipeline));
    let board = ann.get(&board).await.expect(200);
    assert_eq!((&board["mode"], &board["pipeline"]["name"]), (&json!("pipeline"), &json!("Sales")));
    assert_eq!(board["columns"][1]["leads"][0]["title"], "away");
    assert_eq!(board["columns"][1]["leads"][0]["status"], "in process", "the stage brought its status");
    for (query, field) in [
        ("?ordering=title", "ordering"),
        ("?offset=1", "offset"),
        ("?cursor=x", "cursor"),
        ("?ratting=HOT", "ratting"),
        ("?limit=201", "limit"),
        ("?fields=nothing", "fields"),
        ("?stale=perhaps", "stale"),
        ("?follow_up=never", "follow_up"),
    ] {
        assert_eq!(ann.get(&format!("/api/leads/kanban/{query}")).await.problem(400).1, [field]);
    }
    for nowhere in ["x", "0190b5a0-0000-7000-8000-00000000dead"] {
        let reply = ann.get(&format!("/api/leads/kanban/?pipeline_id={nowhere}")).await;
        assert_eq!(reply.problem(404).0, "not_found");
    }
}

#[actix_web::test]
async fn a_column_goes_on_as_a_list() {
    let ann = TestApp::new().await.founder().await;
    for title in ["1", "2", "3"] {
        ann.lead(json!({"title": title, "status": "assigned"})).await;
    }
    let board = ann.get("/api/leads/kanban/?limit=2").await.expect(200);
    let column = &board["columns"][1];
    assert_eq!((&column["leads"][0]["title"], &column["leads"][1]["title"]), (&json!("3"), &json!("2")));
    let rest = ann.get(column["next"].as_str().unwrap()).await.expect(200);
    assert_eq!((&rest["results"][0]["title"], &rest["next"]), (&json!("1"), &Value::Null));
}

#[actix_web::test]
async fn members_see_and_count_their_own_leads_on_a_board_once() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let bob = ann.colleague("USER").await;
    let both = json!([ann.member["id"], bob.member["id"]]);
    let shared = ann.lead(json!({"title": "shared", "status": "assigned", "assigned_to": both})).await;
    let hidden = ann.lead(json!({"title": "hidden", "status": "assigned"})).await;
    let board = bob.get("/api/leads/kanban/?count=true").await.expect(200);
    assert_eq!((&board["count"], &board["columns"][1]["count"]), (&json!(1), &json!(1)));
    assert_eq!(bob.board("").await[1].1, ["shared"]);
    let status = json!({"status": "closed"});
    bob.move_lead(&shared, status.clone()).await.expect(200);
    assert_eq!(bob.move_lead(&hidden, status).await.problem(404).0, "not_found");
    // Above a card that one may not see there is no place to ask for.
    let own = bob.lead(json!({"title": "own", "status": "assigned"})).await;
    let beside = bob.move_lead(&own, json!({"above_id": hidden["id"]})).await;
    assert_eq!(beside.problem(422).1, ["above_id"]);
}

#[actix_web::test]
async fn cards_are_put_in_order_and_there_is_always_room_between_two() {
    let ann = TestApp::new().await.founder().await;
    let mut cards = Vec::new();
    for title in ["1", "2", "3", "4"] {
        cards.push(ann.lead(json!({"title": title, "status": "assigned"})).await);
    }
    let order = async || ann.lead_column("", "Assigned").await.join(" ");
    assert_eq!(order().await, "4 3 2 1", "new ones come first");
    ann.move_lead(&cards[0], json!({"above_id": cards[3]["id"], "below_id": cards[2]["id"]}))
        .await
        .expect(200);
    assert_eq!(order().await, "4 1 3 2");
    ann.move_lead(&cards[1], json!({"below_id": cards[3]["id"]})).await.expect(200);
    assert_eq!(order().await, "2 4 1 3");
    ann.move_lead(&cards[3], json!({"above_id": cards[0]["id"]})).await.expect(200);
    assert_eq!(order().await, "2 1 4 3", "above alone: right behind it");
    ann.move_lead(&cards[3], json!({"below_id": cards[2]["id"]})).await.expect(200);
    assert_eq!(order().await, "2 1 4 3", "below alone: right before it, where it stands already");
    let itself = ann.move_lead(&cards[3], json!({"above_id": cards[3]["id"]})).await;
    assert_eq!(itself.problem(422).1, ["above_id"]);
    let elsewhere = ann.lead(json!({"title": "x", "status": "closed"})).await;
    let beside = ann.move_lead(&cards[3], json!({"below_id": elsewhere["id"]})).await;
    assert_eq!(beside.problem(422).1, ["below_id"], "a card of another column is no neighbour");
    ann.move_lead(&elsewhere, json!({"status": "assigned"})).await.expect(200);
    assert_eq!(order().await, "2 1 4 3 x", "without neighbours it comes last");

    // The same gap again and again: two cards take turns under the first one.
    for turn in 0..150 {
        let card = &cards[if turn % 2 == 0 { 2 } else { 3 }];
        ann.move_lead(card, json!({"above_id": cards[1]["id"]})).await.expect(200);
    }
    assert_eq!(order().await, "2 4 3 1 x");
    let last = ann.get(&format!("/api/leads/{}/", id(&cards[3]))).await.expect(200);
    assert!(last["position"].as_str().unwrap().len() <= 64, "{last}");
}

#[actix_web::test]
async fn a_move_takes_over_what_its_stage_brings() {
    let ann = TestApp::new().await.founder().await;
    let pipeline = ann.pipeline("Sales").await;
    let stages = pipeline["stages"].as_array().unwrap();
    let lead = ann.lead(json!({"title": "x", "status": "recycled"})).await;
    let moved = ann.move_lead(&lead, json!({"stage_id": stages[2]["id"]})).await.expect(200);
    assert_eq!(
        (&moved["status"], &moved["probability"], &moved["stage_id"]),
        (&json!("in process"), &json!(25), &stages[2]["id"])
    );
    let moved = ann.move_lead(&lead, json!({"stage_id": stages[3]["id"]})).await.expect(200);
    assert_eq!(moved["probability"], 25, "a probability of one's own stays");
    let moved =
        ann.move_lead(&lead, json!({"stage_id": stages[5]["id"], "status": "recycled"})).await.expect(200);
    assert_eq!(moved["status"], "recycled", "a status that is given goes first");
    let again = ann.move_lead(&lead, json!({"stage_id": stages[5]["id"]})).await.expect(200);
    assert_eq!(
        (&again["status"], &again["version"]),
        (&json!("recycled"), &moved["version"]),
        "it is there already"
    );
    let off = ann.move_lead(&lead, json!({"stage_id": null, "status": null})).await.expect(200);
    assert_eq!((&off["stage_id"], &off["status"]), (&Value::Null, &Value::Null));
    assert_eq!(ann.lead_column("", "No status").await, ["x"]);
    let history = ann.get(&format!("/api/leads/{}/history/", id(&lead))).await.expect(200);
    assert_eq!(history["results"][0]["fields"]["stage_id"], json!([stages[5]["id"], null]));
    assert_eq!(ann.move_lead(&lead, json!({})).await.problem(422).1, ["stage_id"]);
    assert_eq!(ann.move_lead(&lead, json!({"stage_id": lead["id"]})).await.problem(422).1, ["stage_id"]);
    assert_eq!(ann.move_lead(&lead, json!({"stage": null})).await.problem(400).1, ["stage"]);
    let path = format!("/api/leads/{}/move/", id(&lead));
    let stale =
        ann.with(Method::PATCH, &path, ("if-match", "\"1\""), Some(&json!({"status": "closed"}))).await;
    assert_eq!(stale.problem(412).0, "stale_version");
}

#[actix_web::test]
async fn a_full_stage_takes_no_more_whoever_comes_at_the_same_time() {
    let ann = TestApp::new().await.founder().await;
    let pipeline = ann.pipeline("Sales").await;
    let stage = &pipeline["stages"][1];
    ann.patch(&stage_at(stage), &json!({"wip_limit": 2})).await.expect(200);
    let mut cards = Vec::new();
    for title in ["1", "2", "3", "4", "5"] {
        cards.push(ann.lead(json!({"title": title})).await);
    }
    let to = json!({"stage_id": stage["id"]});
    let replies = join_all(cards.iter().map(|card| ann.move_lead(card, to.clone()))).await;
    let done = replies.iter().filter(|reply| reply.status == 200).count();
    let full = replies.iter().filter(|reply| reply.status == 409).count();
    assert_eq!((done, full), (2, 3));
    let within = ann.lead_column(&format!("?pipeline_id={}", id(&pipeline)), "Contacted").await;
    assert_eq!(within.len(), 2);
    let inside = cards.iter().find(|card| card["title"] == within[0].as_str()).unwrap();
    ann.move_lead(inside, json!({"stage_id": stage["id"], "status": "closed"})).await.expect(200);
}

#[actix_web::test]
async fn two_who_move_cards_at_the_same_time_lose_nothing() {
    let ann = TestApp::new().await.founder().await;
    let mut cards = Vec::new();
    for title in ["1", "2", "3", "4"] {
        cards.push(ann.lead(json!({"title": title, "status": "assigned"})).await);
    }
    let moves = (0..4).map(|i| {
        let to = json!({"above_id": cards[(i + 1) % 4]["id"]});
        let card = cards[i].clone();
        let ann = ann.clone();
        async move { ann.move_lead(&card, to).await.status }
    });
    let statuses = join_all(moves).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let mut titles = ann.lead_column("", "Assigned").await;
    titles.sort();
    assert_eq!(titles, ["1", "2", "3", "4"]);
    for card in &cards {
        let now = ann.get(&format!("/api/leads/{}/", id(card))).await.expect(200);
        assert!(now["version"].as_i64().unwrap() <= 2);
    }
}

#[actix_web::test]
async fn staleness_and_follow_up_are_shown_filtered_and_never_stored() {
    let ann = TestApp::new().await.founder().await;
    let today = chrono::Utc::now().date_naive();
    let day = |days: i64| (today + chrono::TimeDelta::days(days)).to_string();
    for (title, body) in [
        ("late", json!({"next_follow_up": day(-3), "last_contacted": day(-40)})),
        ("soon", json!({"next_follow_up": day(5), "last_contacted": day(-2)})),
        ("closed", json!({"last_contacted": day(-40), "status": "closed"})),
        ("new", json!({})),
    ] {
        let mut body = body;
        body["title"] = json!(title);
        ann.lead(body).await;
    }
    let titles = async |query: &str| {
        let page = ann.get(&format!("/api/leads/?ordering=title&{query}")).await.expect(200);
        page["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["title"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(titles("stale=true").await, ["late"]);
    assert_eq!(titles("stale=false").await, ["closed", "new", "soon"]);
    assert_eq!(titles("follow_up=overdue").await, ["late"]);
    assert_eq!(titles("follow_up=upcoming").await, ["soon"]);
    assert_eq!(titles("follow_up=today").await, Vec::<String>::new());
    assert_eq!(ann.get("/api/leads/?follow_up=late").await.problem(400).1, ["follow_up"]);
    let late = ann.get("/api/leads/?title=late").await.expect(200)["results"][0].clone();
    assert_eq!(late["is_stale"], true);
    assert_eq!(late["is_follow_up_overdue"], true);
    let mut back = late.clone();
    back["is_stale"] = json!(false);
    back["days_since_last_contact"] = json!(7);
    let path = format!("/api/leads/{}/", id(&late));
    assert_eq!(ann.put(&path, &back).await.expect(200), late, "what is computed is ignored in a body");
    assert_eq!(ann.patch(&path, &json!({"is_stale": false})).await.expect(200), late);
    let touched = ann.patch(&path, &json!({"last_contacted": day(0)})).await.expect(200);
    assert_eq!(touched["is_stale"], false);
    let history = ann.get(&format!("{path}history/")).await.expect(200);
    let fields: Vec<_> = history["results"][0]["fields"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["last_contacted"]);
    let created = ann.post("/api/leads/", &json!({"is_stale": true})).await;
    assert_eq!(created.problem(400).1, ["is_stale"]);
}
