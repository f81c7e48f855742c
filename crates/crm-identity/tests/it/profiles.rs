use crm_core::{Code, Result};
use crm_identity::profile::{self, Profile};
use crm_records::{Edit, Precondition};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Person, World, faults, patch, put, refusal};

async fn find(world: &World, who: &Person) -> Profile {
    world.tenant(who, async |t| profile::find(t).await).await.unwrap()
}

async fn update(world: &World, who: &Person, edit: Edit) -> Result<Profile> {
    world.tenant(who, async |t| profile::update(t, edit).await).await
}

#[tokio::test]
async fn a_profile_says_what_one_is_and_may_do() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "FLORIST").await;
    let profile = find(world, &ann).await;
    assert!(profile.is_admin && profile.permissions.contains_key("users"));
    let profile = find(world, &bob).await;
    assert_eq!((profile.name.as_str(), profile.org.name.as_str(), profile.is_admin), ("Bob", "Acme", false));
    assert_eq!(
        profile.permissions.keys().map(String::as_str).collect::<Vec<_>>(),
        ["inventory", "orders", "products"]
    );
    assert!(profile.teams.is_empty());
    let shown = serde_json::to_value(&profile).unwrap();
    assert_eq!((&shown["role"], &shown["state"]), (&json!("FLORIST"), &json!("active")));
}

#[tokio::test]
async fn one_changes_ones_own_name_and_phone() {
    let world = World::shared().await;
    let bob = {
        let ann = world.founder().await;
        world.joined(&ann, "USER").await
    };
    let changed =
        update(world, &bob, patch(json!({"name": " Bob Stone ", "phone": "+49 30 1234567"}))).await.unwrap();
    assert_eq!(
        (changed.name.as_str(), changed.member.user_details.name.as_str()),
        ("Bob Stone", "Bob Stone")
    );
    assert_eq!(
        (changed.member.fields.phone.as_deref(), changed.member.base.version),
        (Some("+49 30 1234567"), 3)
    );
    assert_eq!(world.identity.me(&bob.claims).await.unwrap().user.name, "Bob Stone", "everywhere");
    let cleared = update(world, &bob, patch(json!({"phone": ""}))).await.unwrap();
    assert_eq!(cleared.member.fields.phone, None);
    let same = update(world, &bob, put(serde_json::to_value(&cleared).unwrap())).await.unwrap();
    assert_eq!(same.member.base.version, cleared.member.base.version, "what was read can be written back");
    let stale =
        Edit { precondition: Precondition { if_match: Some(vec![1]) }, ..patch(json!({"name": "Bobby"})) };
    assert_eq!(refusal(update(world, &bob, stale).await), Code::StaleVersion);
}

#[tokio::test]
async fn one_changes_nothing_else_of_oneself() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    for (field, value, code) in [
        ("role", json!("ADMIN"), Code::ReadOnlyField),
        ("role_id", json!(Uuid::now_v7()), Code::ReadOnlyField),
        ("is_admin", json!(true), Code::ReadOnlyField),
        ("permissions", json!({"users": {"actions": ["view"], "scope": "all"}}), Code::ReadOnlyField),
        ("has_sales_access", json!(true), Code::ReadOnlyField),
        ("state", json!("removed"), Code::ReadOnlyField),
        ("is_organization_admin", json!(true), Code::MalformedRequest),
        ("email", json!("mine@example.com"), Code::MalformedRequest),
        ("name", json!(""), Code::ValidationFailed),
        ("name", json!("two\nlines"), Code::ValidationFailed),
        ("phone", json!("call me"), Code::ValidationFailed),
    ] {
        let refused = update(world, &bob, patch(json!({field: value}))).await;
        assert_eq!(faults(refused), (code, vec![field.to_owned()]));
    }
    let same = patch(json!({"role": "USER", "has_sales_access": false}));
    assert!(update(world, &bob, same).await.is_ok(), "repeating what is stored changes nothing");
}
