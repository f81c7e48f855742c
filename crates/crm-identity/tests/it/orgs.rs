use crm_access::BuiltinRole;
use crm_core::{Code, OrgId};
use crm_identity::members;
use crm_identity::orgs::{self, NewOrg};
use crm_records::list::Params;
use crm_records::{Edit, Precondition};
use crm_schema::security_events;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use crate::support::{Person, World, body, client, faults, new_org, patch, put, refusal};

async fn change(world: &World, who: &Person, edit: Edit) -> crm_core::Result<orgs::Organization> {
    world.tenant(who, async |t| orgs::change_settings(t, &client(), edit).await).await
}

#[tokio::test]
async fn a_founder_administers_a_new_organization() {
    let world = World::shared().await;
    let person = world.person().await;
    let new: NewOrg =
        body(json!({"name": " Acme ", "currency": "EUR", "country": "DE", "timezone": "Europe/Berlin"}))
            .unwrap();
    let org = world.identity.create_org(&client(), &person.claims, new).await.unwrap();
    assert_eq!((org.fields.name.as_str(), org.fields.currency.as_str()), ("Acme", "EUR"));
    assert_eq!((org.fields.country.as_deref(), org.fields.timezone.as_str()), (Some("DE"), "Europe/Berlin"));
    assert_eq!((org.version, org.member_count), (1, 1));
    assert_eq!(world.last_event(&person).await, ("org_created".into(), true));
    let founder = world.switched(&person, org.id).await;
    let member = world.membership(&founder).await;
    assert_eq!((member.fields.role.as_str(), member.is_active), ("ADMIN", true));
    assert_eq!(member.user_details.id, Some(person.claims.user));
    assert!(member.fields.date_of_joining.is_some());
    let roles = world
        .tenant(&founder, async |t| crm_identity::roles::list(t, &Params::of(&[("count", "true")])).await)
        .await
        .unwrap();
    assert_eq!(roles.count, Some(BuiltinRole::WORDS.len().try_into().unwrap()));
}

#[tokio::test]
async fn two_organizations_may_bear_one_name() {
    let world = World::shared().await;
    let (ann, bob) = (world.founder().await, world.founder().await);
    assert_eq!(world.org(&ann).await.fields.name, world.org(&bob).await.fields.name);
    assert_ne!(ann.claims.org, bob.claims.org);
}

#[test]
fn a_new_organization_is_judged_field_by_field() {
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("  ")),
        ("name", json!("x".repeat(101))),
        ("name", json!("two\nlines")),
        ("currency", json!("XXY")),
        ("currency", json!("eur")),
        ("country", json!("Germany")),
        ("timezone", json!("+02:00")),
        ("id", json!(OrgId::generate())),
        ("is_active", json!(false)),
    ] {
        let mut wrong = json!({"name": "Acme"});
        wrong[field] = value.clone();
        assert_eq!(faults(body::<NewOrg>(wrong)).1, [field], "{value}");
    }
    assert!(body::<NewOrg>(json!({"name": "x".repeat(100)})).is_ok());
}

#[tokio::test]
async fn a_platform_administrator_founds_nothing() {
    let world = World::shared().await;
    let root = world.root().await;
    assert_eq!(
        refusal(world.identity.create_org(&client(), &root.claims, new_org("Acme")).await),
        Code::Forbidden
    );
}

#[tokio::test]
async fn ones_own_organization_is_the_only_one_there_is() {
    let world = World::shared().await;
    let (ann, bob) = (world.founder().await, world.founder().await);
    let foreign = bob.claims.org.unwrap();
    let own = world.tenant(&ann, async |t| orgs::find(t, t.org()).await).await.unwrap();
    assert_eq!(Some(own.id), ann.claims.org);
    let mut answers = Vec::new();
    for id in [foreign, OrgId::generate()] {
        let read = world.tenant(&ann, async |t| orgs::find(t, id).await).await.unwrap_err();
        let rename = patch(json!({"name": "Mine"}));
        let write =
            world.tenant(&ann, async |t| orgs::update(t, &client(), id, rename).await).await.unwrap_err();
        assert_eq!((read.code(), write.code()), (Code::NotFound, Code::NotFound));
        answers.push((read.to_string(), write.to_string()));
    }
    assert_eq!(answers[0], answers[1], "a foreign organization looks like none");
    assert_eq!(world.org(&bob).await.fields.name, "Acme");
}

#[tokio::test]
async fn a_member_reads_the_settings_and_an_administrator_writes_them() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    let org = world.org(&bob).await;
    assert_eq!((org.fields.name.as_str(), org.member_count), ("Acme", 2));
    let refused = change(world, &bob, patch(json!({"name": "Bob's"}))).await;
    assert_eq!(refusal(refused), Code::Forbidden);
    let settings = json!({
        "name": "Umbrella", "currency": "JPY", "country": "JP", "timezone": "Asia/Tokyo", "company_name": "Umbrella KK",
        "address_line": "1-1", "city": "Tokyo", "state": "Tokyo", "postcode": "100-0001", "phone": "+81 3 1234 5678",
        "email": "office@umbrella.example", "website": "https://umbrella.example", "tax_id": "T123",
    });
    let new = change(world, &ann, patch(settings.clone())).await.unwrap();
    assert_eq!((serde_json::to_value(&new.fields).unwrap(), new.version), (settings, 2));
    assert_eq!(world.last_event(&ann).await, ("org_changed".into(), true));
    let cleared =
        change(world, &ann, patch(json!({"phone": null, "country": null, "city": ""}))).await.unwrap();
    assert_eq!(
        (cleared.fields.phone.as_str(), cleared.fields.country, cleared.fields.city.as_str()),
        ("", None, "")
    );
    assert_eq!(cleared.fields.company_name, "Umbrella KK");
    let same = change(world, &ann, patch(json!({"company_name": "Umbrella KK"}))).await.unwrap();
    assert_eq!(same.version, cleared.version, "nothing changed");
}

#[tokio::test]
async fn settings_are_judged_field_by_field() {
    let world = World::shared().await;
    let ann = world.founder().await;
    for (field, value, code) in [
        ("name", json!(""), Code::ValidationFailed),
        ("name", json!(null), Code::MalformedRequest),
        ("currency", json!("???"), Code::ValidationFailed),
        ("timezone", json!("Berlin"), Code::ValidationFailed),
        ("country", json!("DEU"), Code::ValidationFailed),
        ("phone", json!("call me"), Code::ValidationFailed),
        ("email", json!("nobody"), Code::ValidationFailed),
        ("website", json!("javascript:alert(1)"), Code::ValidationFailed),
        ("city", json!("x".repeat(101)), Code::ValidationFailed),
        ("is_active", json!(false), Code::MalformedRequest),
        ("member_count", json!(7), Code::ReadOnlyField),
        ("id", json!(OrgId::generate()), Code::ReadOnlyField),
    ] {
        let refused = change(world, &ann, patch(json!({field: value}))).await;
        assert_eq!(faults(refused), (code, vec![field.to_owned()]), "{value}");
    }
    assert_eq!(world.org(&ann).await.version, 1);
}

#[tokio::test]
async fn a_put_by_id_renames_and_keeps_the_rest() {
    let world = World::shared().await;
    let ann = world.founder().await;
    change(world, &ann, patch(json!({"timezone": "Europe/Berlin"}))).await.unwrap();
    let update =
        async |edit| world.tenant(&ann, async |t| orgs::update(t, &client(), t.org(), edit).await).await;
    let renamed = update(put(json!({"name": "Umbrella"}))).await.unwrap();
    assert_eq!(
        (renamed.fields.name.as_str(), renamed.fields.timezone.as_str()),
        ("Umbrella", "Europe/Berlin")
    );
    assert_eq!(
        faults(update(put(json!({"city": "Ulm"}))).await),
        (Code::ValidationFailed, vec!["name".into()])
    );
    let whole = serde_json::to_value(&renamed).unwrap();
    assert_eq!(
        update(put(whole)).await.unwrap().version,
        renamed.version,
        "what was read can be written back"
    );
}

#[tokio::test]
async fn the_audit_trail_keeps_the_values_of_settings_that_concern_nobody() {
    let world = World::shared().await;
    let ann = world.founder().await;
    change(world, &ann, patch(json!({"name": "Umbrella", "phone": "+49 30 1234567"}))).await.unwrap();
    let of = security_events::org_id.eq(ann.claims.org).and(security_events::event.eq("org_changed"));
    let written = security_events::table.filter(of).select(security_events::detail);
    let detail: Value = world
        .db
        .platform(async |p| written.first(p.conn()?).await.map_err(crm_core::Error::from))
        .await
        .unwrap();
    assert_eq!(detail["values"], json!({"name": ["Acme", "Umbrella"]}));
    let mut fields: Vec<_> = detail["fields"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["name", "phone"]);
}

#[tokio::test]
async fn a_stale_version_changes_nothing() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let at = |version| Edit {
        precondition: Precondition { if_match: Some(vec![version]) },
        ..patch(json!({"city": "Ulm"}))
    };
    assert_eq!(refusal(change(world, &ann, at(7)).await), Code::StaleVersion);
    assert_eq!(change(world, &ann, at(1)).await.unwrap().version, 2);
}

#[tokio::test]
async fn only_active_members_are_counted() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    world.invited(&ann, &crate::support::address("example.com"), "USER").await;
    assert_eq!(world.org(&ann).await.member_count, 2);
    world.tenant(&bob, async |t| members::leave(t, &client()).await).await.unwrap();
    assert_eq!(world.org(&ann).await.member_count, 1);
}
