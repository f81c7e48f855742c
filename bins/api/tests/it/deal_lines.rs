use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

fn path(record: &Value) -> String {
    format!("/api/opportunities/{}/", record["id"].as_str().unwrap())
}

fn lines(deal: &Value) -> String {
    format!("{}line-items/", path(deal))
}

fn one(line: &Value) -> String {
    let [deal, line] = ["opportunity_id", "id"].map(|key| line[key].as_str().unwrap());
    format!("/api/opportunities/{deal}/line-items/{line}/")
}

impl Person {
    async fn product(&self, body: Value) -> Value {
        self.post("/api/products/", &body).await.expect(201)
    }
}

#[actix_web::test]
async fn a_line_is_found_under_its_own_deal_alone() {
    let ann = TestApp::new().await.founder().await;
    let (deal, other) =
        (ann.deal(json!({"name": "Chairs"})).await, ann.deal(json!({"name": "Tables"})).await);
    let line = ann.post(&lines(&deal), &json!({"name": "Chair"})).await.expect(201);
    let astray = format!("{}{}/", lines(&other), line["id"].as_str().unwrap());
    assert_eq!(ann.get(&astray).await.problem(404).0, "not_found");
    assert_eq!(ann.patch(&astray, &json!({"name": "x"})).await.problem(404).0, "not_found");
    assert_eq!(ann.delete(&astray).await.problem(404).0, "not_found");
    assert_eq!(ann.get(&format!("{}x/", lines(&deal))).await.problem(404).0, "not_found");
    assert_eq!(ann.get(&one(&line)).await.expect(200), line);
}

#[actix_web::test]
async fn lines_own_the_amount_while_there_are_any() {
    let ann = TestApp::new().await.founder().await;
    let deal = ann.deal(json!({"name": "Chairs", "amount": "7", "currency": "EUR"})).await;
    let body = json!({"name": "Chair", "quantity": "2.5", "unit_price": "49.90", "discount_type": "PERCENTAGE", "discount_value": "10"});
    let reply = ann.post(&lines(&deal), &body).await;
    let location = reply.header("location").to_owned();
    let line = reply.expect(201);
    assert_eq!(location, one(&line));
    for (field, want) in [
        ("quantity", json!("2.50")),
        ("subtotal", json!("124.75")),
        ("discount_amount", json!("12.48")),
        ("total", json!("112.27")),
        ("discount_value", json!("10.00")),
        ("currency", json!("EUR")),
        ("opportunity_id", deal["id"].clone()),
    ] {
        assert_eq!(line[field], want, "{field}");
    }
    let now = ann.get(&path(&deal)).await.expect(200);
    assert_eq!(
        (&now["amount"], &now["amount_source"], &now["version"]),
        (&json!("112.27"), &json!("CALCULATED"), &json!(2))
    );
    for (change, field) in [
        (json!({"amount": "5"}), "amount"),
        (json!({"amount": null}), "amount"),
        (json!({"currency": "USD"}), "currency"),
    ] {
        assert_eq!(ann.patch(&path(&deal), &change).await.problem(422).1, [field], "{change}");
    }
    // The same amount is no change, and a replacement may leave it out.
    assert_eq!(ann.patch(&path(&deal), &json!({"amount": "112.270"})).await.expect(200)["version"], 2);
    let put = ann.put(&path(&deal), &json!({"name": "Chairs"})).await.expect(200);
    assert_eq!((&put["amount"], &put["currency"]), (&json!("112.27"), &json!("EUR")));
    let patch = json!({"quantity": 1, "discount_type": null, "discount_value": null});
    assert_eq!(ann.patch(&one(&line), &patch).await.expect(200)["total"], "49.90");
    assert_eq!(ann.get(&path(&deal)).await.expect(200)["amount"], "49.90");
    assert_eq!(ann.get(&one(&line)).await.expect(200)["version"], 2);
    assert_eq!(ann.delete(&one(&line)).await.status, 204);
    let now = ann.get(&path(&deal)).await.expect(200);
    assert_eq!((&now["amount"], &now["amount_source"]), (&json!("0.00"), &json!("MANUAL")));
    ann.patch(&path(&deal), &json!({"amount": "5", "currency": "USD"})).await.expect(200);
    let history = ann.get(&format!("{}history/?limit=2", path(&deal))).await.expect(200);
    let fields = &history["results"][1]["fields"];
    assert_eq!(fields["amount"], json!(["49.90", "0.00"]));
    assert_eq!((&fields["lines"][0]["name"], &fields["lines"][1]), (&json!("Chair"), &Value::Null));
}

#[actix_web::test]
async fn the_amount_is_the_sum_of_the_lines_whatever_is_done_to_them() {
    let ann = TestApp::new().await.founder().await;
    let deal = ann.deal(json!({"name": "Chairs", "currency": "EUR"})).await;
    let mut rng = StdRng::seed_from_u64(3);
    let mut there: Vec<Value> = Vec::new();
    for round in 0..40 {
        let fixed = rng.random_bool(0.5);
        let body = json!({
            "name": format!("Line {round}"),
            "quantity": format!("{}.{:02}", rng.random_range(1..20), rng.random_range(0..100)),
            "unit_price": format!("{}.{:02}", rng.random_range(0..500), rng.random_range(0..100)),
            "discount_type": if fixed { "FIXED" } else { "PERCENTAGE" },
            "discount_value": format!("{}.{:02}", rng.random_range(0..60), rng.random_range(0..100)),
        });
        let reply = match rng.random_range(0..3) {
            1 if !there.is_empty() => {
                let at = rng.random_range(0..there.len());
                ann.put(&one(&there[at]), &body).await
            }
            2 if !there.is_empty() => {
                let at = rng.random_range(0..there.len());
                ann.delete(&one(&there.remove(at))).await
            }
            _ => ann.post(&lines(&deal), &body).await,
        };
        match reply.status {
            201 => there.push(reply.json()),
            200 | 204 => {}
            _ => assert_eq!(reply.problem(422).1, ["discount_value"], "{body}"),
        }
        let page = ann.get(&format!("{}?limit=200", lines(&deal))).await.expect(200);
        let cents = |value: &Value| value.as_str().unwrap().replace('.', "").parse::<i64>().unwrap();
        let sum: i64 = page["results"].as_array().unwrap().iter().map(|line| cents(&line["total"])).sum();
        let now = ann.get(&path(&deal)).await.expect(200);
        let source = if there.is_empty() { "MANUAL" } else { "CALCULATED" };
        assert_eq!(now["amount_source"], source);
        if !(there.is_empty() && now["amount"].is_null()) {
            assert_eq!(cents(&now["amount"]), sum, "{body}");
        }
    }
}

#[actix_web::test]
async fn bad_lines_are_refused_by_field_and_nothing_is_written() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let deal = ann.deal(json!({"name": "Chairs", "currency": "EUR"})).await;
    let dollars = ann.product(json!({"name": "A", "currency": "USD"})).await;
    let old = ann.product(json!({"name": "B", "currency": "EUR", "is_active": false})).await;
    let theirs = eve.product(json!({"name": "C", "currency": "EUR"})).await;
    for (body, status, field) in [
        (json!({}), 422, "name"),
        (json!({"name": "a", "quantity": "0"}), 422, "quantity"),
        (json!({"name": "a", "quantity": "-1"}), 422, "quantity"),
        (json!({"name": "a", "quantity": "1.001"}), 422, "quantity"),
        (json!({"name": "a", "quantity": []}), 400, "quantity"),
        (json!({"name": "a", "unit_price": "-1"}), 422, "unit_price"),
        (json!({"name": "a", "unit_price": "0.001"}), 422, "unit_price"),
        (json!({"name": "a", "quantity": "999999999", "unit_price": "999999999"}), 422, "quantity"),
        (json!({"name": "a", "discount_value": "5"}), 422, "discount_type"),
        (
            json!({"name": "a", "unit_price": "1", "discount_type": "FIXED", "discount_value": "1.01"}),
            422,
            "discount_value",
        ),
        (
            json!({"name": "a", "discount_type": "PERCENTAGE", "discount_value": "100.01"}),
            422,
            "discount_value",
        ),
        (json!({"name": "a", "discount_type": "PERCENTAGE", "discount_value": "-1"}), 422, "discount_value"),
        (json!({"name": "a", "discount_type": "HALF"}), 422, "discount_type"),
        (json!({"name": "a", "sort_order": -1}), 422, "sort_order"),
        (json!({"name": "a", "total": "5"}), 400, "total"),
        (json!({"product_id": dollars["id"]}), 422, "product_id"),
        (json!({"product_id": old["id"]}), 422, "product_id"),
        (json!({"product_id": theirs["id"]}), 422, "product_id"),
    ] {
        assert_eq!(ann.post(&lines(&deal), &body).await.problem(status).1, [field], "{body}");
    }
    assert_eq!(ann.get(&lines(&deal)).await.expect(200)["results"], json!([]));
    assert_eq!(ann.get(&path(&deal)).await.expect(200)["version"], 1);
}

#[actix_web::test]
async fn a_line_takes_name_and_price_from_its_product_and_may_be_free() {
    let ann = TestApp::new().await.founder().await;
    let product = ann.product(json!({"name": "Chair", "price": "49.90", "currency": "CHF"})).await;
    let deal = ann.deal(json!({"name": "Chairs"})).await;
    let line =
        ann.post(&lines(&deal), &json!({"product_id": product["id"], "quantity": 2})).await.expect(201);
    assert_eq!((&line["name"], &line["total"]), (&json!("Chair"), &json!("99.80")));
    assert_eq!(
        ann.get(&path(&deal)).await.expect(200)["currency"],
        "CHF",
        "a deal without a currency takes the product's"
    );
    let free = json!({"product_id": product["id"], "unit_price": "0", "sort_order": 1});
    let free = ann.post(&lines(&deal), &free).await.expect(201);
    assert_eq!(free["total"], "0.00", "0 is free");
    ann.patch(&format!("/api/products/{}/", product["id"].as_str().unwrap()), &json!({"price": "60"}))
        .await
        .expect(200);
    assert_eq!(ann.patch(&one(&line), &json!({"quantity": 3})).await.expect(200)["total"], "149.70");
    ann.delete(&format!("/api/products/{}/", product["id"].as_str().unwrap())).await;
    let page = ann.get(&lines(&deal)).await.expect(200);
    assert_eq!(page["results"][0]["name"], "Chair", "a line keeps what it was made with");
    assert_eq!(
        (&page["results"][0]["product_id"], page["results"].as_array().unwrap().len()),
        (&Value::Null, 2)
    );
}

#[actix_web::test]
async fn the_last_line_of_a_won_deal_stays() {
    let ann = TestApp::new().await.founder().await;
    let deal = ann.deal(json!({"name": "Chairs"})).await;
    let line = ann.post(&lines(&deal), &json!({"name": "Chair", "unit_price": "5"})).await.expect(201);
    ann.patch(&path(&deal), &json!({"stage": "CLOSED_WON"})).await.expect(200);
    assert_eq!(ann.delete(&one(&line)).await.problem(422).1, ["amount"]);
    assert_eq!(ann.get(&one(&line)).await.status, 200);
}

#[actix_web::test]
async fn lines_are_for_those_who_see_and_change_their_deal() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let deal = ann.deal(json!({"name": "Ann's"})).await;
    let line = ann.post(&lines(&deal), &json!({"name": "Chair", "unit_price": "5"})).await.expect(201);
    for reply in [
        bob.get(&lines(&deal)).await,
        bob.post(&lines(&deal), &json!({"name": "x"})).await,
        bob.get(&one(&line)).await,
        bob.patch(&one(&line), &json!({"name": "x"})).await,
        bob.delete(&one(&line)).await,
    ] {
        assert_eq!(reply.problem(404).0, "not_found");
    }
    ann.patch(&path(&deal), &json!({"assigned_to": [bob.member_id()]})).await.expect(200);
    bob.patch(&one(&line), &json!({"unit_price": "6"})).await.expect(200);
    assert_eq!(
        bob.get(&path(&deal)).await.expect(200)["amount"].as_str().unwrap().trim_end_matches(".00"),
        "6"
    );
}
