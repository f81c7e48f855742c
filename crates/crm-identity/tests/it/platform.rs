use crm_core::{Code, OrgId, Result};
use crm_identity::platform::{self, PlatformOrg};
use crm_identity::{NewPlatformAdmin, SignedInUser, TokenKind, grant_platform_admin, hash_password};
use crm_records::list::{Page, Params};
use crm_schema::security_events;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::support::{NEW_PASSWORD, PASSWORD, Person, World, address, client, login, refusal};

async fn grant(
    world: &World,
    email: &str,
    password_hash: Option<&str>,
    is_superuser: bool,
) -> Result<crm_identity::User> {
    let new = NewPlatformAdmin { email, password_hash, is_superuser, by: "test" };
    world.db.platform(async |p| grant_platform_admin(p, new).await).await
}

async fn admin(world: &World, is_superuser: bool) -> (Person, SignedInUser) {
    let person = world.person().await;
    world.verify(&person).await;
    grant(world, &person.email, None, is_superuser).await.unwrap();
    let viewer = world.identity.signed_in(&person.claims).await.unwrap();
    (person, viewer)
}

async fn list(world: &World, viewer: &SignedInUser, params: &[(&str, &str)]) -> Result<Page<PlatformOrg>> {
    let params = Params { path: "/orgs".into(), ..Params::of(params) };
    world.db.platform(async |p| platform::list_orgs(p, &client(), viewer, &params).await).await
}

#[tokio::test]
async fn a_command_makes_an_account_and_a_platform_administrator() {
    let world = World::shared().await;
    let email = address("example.com");
    assert_eq!(refusal(grant(world, &email, None, true).await), Code::ValidationFailed, "without a password");
    let hash = hash_password(PASSWORD.into()).await.unwrap();
    let user = grant(world, &email, Some(&hash), true).await.unwrap();
    assert!(user.email_verified_at.is_some());
    let signed_in = world.login(&email, PASSWORD).await.unwrap();
    assert!(signed_in.current_org.is_none() && signed_in.organizations.is_empty());
    let claims = world.identity.verify_access(&signed_in.tokens.access_token).unwrap();
    assert_eq!((claims.kind, claims.org), (TokenKind::Platform, None));
    assert_eq!(refusal(claims.in_org()), Code::NoOrganization);
    let wanted = login(&email, PASSWORD, Some(OrgId::generate()));
    assert_eq!(refusal(world.identity.login(&client(), wanted).await), Code::Forbidden);
    grant(world, &email.to_uppercase(), None, true).await.expect("once more changes nothing");
}

#[tokio::test]
async fn whoever_registered_an_unproven_address_is_not_promoted_with_it() {
    let world = World::shared().await;
    let stranger = world.person().await;
    assert_eq!(refusal(grant(world, &stranger.email, None, true).await), Code::Conflict);
    assert_eq!(world.identity.me(&stranger.claims).await.unwrap().platform_admin, None);
    let hash = hash_password(NEW_PASSWORD.into()).await.unwrap();
    let user = grant(world, &stranger.email, Some(&hash), true).await.unwrap();
    assert!(user.email_verified_at.is_some(), "the operator vouches for it");
    assert_eq!(refusal(world.identity.me(&stranger.claims).await), Code::Unauthenticated);
    assert_eq!(refusal(world.login(&stranger.email, PASSWORD).await), Code::InvalidCredentials);
    let signed_in = world.login(&stranger.email, NEW_PASSWORD).await.unwrap();
    let claims = world.identity.verify_access(&signed_in.tokens.access_token).unwrap();
    assert_eq!(claims.kind, TokenKind::Platform);
}

#[tokio::test]
async fn a_proven_account_keeps_password_and_sessions_unless_a_password_is_given() {
    let world = World::shared().await;
    let root = world.root().await;
    assert!(world.identity.me(&root.claims).await.unwrap().platform_admin.is_some());
    assert!(world.login(&root.email, PASSWORD).await.is_ok());
    let hash = hash_password(NEW_PASSWORD.into()).await.unwrap();
    grant(world, &root.email, Some(&hash), true).await.unwrap();
    assert_eq!(refusal(world.identity.me(&root.claims).await), Code::Unauthenticated);
    assert_eq!(refusal(world.login(&root.email, PASSWORD).await), Code::InvalidCredentials);
    assert!(world.login(&root.email, NEW_PASSWORD).await.is_ok());
    assert_eq!(world.mailed(&root.email).await, ["verify_email", "password_changed"]);
}

#[tokio::test]
async fn a_shut_out_account_is_not_promoted_with_a_new_password() {
    let world = World::shared().await;
    let gone = world.person().await;
    world.shut_out(&gone).await;
    let hash = hash_password(NEW_PASSWORD.into()).await.unwrap();
    assert_eq!(refusal(grant(world, &gone.email, Some(&hash), true).await), Code::Conflict);
}

#[tokio::test]
async fn a_member_is_not_made_a_platform_administrator() {
    let world = World::shared().await;
    let ann = world.founder().await;
    assert_eq!(refusal(grant(world, &ann.email, None, true).await), Code::Conflict);
    assert_eq!(world.identity.me(&ann.claims).await.unwrap().platform_admin, None);
}

#[tokio::test]
async fn of_founding_and_promoting_at_once_one_succeeds() {
    let world = World::shared().await;
    for _ in 0..4 {
        let person = world.person().await;
        world.verify(&person).await;
        let client = client();
        let (founded, promoted) = futures_util::join!(
            world.identity.create_org(&client, &person.claims, crate::support::new_org("Acme")),
            grant(world, &person.email, None, true)
        );
        assert_ne!(founded.is_ok(), promoted.is_ok());
    }
}

#[tokio::test]
async fn organizations_are_listed_in_pages() {
    let world = World::fresh().await;
    let mut founded = Vec::new();
    for _ in 0..3 {
        founded.push(world.founder().await.claims.org.unwrap());
    }
    founded.reverse();
    let (person, viewer) = admin(&world, true).await;
    let first = list(&world, &viewer, &[("limit", "2")]).await.unwrap();
    assert_eq!(first.results.iter().map(|org| org.id).collect::<Vec<_>>(), founded[..2], "newest first");
    let cursor = founded[1].to_string();
    assert_eq!(first.next, Some(format!("/orgs?limit=2&cursor={cursor}")));
    let last = list(&world, &viewer, &[("limit", "2"), ("cursor", &cursor)]).await.unwrap();
    assert_eq!((last.results.len(), last.results[0].id, last.next), (1, founded[2], None));
    assert_eq!(world.last_event(&person).await, ("platform_access".into(), true));
    for (wrong, code) in [
        (("limit", "0"), Code::InvalidParameter),
        (("limit", "201"), Code::InvalidParameter),
        (("cursor", "x"), Code::InvalidCursor),
        (("name", "Acme"), Code::InvalidParameter),
    ] {
        assert_eq!(refusal(list(&world, &viewer, &[wrong]).await), code, "{wrong:?}");
    }
}

#[tokio::test]
async fn every_look_at_an_organization_is_written_down() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let org = ann.claims.org.unwrap();
    let (person, viewer) = admin(world, true).await;
    let found =
        world.db.platform(async |p| platform::find_org(p, &client(), &viewer, org).await).await.unwrap();
    assert_eq!((found.id, found.is_active), (org, true));
    let suspended =
        world.db.platform(async |p| platform::suspend_org(p, &client(), &viewer, org).await).await.unwrap();
    assert!(!suspended.is_active);
    world.db.platform(async |p| platform::suspend_org(p, &client(), &viewer, org).await).await.unwrap();
    let resumed =
        world.db.platform(async |p| platform::resume_org(p, &client(), &viewer, org).await).await.unwrap();
    assert!(resumed.is_active);
    let by = security_events::user_id.eq(person.claims.user).and(security_events::org_id.eq(org));
    let written =
        security_events::table.filter(by).order_by(security_events::id).select(security_events::event);
    let written: Vec<String> = world
        .db
        .platform(async |p| written.load(p.conn()?).await.map_err(crm_core::Error::from))
        .await
        .unwrap();
    assert_eq!(written, ["platform_access", "org_suspended", "org_resumed"]);
    let unknown =
        world.db.platform(async |p| platform::find_org(p, &client(), &viewer, OrgId::generate()).await).await;
    assert_eq!(refusal(unknown), Code::NotFound);
}

#[tokio::test]
async fn only_superusers_of_the_platform_look_at_organizations() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let org = ann.claims.org.unwrap();
    let member = world.identity.signed_in(&ann.claims).await.unwrap();
    let (_, powerless) = admin(world, false).await;
    for viewer in [&member, &powerless] {
        assert_eq!(refusal(list(world, viewer, &[]).await), Code::Forbidden);
        let find = world.db.platform(async |p| platform::find_org(p, &client(), viewer, org).await).await;
        assert_eq!(refusal(find), Code::Forbidden);
        let suspend =
            world.db.platform(async |p| platform::suspend_org(p, &client(), viewer, org).await).await;
        assert_eq!(refusal(suspend), Code::Forbidden);
    }
}
