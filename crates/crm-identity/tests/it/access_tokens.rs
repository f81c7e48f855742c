use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use crm_access::Require;
use crm_core::{Caller, Code, Error, Principal, Result, TenantTx};
use crm_identity::access_tokens::{self, CreatedAccessToken, OrgTokens, TokenTotals};
use crm_identity::{Client, Credential, TokenClaims, members, platform};
use crm_records::list::Params;
use crm_schema::{platform_admins, security_events};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Person, World, body, client, faults, patch, refusal};

async fn make(world: &World, who: &Person, wanted: Value) -> Result<CreatedAccessToken> {
    let resources = BTreeSet::from(["auth", "leads", "teams", "users"]);
    world.tenant(who, async |t| access_tokens::create(t, &client(), &resources, body(wanted)?).await).await
}

/// A token that opens everything that a token can open.
async fn made(world: &World, who: &Person) -> CreatedAccessToken {
    make(world, who, json!({"name": "Everything", "scopes": ["*:read", "*:write"]})).await.unwrap()
}

fn claims(world: &World, token: &str, method: &str, path: &str) -> TokenClaims {
    match world.identity.read_bearer(token, method, path).unwrap() {
        Credential::Token(claims) => claims,
        Credential::Session(_) => panic!("not a personal access token"),
    }
}

/// Whom the token stands for in a request.
async fn call(world: &World, token: &str, method: &str, path: &str) -> Result<Caller> {
    world.db.tenant(&claims(world, token, method, path), async |t| Ok(t.caller().clone())).await
}

/// Whether it opens the list of leads.
async fn opens(world: &World, token: &str) -> Result<Caller> {
    call(world, token, "GET", "/api/leads/").await
}

/// How a token that opens nothing is refused: always in these words.
#[track_caller]
fn is_dead(answer: Result<Caller>) {
    let Err(error) = answer else { panic!("the token opens something") };
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (Code::Unauthenticated, "the token is not valid, or no longer")
    );
}

async fn revoke(world: &World, who: &Person, id: Uuid) -> Result<()> {
    world.tenant(who, async |t| access_tokens::revoke(t, &client(), id).await).await
}

async fn own(world: &World, who: &Person) -> Vec<Value> {
    let page = world.tenant(who, async |t| access_tokens::list(t, &Params::default()).await).await.unwrap();
    serde_json::to_value(page.results).unwrap().as_array().unwrap().clone()
}

async fn all(world: &World, who: &Person) -> Result<OrgTokens> {
    world.tenant(who, async |t| access_tokens::list_all(t, &Params::default()).await).await
}

/// What the audit trail says in detail of what somebody did.
async fn details(world: &World, who: &Person) -> String {
    let of = security_events::table.filter(security_events::user_id.eq(who.claims.user));
    let details = of.select(security_events::detail);
    let details: Vec<Value> =
        world.db.platform(async |p| details.load(p.conn()?).await.map_err(Error::from)).await.unwrap();
    json!(details).to_string()
}

/// What is stored of somebody's only token.
async fn digest(world: &World, who: &Person) -> String {
    let digest = crm_schema::access_tokens::table.select(crm_schema::access_tokens::digest);
    world.tenant(who, async |t| digest.first(t.conn()?).await.map_err(Error::from)).await.unwrap()
}

#[tokio::test]
async fn a_token_acts_as_its_owner_within_its_scopes() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    let CreatedAccessToken { token, access_token } =
        make(world, &bob, json!({"name": " Sync ", "scopes": ["Leads:Read", "leads:read", "teams:write"]}))
            .await
            .unwrap();
    assert_eq!(access_token.name, "Sync");
    assert_eq!(serde_json::to_value(&access_token.scopes).unwrap(), json!(["leads:read", "teams:write"]));
    let caller = opens(world, &token).await.unwrap();
    let member = world.membership(&bob).await;
    assert_eq!((caller.user, caller.member.map(|id| id.0)), (Some(bob.claims.user), Some(member.base.id)));
    assert_eq!(
        (caller.role, caller.session, Some(caller.org.id)),
        (Some(member.role_id), None, bob.claims.org)
    );
    assert!(matches!(caller.principal, Principal::User { is_superuser: false, in_tenant: true, .. }));
    assert_eq!(caller.require("leads.view_lead").unwrap(), crm_core::Scope::Own, "no more than Bob may");
    assert!(caller.require("users.view_user").is_err());
    for (method, path, open) in [
        ("HEAD", "/api/leads/", true),
        ("POST", "/api/teams/", true),
        ("POST", "/api/leads/", false),
        ("GET", "/api/teams/", false),
        ("GET", "/api/users/", false),
        ("GET", "/api/auth/me/", false),
        ("GET", "/api/profile/tokens/", false),
    ] {
        let answer = call(world, &token, method, path).await;
        assert_eq!(
            answer.err().map(|error| error.code()),
            (!open).then_some(Code::Forbidden),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_token_without_scopes_opens_nothing() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let CreatedAccessToken { token, access_token } =
        make(world, &ann, json!({"name": "Idle"})).await.unwrap();
    assert_eq!(serde_json::to_value(&access_token.scopes).unwrap(), json!([]));
    for (method, path) in
        [("GET", "/api/leads/"), ("POST", "/api/leads/"), ("GET", "/api/auth/me/"), ("GET", "/")]
    {
        assert_eq!(refusal(call(world, &token, method, path).await), Code::Forbidden, "{method} {path}");
    }
}

#[tokio::test]
async fn whose_token_it_is_shows_no_other_organization() {
    let world = World::shared().await;
    let person = world.person().await;
    let (first, second) = (world.found(&person).await, world.found(&person).await);
    let scopes = json!({"name": "Me", "scopes": ["auth:read"]});
    let token = make(world, &first, scopes).await.unwrap().token;
    let who = world.identity.read_bearer(&token, "GET", "/api/auth/me/").unwrap();
    let me = world.identity.me_by(&who).await.unwrap();
    assert_eq!((me.user.id, me.current_org.map(|org| org.id)), (person.claims.user, first.claims.org));
    let listed: Vec<_> = me.organizations.iter().map(|org| (Some(org.id), org.role.as_str())).collect();
    assert_eq!(listed, [(first.claims.org, "ADMIN")]);
    assert_eq!(refusal(who.session().map(drop)), Code::Forbidden, "it is no session");
    let session = world.identity.me_by(&Credential::Session(second.claims)).await.unwrap();
    assert_eq!(session.organizations.len(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_new_token_is_named() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let now = world.db.clock().now();
    let many: Vec<_> = (0..33).map(|_| "leads:read").collect();
    for (wanted, code, fields) in [
        (json!({}), Code::ValidationFailed, &["name"][..]),
        (json!({"name": "  "}), Code::ValidationFailed, &["name"]),
        (json!({"name": "x".repeat(256)}), Code::ValidationFailed, &["name"]),
        (json!({"name": "two\nlines"}), Code::ValidationFailed, &["name"]),
        (json!({"name": "x", "scopes": many}), Code::ValidationFailed, &["scopes"]),
        (json!({"name": "x", "scopes": "leads:read"}), Code::MalformedRequest, &["scopes"]),
        (
            json!({"name": "x", "scopes": ["leads:read", "leads", "pets:read"]}),
            Code::ValidationFailed,
            &["scopes.1", "scopes.2"],
        ),
        (json!({"name": "x", "expires_at": now}), Code::ValidationFailed, &["expires_at"]),
        (
            json!({"name": "x", "expires_at": now + TimeDelta::days(367)}),
            Code::ValidationFailed,
            &["expires_at"],
        ),
        (json!({"name": "x", "expires_at": "tomorrow"}), Code::ValidationFailed, &["expires_at"]),
        (json!({"name": "x", "token": "mine"}), Code::MalformedRequest, &["token"]),
        (json!({"name": "x", "created_by": ann.claims.user}), Code::MalformedRequest, &["created_by"]),
    ] {
        let fields = fields.iter().map(ToString::to_string).collect();
        assert_eq!(faults(make(world, &ann, wanted.clone()).await), (code, fields), "{wanted}");
    }
    assert_eq!(own(world, &ann).await, Vec::<Value>::new(), "nothing was made");
    let until = now + TimeDelta::days(365);
    let made = make(world, &ann, json!({"name": "x", "expires_at": until})).await.unwrap();
    assert_eq!(made.access_token.expires_at, until);
}

#[tokio::test]
async fn a_token_ends_by_itself() {
    let world = World::fresh().await;
    let ann = world.founder().await;
    let CreatedAccessToken { token, access_token } = made(&world, &ann).await;
    assert_eq!(access_token.expires_at - access_token.created_at, TimeDelta::days(90));
    world.db.clock().advance(TimeDelta::days(90) - TimeDelta::minutes(1));
    opens(&world, &token).await.unwrap();
    world.db.clock().advance(TimeDelta::minutes(1));
    is_dead(opens(&world, &token).await);
}

#[tokio::test]
async fn a_revoked_token_is_dead_at_once_and_stays_so() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let (first, second) = (made(world, &ann).await, made(world, &ann).await);
    opens(world, &first.token).await.unwrap();
    revoke(world, &ann, first.access_token.id).await.unwrap();
    is_dead(opens(world, &first.token).await);
    opens(world, &second.token).await.unwrap();
    let stamp = own(world, &ann).await[1]["revoked_at"].clone();
    assert!(stamp.is_string());
    revoke(world, &ann, first.access_token.id).await.unwrap();
    assert_eq!(own(world, &ann).await[1]["revoked_at"], stamp);
    let events = world.events(&ann).await;
    let count = |kind: &str| events.iter().filter(|(event, success)| event == kind && *success).count();
    assert_eq!((count("token_created"), count("token_revoked")), (2, 1));
}

#[tokio::test]
async fn whatever_is_no_token_of_the_organization_is_answered_alike() {
    let world = World::shared().await;
    let (ann, eve) = (world.founder().await, world.founder().await);
    let (anns, eves) = (made(world, &ann).await.token, made(world, &eve).await.token);
    // Forty-three characters of the random part, then the organization's.
    let swapped = format!("{}{}", &anns[..51], &eves[51..]);
    assert_ne!(swapped, anns);
    for forged in
        [swapped.as_str(), &anns[..71], &format!("{anns}A"), "amp_pat_", "amp_pat_!", &anns.to_uppercase()]
    {
        match world.identity.read_bearer(forged, "GET", "/api/leads/") {
            Ok(Credential::Token(claims)) => {
                is_dead(world.db.tenant(&claims, async |t| Ok(t.caller().clone())).await)
            }
            Ok(Credential::Session(_)) => panic!("{forged}"),
            Err(error) => assert_eq!(error.code(), Code::Unauthenticated, "{forged}"),
        }
    }
}

#[tokio::test]
async fn a_token_is_as_dead_as_its_owners_membership() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let root = world.root().await;
    let root = world.identity.signed_in(&root.claims).await.unwrap();
    let org = ann.claims.org.unwrap();

    let bob = world.joined(&ann, "USER").await;
    let token = made(world, &bob).await.token;
    let id = world.membership(&bob).await.base.id;
    let status = async |status: &str| {
        let change = body(json!({"status": status})).unwrap();
        world.tenant(&ann, async |t| members::change_status(t, &client(), id, change).await).await.unwrap()
    };
    status("inactive").await;
    is_dead(opens(world, &token).await);
    status("active").await;
    opens(world, &token).await.unwrap();

    world.db.platform(async |p| platform::suspend_org(p, &client(), &root, org).await).await.unwrap();
    is_dead(opens(world, &token).await);
    world.db.platform(async |p| platform::resume_org(p, &client(), &root, org).await).await.unwrap();
    opens(world, &token).await.unwrap();

    world.tenant(&ann, async |t| members::remove(t, &client(), id, &Default::default()).await).await.unwrap();
    is_dead(opens(world, &token).await);
    let (_, invitation) = world.invited(&ann, &bob.email, "USER").await;
    let accepted = crate::support::acceptance(&invitation);
    world.identity.accept_invitation(&client(), Some(&bob.claims), accepted).await.unwrap();
    is_dead(opens(world, &token).await);
    opens(world, &made(world, &bob).await.token).await.unwrap();

    let cid = world.joined(&ann, "USER").await;
    let token = made(world, &cid).await.token;
    world.shut_out(&cid).await;
    is_dead(opens(world, &token).await);
}

#[tokio::test]
async fn no_token_works_for_a_platform_administrator() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let token = made(world, &ann).await.token;
    let row = (
        platform_admins::user_id.eq(ann.claims.user),
        platform_admins::is_superuser.eq(true),
        platform_admins::granted_by.eq("test"),
        platform_admins::granted_at.eq(world.db.clock().now()),
    );
    let insert = diesel::insert_into(platform_admins::table).values(row);
    world.db.platform(async |p| insert.execute(p.conn()?).await.map_err(Error::from)).await.unwrap();
    is_dead(opens(world, &token).await);
}

#[tokio::test]
async fn a_change_of_role_counts_at_the_next_request() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "ADMIN").await;
    let token = made(world, &bob).await.token;
    assert!(opens(world, &token).await.unwrap().require("users.delete_user").is_ok());
    let id = world.membership(&bob).await.base.id;
    let role = patch(json!({"role": "COURIER"}));
    world.tenant(&ann, async |t| members::update(t, &client(), id, role).await).await.unwrap();
    let caller = opens(world, &token).await.unwrap();
    assert_eq!(refusal(caller.require("users.delete_user")), Code::Forbidden);
    assert_eq!(refusal(caller.require("leads.view_lead")), Code::Forbidden);
    assert!(caller.require("orders.view_order").is_ok());
}

#[tokio::test]
async fn nobody_reaches_the_tokens_of_others() {
    let world = World::shared().await;
    let (ann, eve) = (world.founder().await, world.founder().await);
    let bob = world.joined(&ann, "USER").await;
    let bobs = made(world, &bob).await;
    let id = bobs.access_token.id;
    for other in [&ann, &eve] {
        assert_eq!(refusal(revoke(world, other, id).await), Code::NotFound);
        assert_eq!(own(world, other).await, Vec::<Value>::new());
    }
    let revoke_any = async |who: &Person, id| {
        world.tenant(who, async |t| access_tokens::revoke_any(t, &client(), id).await).await
    };
    assert_eq!(refusal(revoke_any(&eve, id).await), Code::NotFound);
    assert_eq!(refusal(revoke_any(&bob, id).await), Code::Forbidden);
    assert_eq!(refusal(all(world, &bob).await), Code::Forbidden);
    opens(world, &bobs.token).await.unwrap();
    assert_eq!(serde_json::to_value(all(world, &eve).await.unwrap().results).unwrap(), json!([]));
    revoke_any(&ann, id).await.unwrap();
    revoke_any(&ann, id).await.unwrap();
    is_dead(opens(world, &bobs.token).await);
    assert_eq!(world.events(&ann).await.iter().filter(|(event, _)| event == "token_revoked").count(), 1);
    assert_eq!(refusal(revoke_any(&ann, Uuid::now_v7()).await), Code::NotFound);
}

#[tokio::test]
async fn a_token_manages_no_tokens() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let mine = made(world, &ann).await;
    // The services refuse it too, should a path ever be open by mistake.
    let claims = claims(world, &mine.token, "POST", "/api/leads/");
    let id = mine.access_token.id;
    let resources = BTreeSet::new();
    let wanted = async |t: &mut TenantTx| {
        access_tokens::create(t, &client(), &resources, body(json!({"name": "x"}))?).await
    };
    assert_eq!(refusal(world.db.tenant(&claims, wanted).await), Code::Forbidden);
    let revoked = world.db.tenant(&claims, async |t| access_tokens::revoke(t, &client(), id).await);
    assert_eq!(refusal(revoked.await), Code::Forbidden);
    let listed = world.db.tenant(&claims, async |t| access_tokens::list(t, &Params::default()).await);
    assert_eq!(refusal(listed.await), Code::Forbidden);
    for work in [
        world
            .db
            .tenant(&claims, async |t| access_tokens::list_all(t, &Params::default()).await.map(drop))
            .await,
        world.db.tenant(&claims, async |t| access_tokens::revoke_any(t, &client(), id).await).await,
    ] {
        assert_eq!(refusal(work), Code::Forbidden);
    }
    opens(world, &mine.token).await.unwrap();
}

#[tokio::test]
async fn the_organization_sees_whose_tokens_there_are() {
    let world = World::fresh().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    let year = world.db.clock().now() + TimeDelta::days(300);
    let long = json!({"name": "Long", "scopes": ["leads:read"], "expires_at": year});
    let (used, unused) =
        (make(&world, &ann, long.clone()).await.unwrap(), make(&world, &bob, long.clone()).await.unwrap());
    let revoked = make(&world, &bob, long).await.unwrap();
    revoke(&world, &bob, revoked.access_token.id).await.unwrap();
    let expired = made(&world, &ann).await;
    world.db.clock().advance(TimeDelta::days(91));
    world.identity.token_used(&claims(&world, &used.token, "GET", "/api/leads/"), &client()).await;
    let id = {
        let listed = all(&world, &ann).await.unwrap();
        assert_eq!(listed.totals, TokenTotals { count: 4, live: 2, orphaned: 0, unused_90d: 1 });
        let rows = serde_json::to_value(listed.results).unwrap();
        let shown =
            |id: Uuid| rows.as_array().unwrap().iter().find(|row| row["id"] == json!(id)).unwrap().clone();
        let live =
            [&used, &unused, &revoked, &expired].map(|made| shown(made.access_token.id)["is_live"].clone());
        assert_eq!(live, [json!(true), json!(true), json!(false), json!(false)]);
        let owner = shown(unused.access_token.id)["owner"].clone();
        assert_eq!(
            (&owner["email"], &owner["role"], &owner["is_active"]),
            (&json!(bob.email), &json!("USER"), &json!(true))
        );
        owner["id"].as_str().unwrap().parse::<Uuid>().unwrap()
    };
    let change = body(json!({"status": "inactive"})).unwrap();
    world.tenant(&ann, async |t| members::change_status(t, &client(), id, change).await).await.unwrap();
    let listed = all(&world, &ann).await.unwrap();
    assert_eq!(listed.totals, TokenTotals { count: 4, live: 2, orphaned: 1, unused_90d: 1 });
    let rows = serde_json::to_value(listed.results).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["id"] == json!(unused.access_token.id)).unwrap();
    assert_eq!((&row["owner"]["is_active"], &row["is_live"]), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn the_last_use_is_noted_once_a_minute() {
    let world = World::fresh().await;
    let ann = world.founder().await;
    let token = made(&world, &ann).await.token;
    let claims = claims(&world, &token, "GET", "/api/leads/");
    let from = |ip: &str| Client { ip: Some(ip.parse().unwrap()), ..client() };
    let last = async || {
        let token = own(&world, &ann).await.remove(0);
        (token["last_used_at"].clone(), token["last_used_ip"].clone())
    };
    let uses = async || world.events(&ann).await.iter().filter(|(event, _)| event == "token_used").count();
    assert_eq!(last().await, (Value::Null, Value::Null));
    world.identity.token_used(&claims, &from("192.0.2.1")).await;
    let first = last().await;
    assert!(first.0.is_string());
    assert_eq!((&first.1, uses().await), (&json!("192.0.2.1"), 1));
    world.identity.token_used(&claims, &from("192.0.2.1")).await;
    assert_eq!((last().await, uses().await), (first.clone(), 1));
    world.identity.token_used(&claims, &from("192.0.2.2")).await;
    assert_eq!((last().await, uses().await), (first.clone(), 2), "another address is another event");
    world.db.clock().advance(TimeDelta::minutes(1));
    world.identity.token_used(&claims, &from("192.0.2.2")).await;
    let later = last().await;
    assert_eq!(later.1, json!("192.0.2.2"));
    let at = |value: &Value| value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert!(at(&later.0) - at(&first.0) >= TimeDelta::minutes(1));
}

#[tokio::test]
async fn what_proves_a_token_is_shown_once_and_kept_nowhere() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let made = make(world, &ann, json!({"name": "Secret", "scopes": ["leads:read"]})).await.unwrap();
    let token = made.token.clone();
    assert!(token.starts_with("amp_pat_") && token.starts_with(&made.access_token.token_prefix));
    assert_eq!(made.access_token.token_prefix.len(), 16);
    let rows = serde_json::to_string(&own(world, &ann).await).unwrap();
    let overview = serde_json::to_string(&all(world, &ann).await.unwrap()).unwrap();
    let events = details(world, &ann).await;
    let said = format!("{made:?} {:?}", world.identity.read_bearer(&token, "GET", "/api/leads/").unwrap());
    let mail = serde_json::to_string(&world.mails(&ann.email).await).unwrap();
    let digest = digest(world, &ann).await;
    for text in [&rows, &overview, &events, &said, &mail] {
        assert!(
            !text.contains(&token[16..]) && !text.contains(&digest) && !text.contains("digest"),
            "{text}"
        );
    }
    assert!(rows.contains(&token[..16]));
    assert_eq!(world.mailed(&ann.email).await.last().map(String::as_str), Some("token_created"));
    assert!(mail.contains("\"token_name\":\"Secret\""), "{mail}");
}
