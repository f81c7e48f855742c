use serde_json::{Value, json};

use crate::app::TestApp;

fn path(record: &Value) -> String {
    format!("/api/products/{}/", record["id"].as_str().unwrap())
}

#[actix_web::test]
async fn a_product_is_created_read_changed_and_deleted() {
    let ann = TestApp::new().await.founder().await;
    let body =
        json!({"name": " Chair ", "sku": "CH-1", "price": "49.9", "currency": "EUR", "category": "Seats"});
    let product = ann.post("/api/products/", &body).await.expect(201);
    assert_eq!(
        (&product["name"], &product["price"], &product["is_active"]),
        (&json!("Chair"), &json!("49.90"), &json!(true))
    );
    assert_eq!(ann.get(&path(&product)).await.expect(200), product);
    let changed = ann.patch(&path(&product), &json!({"is_active": false})).await.expect(200);
    assert_eq!((&changed["version"], &changed["price"]), (&json!(2), &json!("49.90")));
    let replaced = ann.put(&path(&product), &json!({"name": "Stool"})).await.expect(200);
    assert_eq!((&replaced["sku"], &replaced["is_active"]), (&Value::Null, &json!(true)));
    assert_eq!(replaced["price"].as_str().unwrap().trim_end_matches(['0', '.']), "", "free unless told");
    assert_eq!(ann.delete(&path(&product)).await.status, 204);
    assert_eq!(ann.get(&path(&product)).await.problem(404).0, "not_found");
}

#[actix_web::test]
async fn bad_products_are_refused_by_field() {
    let ann = TestApp::new().await.founder().await;
    ann.post("/api/products/", &json!({"name": "Chair", "sku": "CH-1"})).await.expect(201);
    for (body, status, code, field) in [
        (json!({}), 422, "validation_failed", "name"),
        (json!({"name": ""}), 422, "validation_failed", "name"),
        (json!({"name": "a", "price": "-1"}), 422, "validation_failed", "price"),
        (json!({"name": "a", "price": "1.5", "currency": "JPY"}), 422, "validation_failed", "price"),
        (json!({"name": "a", "price": null}), 400, "malformed_request", "price"),
        (json!({"name": "a", "currency": "XXY"}), 422, "validation_failed", "currency"),
        (json!({"name": "a", "sku": "x".repeat(101)}), 422, "validation_failed", "sku"),
        (json!({"name": "a", "sku": "CH-1"}), 409, "duplicate", "sku"),
        (json!({"name": "a", "custom_fields": {"x": 1}}), 422, "validation_failed", "custom_fields.x"),
    ] {
        let (got, fields) = ann.post("/api/products/", &body).await.problem(status);
        assert_eq!((got.as_str(), fields), (code, vec![field.to_owned()]), "{body}");
    }
    assert_eq!(ann.get("/api/products/?count=true").await.expect(200)["count"], 1);
}

#[actix_web::test]
async fn everybody_reads_the_catalogue_and_users_change_nothing_in_it() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let body = json!({"name": "Oak chair", "sku": "CH-1", "category": "Seats"});
    let product = ann.post("/api/products/", &body).await.expect(201);
    assert_eq!(bob.get("/api/products/?search=oak&count=true").await.expect(200)["count"], 1);
    assert_eq!(bob.get("/api/search/?q=ch-1").await.expect(200)["results"][0]["id"], product["id"]);
    assert_eq!(bob.get("/api/products/?category=Tables&count=true").await.expect(200)["count"], 0);
    assert_eq!(bob.post("/api/products/", &body).await.problem(403).0, "forbidden");
    assert_eq!(bob.patch(&path(&product), &json!({"name": "x"})).await.problem(403).0, "forbidden");
    assert_eq!(bob.delete(&path(&product)).await.problem(403).0, "forbidden");
}
