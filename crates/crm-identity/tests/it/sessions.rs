use chrono::TimeDelta;
use crm_core::{Code, OrgId};
use crm_identity::{RefreshToken, SwitchOrg};
use crm_schema::{organizations, sessions, throttles, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;

use crate::support::{PASSWORD, Person, World, address, body, client, login, patch, refusal};

fn token(text: &str) -> RefreshToken {
    body(json!({"refresh_token": text})).unwrap()
}

async fn set_active(world: &World, org: OrgId, is_active: bool) {
    let change = diesel::update(organizations::table.find(org)).set(organizations::is_active.eq(is_active));
    world
        .db
        .platform(async |p| change.execute(p.conn()?).await.map_err(crm_core::Error::from))
        .await
        .unwrap();
}

#[tokio::test]
async fn signing_in_binds_to_the_latest_organization() {
    let world = World::shared().await;
    let person = world.person().await;
    let first = world.found(&person).await;
    let second = world.found(&person).await;
    let signed_in = world.login(&person.email.to_uppercase(), PASSWORD).await.unwrap();
    assert_eq!(signed_in.current_org.as_ref().map(|org| org.id), second.claims.org);
    let listed: Vec<_> =
        signed_in.organizations.iter().map(|org| (Some(org.id), org.role.as_str())).collect();
    assert_eq!(listed, [(second.claims.org, "ADMIN"), (first.claims.org, "ADMIN")]);
    let claims = world.identity.verify_access(&signed_in.tokens.access_token).unwrap();
    assert_eq!(claims.org, second.claims.org);
    assert!(signed_in.user.last_login_at.is_some());
    assert_eq!(world.last_event(&person).await, ("login_success".into(), true));
}

#[tokio::test]
async fn signing_in_to_an_organization_needs_a_membership_there() {
    let world = World::shared().await;
    let (ann, bob) = (world.founder().await, world.founder().await);
    let wanted = async |person: &Person, org| {
        world.identity.login(&client(), login(&person.email, PASSWORD, Some(org))).await?.signed_in()
    };
    let own = wanted(&ann, ann.claims.org.unwrap()).await.unwrap();
    assert_eq!(own.current_org.map(|org| org.id), ann.claims.org);
    for foreign in [bob.claims.org.unwrap(), OrgId::generate()] {
        assert_eq!(refusal(wanted(&ann, foreign).await), Code::Forbidden);
        assert_eq!(world.last_event(&ann).await, ("permission_denied".into(), false));
    }
    let guess = login(&ann.email, "wrong", Some(bob.claims.org.unwrap()));
    assert_eq!(
        refusal(world.identity.login(&client(), guess).await),
        Code::InvalidCredentials,
        "the password first"
    );
}

#[tokio::test]
async fn a_suspended_organization_is_left_out() {
    let world = World::shared().await;
    let person = world.founder().await;
    let org = person.claims.org.unwrap();
    set_active(world, org, false).await;
    let signed_in = world.login(&person.email, PASSWORD).await.unwrap();
    assert!(signed_in.current_org.is_none() && signed_in.organizations.is_empty());
    let wanted = login(&person.email, PASSWORD, Some(org));
    assert_eq!(refusal(world.identity.login(&client(), wanted).await), Code::Forbidden);
}

#[tokio::test]
async fn refusals_to_sign_in_are_all_alike() {
    let world = World::shared().await;
    let (person, gone) = (world.person().await, world.person().await);
    world.shut_out(&gone).await;
    let nobody = address("example.com");
    let mut answers = Vec::new();
    for (email, password) in [(&nobody, PASSWORD), (&person.email, "wrong"), (&gone.email, PASSWORD)] {
        let error = world.login(email, password).await.unwrap_err();
        answers.push((error.code(), error.to_string()));
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0] && answer.0 == Code::InvalidCredentials),
        "{answers:?}"
    );
    for person in [&person, &gone] {
        assert_eq!(world.last_event(person).await, ("login_failure".into(), false));
    }
}

/// The change is under way when the sign-in reads the account, and commits before the session would begin.
#[tokio::test]
async fn a_sign_in_overtaken_by_a_change_of_the_account_is_refused() {
    for (new_hash, is_active) in [(Some("another"), true), (None, false)] {
        let world = World::fresh().await;
        let person = world.person().await;
        let change = world.db.platform(async |p| {
            let changed =
                (new_hash.map(|hash| users::password_hash.eq(hash)), users::is_active.eq(is_active));
            diesel::update(users::table.find(person.claims.user)).set(changed).execute(p.conn()?).await?;
            // The attempt is counted in the transaction that reads the account.
            while throttles::table.count().get_result::<i64>(p.conn()?).await? == 0 {
                tokio::task::yield_now().await;
            }
            Ok::<_, crm_core::Error>(())
        });
        let (changed, signed_in) = futures_util::join!(change, world.login(&person.email, PASSWORD));
        changed.unwrap();
        assert_eq!(refusal(signed_in), Code::InvalidCredentials);
        assert_eq!(world.last_event(&person).await, ("login_failure".into(), false));
    }
}

#[tokio::test]
async fn a_refresh_token_works_once_and_keeps_the_organization() {
    let world = World::shared().await;
    let person = world.founder().await;
    let next = world.identity.refresh(&client(), token(&person.refresh_token)).await.unwrap();
    let claims = world.identity.verify_access(&next.access_token).unwrap();
    assert_eq!((claims.org, claims.session), (person.claims.org, person.claims.session));
    assert_eq!(world.last_event(&person).await, ("token_refresh".into(), true));
    assert!(world.identity.refresh(&client(), token(&next.refresh_token)).await.is_ok());
}

#[tokio::test]
async fn using_a_refresh_token_again_ends_the_session() {
    let world = World::shared().await;
    let person = world.founder().await;
    let other_session = world.login(&person.email, PASSWORD).await.unwrap();
    let next = world.identity.refresh(&client(), token(&person.refresh_token)).await.unwrap();
    let reused = world.identity.refresh(&client(), token(&person.refresh_token)).await;
    assert_eq!(refusal(reused), Code::Unauthenticated);
    let events = world.events(&person).await;
    assert!(events.contains(&("token_reused".into(), false)), "{events:?}");
    let reason: Option<String> = world
        .db
        .platform(async |p| {
            let row = sessions::table.find(person.claims.session).select(sessions::ended_because);
            row.first(p.conn()?).await.map_err(crm_core::Error::from)
        })
        .await
        .unwrap();
    assert_eq!(reason.as_deref(), Some("token_reused"), "although the answer was a refusal");
    let heir = world.identity.refresh(&client(), token(&next.refresh_token)).await;
    assert_eq!(refusal(heir), Code::Unauthenticated, "what came of the token is worthless too");
    let access = world.identity.verify_access(&next.access_token).unwrap();
    assert_eq!(
        refusal(world.db.tenant(&access.in_org().unwrap(), async |_| Ok(())).await),
        Code::Unauthenticated
    );
    assert!(world.identity.refresh(&client(), token(&other_session.tokens.refresh_token)).await.is_ok());
}

#[tokio::test]
async fn of_two_refreshes_at_once_one_wins() {
    let world = World::shared().await;
    let person = world.person().await;
    let client = client();
    let both = [(), ()].map(|()| world.identity.refresh(&client, token(&person.refresh_token)));
    let done = futures_util::future::join_all(both).await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(
        world.events(&person).await.contains(&("token_reused".into(), false)),
        "the other counts as reuse"
    );
    assert_eq!(refusal(world.identity.me(&person.claims).await), Code::Unauthenticated);
}

#[tokio::test]
async fn a_refresh_needs_an_active_account_membership_and_organization() {
    let world = World::shared().await;
    let gone = world.person().await;
    world.shut_out(&gone).await;
    assert_eq!(
        refusal(world.identity.refresh(&client(), token(&gone.refresh_token)).await),
        Code::Unauthenticated
    );

    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    let id = world.membership(&bob).await.base.id;
    let inactive = body(json!({"status": "inactive"})).unwrap();
    world
        .tenant(&ann, async |t| crm_identity::members::change_status(t, &client(), id, inactive).await)
        .await
        .unwrap();
    assert_eq!(refusal(world.identity.refresh(&client(), token(&bob.refresh_token)).await), Code::Forbidden);
    assert_eq!(world.last_event(&bob).await, ("cross_org_attempt".into(), false));

    let org = ann.claims.org.unwrap();
    set_active(world, org, false).await;
    assert_eq!(refusal(world.identity.refresh(&client(), token(&ann.refresh_token)).await), Code::Forbidden);
    assert_eq!(world.last_event(&ann).await, ("permission_denied".into(), false));
    set_active(world, org, true).await;
    let again = world.identity.refresh(&client(), token(&ann.refresh_token)).await;
    assert!(again.is_ok(), "a refused token is not spent");
}

#[tokio::test]
async fn a_session_lasts_as_long_as_it_is_used() {
    let world = World::fresh().await;
    let person = world.person().await;
    world.db.clock().advance(TimeDelta::days(364));
    let next = world.identity.refresh(&client(), token(&person.refresh_token)).await.unwrap();
    world.db.clock().advance(TimeDelta::days(364));
    let next = world.identity.refresh(&client(), token(&next.refresh_token)).await.unwrap();
    assert!(world.identity.verify_access(&next.access_token).is_ok());
    world.db.clock().advance(TimeDelta::days(1));
    assert_eq!(refusal(world.identity.verify_access(&next.access_token)), Code::Unauthenticated);
    world.db.clock().advance(TimeDelta::days(364));
    assert_eq!(
        refusal(world.identity.refresh(&client(), token(&next.refresh_token)).await),
        Code::Unauthenticated
    );
}

#[tokio::test]
async fn signing_out_ends_one_session() {
    let world = World::shared().await;
    let here = world.person().await;
    let there = world.login(&here.email, PASSWORD).await.unwrap();
    world.identity.logout(&client(), token(&here.refresh_token)).await.unwrap();
    assert_eq!(world.last_event(&here).await, ("logout".into(), true));
    assert_eq!(refusal(world.identity.me(&here.claims).await), Code::Unauthenticated);
    assert_eq!(
        refusal(world.identity.refresh(&client(), token(&here.refresh_token)).await),
        Code::Unauthenticated
    );
    assert!(world.identity.refresh(&client(), token(&there.tokens.refresh_token)).await.is_ok());
    let events = world.events(&here).await.len();
    for unusable in [here.refresh_token.as_str(), "garbage", ""] {
        world.identity.logout(&client(), token(unusable)).await.unwrap();
    }
    assert_eq!(world.events(&here).await.len(), events, "a session that is over is not ended again");
}

#[tokio::test]
async fn an_access_token_neither_refreshes_nor_signs_out() {
    let world = World::shared().await;
    let person = world.person().await;
    let signed_in = world.login(&person.email, PASSWORD).await.unwrap();
    let access = signed_in.tokens.access_token;
    assert_eq!(refusal(world.identity.refresh(&client(), token(&access)).await), Code::Unauthenticated);
    world.identity.logout(&client(), token(&access)).await.unwrap();
    let claims = world.identity.verify_access(&access).unwrap();
    assert!(world.identity.me(&claims).await.is_ok());
}

#[tokio::test]
async fn switching_keeps_the_session_and_its_other_tokens() {
    let world = World::shared().await;
    let person = world.person().await;
    let first = world.found(&person).await;
    let second = world.found(&person).await;
    let switch = SwitchOrg { org_id: first.claims.org.unwrap() };
    let switched = world.identity.switch_org(&client(), &second.claims, switch).await.unwrap();
    let claims = world.identity.verify_access(&switched.tokens.access_token).unwrap();
    assert_eq!((claims.org, claims.session), (first.claims.org, person.claims.session));
    assert_eq!((Some(switched.current_org.id), switched.profile.role.as_str()), (first.claims.org, "ADMIN"));
    assert_eq!(world.last_event(&person).await, ("org_switch".into(), true));
    let other_tab = world.identity.refresh(&client(), token(&second.refresh_token)).await.unwrap();
    assert_eq!(world.identity.verify_access(&other_tab.access_token).unwrap().org, second.claims.org);
}

#[tokio::test]
async fn switching_needs_an_active_membership() {
    let world = World::shared().await;
    let (ann, bob) = (world.founder().await, world.founder().await);
    for org_id in [bob.claims.org.unwrap(), OrgId::generate()] {
        let refused = world.identity.switch_org(&client(), &ann.claims, SwitchOrg { org_id }).await;
        assert_eq!(refusal(refused), Code::Forbidden);
        assert_eq!(world.last_event(&ann).await, ("permission_denied".into(), false));
    }
    world.identity.logout(&client(), token(&ann.refresh_token)).await.unwrap();
    let over = world
        .identity
        .switch_org(&client(), &ann.claims, SwitchOrg { org_id: ann.claims.org.unwrap() })
        .await;
    assert_eq!(refusal(over), Code::Unauthenticated);
}

#[tokio::test]
async fn me_lists_where_one_belongs() {
    let world = World::shared().await;
    let person = world.person().await;
    let me = world.identity.me(&person.claims).await.unwrap();
    assert!(me.current_org.is_none() && me.organizations.is_empty() && me.platform_admin.is_none());
    let founder = world.found(&person).await;
    let rename = patch(json!({"name": "Umbrella", "timezone": "Europe/Berlin"}));
    world
        .tenant(&founder, async |t| crm_identity::orgs::change_settings(t, &client(), rename).await)
        .await
        .unwrap();
    let me = world.identity.me(&founder.claims).await.unwrap();
    let current = me.current_org.unwrap();
    assert_eq!((current.name.as_str(), current.timezone.as_str()), ("Umbrella", "Europe/Berlin"));
    assert_eq!(world.identity.my_organizations(&founder.claims).await.unwrap(), me.organizations);
}

#[tokio::test]
async fn what_is_of_no_more_use_is_swept_away() {
    let world = World::fresh().await;
    let person = world.person().await;
    world.login(&person.email, "wrong").await.unwrap_err();
    assert_eq!(world.identity.sweep().await.unwrap(), 0);
    world.db.clock().advance(TimeDelta::days(400));
    assert_eq!(world.identity.sweep().await.unwrap(), 3, "a count, a mailed token and a session");
    assert_eq!(world.identity.sweep().await.unwrap(), 0);
}
