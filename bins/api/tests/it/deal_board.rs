use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

fn path(record: &Value) -> String {
    format!("/api/opportunities/{}/", record["id"].as_str().unwrap())
}

impl Person {
    async fn shift(&self, deal: &Value, body: Value) -> Value {
        self.patch(&format!("{}move/", path(deal)), &body).await.expect(200)
    }

    /// The names on the board in one stage.
    pub(crate) async fn column(&self, stage: &str) -> Vec<String> {
        let board = self.get("/api/opportunities/kanban/?limit=100").await.expect(200);
        let columns = board["columns"].as_array().unwrap();
        let column = columns.iter().find(|column| column["id"] == stage).unwrap();
        column["cards"]
            .as_array()
            .unwrap()
            .iter()
            .map(|card| card["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[actix_web::test]
async fn cards_stand_where_they_were_put() {
    let ann = TestApp::new().await.founder().await;
    let mut deals = Vec::new();
    for name in ["a", "b", "c", "d"] {
        deals.push(ann.deal(json!({"name": name})).await);
    }
    let [a, b, c, d] = &deals[..] else { panic!() };
    assert_eq!(ann.column("PROSPECTING").await, ["d", "c", "b", "a"], "new cards come first");
    ann.shift(d, json!({"stage": "PROSPECTING", "above_id": c["id"], "below_id": b["id"]})).await;
    assert_eq!(ann.column("PROSPECTING").await, ["c", "d", "b", "a"]);
    ann.shift(a, json!({"stage": "PROSPECTING", "below_id": c["id"]})).await;
    assert_eq!(ann.column("PROSPECTING").await, ["a", "c", "d", "b"]);
    ann.shift(c, json!({"stage": "PROSPECTING"})).await;
    assert_eq!(ann.column("PROSPECTING").await, ["a", "d", "b", "c"]);
    // A card is no neighbour of itself, and what does not lie side by side any more goes by the card above.
    ann.shift(d, json!({"stage": "PROSPECTING", "above_id": d["id"], "below_id": a["id"]})).await;
    assert_eq!(ann.column("PROSPECTING").await, ["d", "a", "b", "c"]);
    ann.shift(d, json!({"stage": "PROSPECTING", "above_id": b["id"], "below_id": a["id"]})).await;
    assert_eq!(ann.column("PROSPECTING").await, ["a", "b", "d", "c"]);
    assert_eq!(ann.get(&path(d)).await.expect(200)["version"], 1, "a place alone makes no version");
    let moved = ann.shift(d, json!({"stage": "PROPOSAL"})).await;
    assert_eq!((&moved["version"], &moved["probability"]), (&json!(2), &json!(50)));
    let elsewhere = json!({"stage": "PROPOSAL", "above_id": a["id"]});
    assert_eq!(ann.patch(&format!("{}move/", path(b)), &elsewhere).await.problem(422).1, ["above_id"]);
    assert_eq!(ann.patch(&format!("{}move/", path(b)), &json!({})).await.problem(422).1, ["stage"]);
}

#[actix_web::test]
async fn one_gap_takes_any_number_of_cards() {
    let ann = TestApp::new().await.founder().await;
    let last = ann.deal(json!({"name": "last"})).await;
    let mut cards = Vec::new();
    for place in 0..6 {
        cards.push(ann.deal(json!({"name": format!("card {place}")})).await);
    }
    // Each goes between the same two, over and over, until their places have to be made short again.
    let mut longest = 0;
    for round in 0..150 {
        let moved =
            ann.shift(&cards[round % 6], json!({"stage": "PROSPECTING", "below_id": last["id"]})).await;
        longest = longest.max(moved["position"].as_str().unwrap().len());
    }
    assert!(longest <= 64, "{longest}");
    let names: Vec<_> = (0..6).map(|n| format!("card {n}")).collect();
    assert_eq!(ann.column("PROSPECTING").await[..6], names[..]);
}

#[actix_web::test]
async fn moves_at_the_same_time_leave_every_card_in_a_place_of_its_own() {
    let ann = TestApp::new().await.founder().await;
    let first = ann.deal(json!({"name": "first"})).await;
    let mut cards = Vec::new();
    for place in 0..8 {
        cards.push(ann.deal(json!({"name": format!("card {place}")})).await);
    }
    let body = json!({"stage": "PROSPECTING", "above_id": first["id"]});
    let paths: Vec<_> = cards.iter().map(|card| format!("{}move/", path(card))).collect();
    let moves = paths.iter().map(|path| ann.patch(path, &body));
    let mut places: Vec<String> = join_all(moves)
        .await
        .into_iter()
        .map(|reply| reply.expect(200)["position"].as_str().unwrap().to_owned())
        .collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), 8);
    assert_eq!(ann.column("PROSPECTING").await[0], "first");
}

#[actix_web::test]
async fn a_move_into_a_closed_stage_is_judged_like_any_other_change() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let deal = bob.deal(json!({"name": "Chairs"})).await;
    let at = format!("{}move/", path(&deal));
    assert_eq!(bob.patch(&at, &json!({"stage": "CLOSED_WON"})).await.problem(422).1, ["amount"]);
    assert_eq!(ann.get(&path(&deal)).await.expect(200)["stage"], "PROSPECTING", "nothing was moved");
    bob.patch(&path(&deal), &json!({"amount": "5", "probability": 42})).await.expect(200);
    let won = bob.shift(&deal, json!({"stage": "CLOSED_WON"})).await;
    assert_eq!(won["closed_on"], chrono::Utc::now().date_naive().to_string());
    assert_eq!((&won["closed_by"], &won["probability"]), (&bob.member["id"], &json!(100)));
    let open = bob.shift(&deal, json!({"stage": "PROPOSAL"})).await;
    assert_eq!((&open["closed_by"], &open["probability"]), (&Value::Null, &json!(50)));
}

#[actix_web::test]
async fn a_board_shows_what_its_caller_may_see_and_the_filters_leave() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let hidden = ann.deal(json!({"name": "Hidden", "amount": "10", "currency": "EUR"})).await;
    let deal =
        bob.deal(json!({"name": "Bob's", "stage": "PROPOSAL", "amount": "5", "currency": "EUR"})).await;
    let board = bob.get("/api/opportunities/kanban/?count=true&expand=assigned_to").await.expect(200);
    assert_eq!((&board["count"], board["columns"].as_array().unwrap().len()), (&json!(1), 6));
    let proposal = &board["columns"][2];
    assert_eq!(
        (
            &proposal["id"],
            &proposal["color"],
            &proposal["order"],
            &proposal["stage_type"],
            &proposal["count"]
        ),
        (&json!("PROPOSAL"), &json!("#F59E0B"), &json!(3), &json!("in_progress"), &json!(1))
    );
    assert_eq!(proposal["cards"][0]["id"], deal["id"]);
    let filtered = ann.get("/api/opportunities/kanban/?amount__gte=6&count=true").await.expect(200);
    assert_eq!(
        (&filtered["count"], &filtered["columns"][0]["cards"][0]["name"]),
        (&json!(1), &json!("Hidden"))
    );
    let at = format!("{}move/", path(&hidden));
    assert_eq!(bob.patch(&at, &json!({"stage": "PROPOSAL"})).await.problem(404).0, "not_found");
    let beside = json!({"stage": "PROSPECTING", "above_id": hidden["id"]});
    assert_eq!(bob.patch(&format!("{}move/", path(&deal)), &beside).await.problem(422).1, ["above_id"]);
    for (query, field) in
        [("limit=101", "limit"), ("offset=1", "offset"), ("colour=x", "colour"), ("count=x", "count")]
    {
        let (_, fields) = ann.get(&format!("/api/opportunities/kanban/?{query}")).await.problem(400);
        assert_eq!(fields, [field]);
    }
    let totals = bob.get("/api/opportunities/totals/").await.expect(200);
    assert_eq!((&totals["count"], &totals["currencies"][0]["amount"]), (&json!(1), &json!("5.00")));
}
