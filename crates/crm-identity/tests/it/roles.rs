use crm_core::{Code, Result};
use crm_identity::roles::{self, Role, RoleFields};
use crm_records::list::{Params, Shaped};
use crm_records::{Edit, Precondition};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Person, World, address, body, client, faults, invite, patch, put, refusal};

async fn create(world: &World, who: &Person, fields: Value) -> Result<Role> {
    world.tenant(who, async |t| roles::create(t, &client(), body(fields)?).await).await
}

async fn update(world: &World, who: &Person, id: Uuid, edit: Edit) -> Result<Role> {
    world.tenant(who, async |t| roles::update(t, &client(), id, edit).await).await
}

async fn delete(world: &World, who: &Person, id: Uuid) -> Result<()> {
    world.tenant(who, async |t| roles::delete(t, &client(), id, &Precondition::default()).await).await
}

/// Somebody in a new role with these grants.
async fn holder(world: &World, admin: &Person, name: &str, grants: Value) -> Person {
    create(world, admin, json!({"name": name, "grants": grants})).await.unwrap();
    world.joined(admin, name).await
}

#[tokio::test]
async fn built_in_roles_are_listed_with_their_grants_and_stay_as_they_are() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let params = Params::of(&[("ordering", "name"), ("is_builtin", "true")]);
    let page = world.tenant(&ann, async |t| roles::list(t, &params).await).await.unwrap();
    let listed: Vec<Role> = page
        .results
        .into_iter()
        .map(|shaped| match shaped {
            Shaped::Plain(role) => role,
            Shaped::Value(value) => panic!("{value}"),
        })
        .collect();
    let names: Vec<_> = listed.iter().map(|role| role.fields.name.as_str()).collect();
    assert_eq!(names, ["ADMIN", "COURIER", "FLORIST", "MANAGER", "OWNER", "USER"]);
    for role in listed {
        assert!(role.is_builtin && !role.fields.grants.is_empty(), "{}", role.fields.name);
        let id = role.base.id;
        assert_eq!(
            refusal(update(world, &ann, id, patch(json!({"description": "x"}))).await),
            Code::Forbidden
        );
        assert_eq!(refusal(delete(world, &ann, id).await), Code::Forbidden);
    }
}

#[tokio::test]
async fn a_custom_role_is_made_changed_and_deleted() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let grants = json!({"leads": {"actions": ["view", "add"], "scope": "own"}});
    let made = create(world, &ann, json!({"name": " Sales ", "description": "sells", "grants": grants}))
        .await
        .unwrap();
    assert_eq!((made.fields.name.as_str(), made.base.version, made.is_builtin), ("Sales", 1, false));
    assert_eq!(serde_json::to_value(&made.fields.grants).unwrap(), grants);
    assert_eq!(world.last_event(&ann).await, ("role_changed".into(), true));
    let more = json!({"grants": {"tasks": {"actions": ["view"], "scope": "all"}}});
    let changed = update(world, &ann, made.base.id, patch(more)).await.unwrap();
    assert_eq!(changed.base.version, 2);
    let modules: Vec<_> = changed.fields.grants.keys().map(String::as_str).collect();
    assert_eq!(modules, ["leads", "tasks"], "a merge patch merges");
    let replaced = update(world, &ann, made.base.id, put(json!({"name": "Sales"}))).await.unwrap();
    assert!(replaced.fields.grants.is_empty() && replaced.fields.description.is_empty());
    delete(world, &ann, made.base.id).await.unwrap();
    let read = world.tenant(&ann, async |t| roles::find(t, made.base.id).await).await;
    assert_eq!(refusal(read), Code::NotFound);
}

#[tokio::test]
async fn a_name_belongs_to_one_role() {
    let world = World::shared().await;
    let (ann, bob) = (world.founder().await, world.founder().await);
    let sales = create(world, &ann, json!({"name": "Sales"})).await.unwrap();
    let other = create(world, &ann, json!({"name": "Support"})).await.unwrap();
    for name in ["Sales", "SALES", "admin", "User"] {
        let again = create(world, &ann, json!({"name": name})).await;
        assert_eq!(faults(again), (Code::Duplicate, vec!["name".into()]), "{name}");
    }
    let renamed = update(world, &ann, other.base.id, patch(json!({"name": "sales"}))).await;
    assert_eq!(faults(renamed), (Code::Duplicate, vec!["name".into()]));
    create(world, &bob, json!({"name": "Sales"})).await.unwrap();
    assert_eq!(
        refusal(update(world, &bob, sales.base.id, patch(json!({"name": "Mine"}))).await),
        Code::NotFound
    );
    assert_eq!(refusal(delete(world, &bob, sales.base.id).await), Code::NotFound);
}

#[tokio::test]
async fn grants_are_judged_one_by_one() {
    let world = World::shared().await;
    let ann = world.founder().await;
    for (grants, field) in [
        (json!({"lead": {"actions": ["view"], "scope": "all"}}), "grants.lead"),
        (json!({"leads": {"actions": ["steal"], "scope": "all"}}), "grants.leads.actions.0"),
        (json!({"leads": {"actions": [], "scope": "all"}}), "grants.leads.actions"),
        (json!({"users": {"actions": ["view"], "scope": "own"}}), "grants.users.scope"),
        (json!({"leads": {"actions": ["view"], "scope": "mine"}}), "grants.leads.scope"),
    ] {
        let refused = create(world, &ann, json!({"name": "Sales", "grants": grants})).await;
        assert_eq!(faults(refused), (Code::ValidationFailed, vec![field.to_owned()]));
    }
    assert_eq!(faults(body::<RoleFields>(json!({"name": ""}))).1, ["name"]);
    assert_eq!(faults(body::<RoleFields>(json!({"name": "x".repeat(51)}))).1, ["name"]);
}

#[tokio::test]
async fn roles_need_permission() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    let role = create(world, &ann, json!({"name": "Sales"})).await.unwrap().base.id;
    assert_eq!(
        refusal(world.tenant(&bob, async |t| roles::list(t, &Params::default()).await).await),
        Code::Forbidden
    );
    assert_eq!(refusal(world.tenant(&bob, async |t| roles::find(t, role).await).await), Code::Forbidden);
    assert_eq!(refusal(create(world, &bob, json!({"name": "Mine"})).await), Code::Forbidden);
    assert_eq!(refusal(update(world, &bob, role, patch(json!({"name": "Mine"}))).await), Code::Forbidden);
    assert_eq!(refusal(delete(world, &bob, role).await), Code::Forbidden);
}

#[tokio::test]
async fn a_role_that_somebody_has_is_not_deleted() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let role = create(world, &ann, json!({"name": "Sales"})).await.unwrap().base.id;
    let (invitation, _) = world.invited(&ann, &address("example.com"), "Sales").await;
    assert_eq!(refusal(delete(world, &ann, role).await), Code::InUse);
    let id = invitation.base.id;
    let remove = async || {
        world
            .tenant(&ann, async |t| {
                crm_identity::members::remove(t, &client(), id, &Precondition::default()).await
            })
            .await
    };
    remove().await.unwrap();
    delete(world, &ann, role).await.unwrap();
}

#[tokio::test]
async fn nobody_hands_out_more_than_they_have() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let all = json!(["view", "add", "change", "delete"]);
    let manager = holder(
        world,
        &ann,
        "Manager of people",
        json!({
            "roles": {"actions": all, "scope": "all"}, "users": {"actions": all, "scope": "all"},
            "leads": {"actions": ["view", "change"], "scope": "own"},
        }),
    )
    .await;
    let within = json!({"leads": {"actions": ["view"], "scope": "own"}});
    let own = create(world, &manager, json!({"name": "Junior", "grants": within})).await.unwrap();
    for beyond in [
        json!({"leads": {"actions": ["view"], "scope": "all"}}),
        json!({"leads": {"actions": ["delete"], "scope": "own"}}),
        json!({"tasks": {"actions": ["view"], "scope": "own"}}),
        json!({"org": {"actions": ["change"], "scope": "all"}}),
    ] {
        let made = create(world, &manager, json!({"name": "Senior", "grants": beyond})).await;
        assert_eq!(refusal(made), Code::Forbidden, "{beyond}");
        let widened = update(world, &manager, own.base.id, patch(json!({"grants": beyond}))).await;
        assert_eq!(refusal(widened), Code::Forbidden, "{beyond}");
    }
    for role in ["ADMIN", "USER", "OWNER"] {
        let input = invite(&address("example.com"), role);
        let invited =
            world.tenant(&manager, async |t| world.identity.invite(t, &client(), input).await).await;
        assert_eq!(refusal(invited), Code::Forbidden, "{role}");
    }
    world.invited(&manager, &address("example.com"), "Junior").await;
    let admin = world.membership(&ann).await.base.id;
    let demote = patch(json!({"role": "Junior"}));
    let demoted = world
        .tenant(&manager, async |t| crm_identity::members::update(t, &client(), admin, demote).await)
        .await;
    assert_eq!(refusal(demoted), Code::Forbidden, "not even taking away is for them");
    world.joined(&ann, "ADMIN").await;
    let removed = world
        .tenant(&manager, async |t| {
            crm_identity::members::remove(t, &client(), admin, &Precondition::default()).await
        })
        .await;
    assert_eq!(refusal(removed), Code::Forbidden);
}

#[tokio::test]
async fn even_every_grant_does_not_make_an_administrator() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let everything = serde_json::to_value(crm_access::BuiltinRole::Admin.grants()).unwrap();
    let deputy = holder(world, &ann, "Deputy", everything).await;
    world.invited(&deputy, &address("example.com"), "USER").await;
    let input = invite(&address("example.com"), "ADMIN");
    let invited = world.tenant(&deputy, async |t| world.identity.invite(t, &client(), input).await).await;
    assert_eq!(refusal(invited), Code::Forbidden);
}
