//! Products as another program uses them: the service alone, on a real database as the application role.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use crm_access::BuiltinRole;
use crm_core::{Code, Error};
use crm_products::ProductFields;
use crm_records::{Precondition, RecordInput};
use crm_testkit::{member, org};
use serde_json::{Value, json};

fn input(body: Value) -> RecordInput<ProductFields> {
    RecordInput::parse(body.as_object().unwrap().clone()).unwrap()
}

#[tokio::test]
async fn an_article_number_is_unique_in_its_organization() {
    let db = crm_testkit::shared_db().await;
    let (ours, theirs) = (org(&db, "EUR").await, org(&db, "JPY").await);
    let body = json!({"name": "Chair", "sku": "CH-1", "price": "5"});
    let add = async |who| {
        let input = input(body.clone());
        db.tenant(who, async |t| crm_products::create(t, input).await).await
    };
    let product = add(&ours).await.unwrap();
    assert_eq!(product.fields.price.to_string(), "5.00");
    assert_eq!(add(&theirs).await.unwrap().fields.price.to_string(), "5");
    assert_eq!(add(&ours).await.unwrap_err().code(), Code::Duplicate);
    let id = product.base.id;
    let gone =
        db.tenant(&theirs, async |t| crm_products::delete(t, id, &Precondition::default()).await).await;
    assert!(matches!(gone, Err(Error::NotFound)));
}

#[tokio::test]
async fn the_permission_is_judged_in_the_service_itself() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let user = member(&db, &system, BuiltinRole::User).await;
    let body = json!({"name": "Chair"});
    let refused = db.tenant(&user, async |t| crm_products::create(t, input(body)).await).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))));
}
