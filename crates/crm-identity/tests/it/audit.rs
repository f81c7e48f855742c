use chrono::TimeDelta;
use crm_core::{Code, Error, OrgId, Result};
use crm_identity::access_tokens;
use crm_identity::audit::{self, AuditEvent, AuditFilter};
use crm_identity::{AccessClaims, Client, Credential, Event, EventKind, RefreshToken, RequestInfo};
use crm_records::list::{Page, Params};
use diesel_async::SimpleAsyncConnection;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Person, World, body, client, faults, refusal};

fn from(ip: &str) -> Client {
    Client { ip: Some(ip.parse().unwrap()), ..client() }
}

/// What is written of an organization or a person, oldest first.
async fn trail(world: &World, pairs: &[(&str, &str)]) -> Vec<AuditEvent> {
    let filter = AuditFilter::parse(&Params::of(pairs), &chrono::Utc).unwrap();
    let mut found = world.db.platform(async |p| filter.newest(p, 1000).await).await.unwrap();
    found.reverse();
    found
}

async fn about(world: &World, who: &Person, event: &str) -> Vec<AuditEvent> {
    trail(world, &[("user_id", &who.claims.user.to_string()), ("event", event)]).await
}

async fn list(world: &World, who: &Person, pairs: &[(&str, &str)]) -> Result<Page<AuditEvent>> {
    world.tenant(who, async |t| audit::list(t, &Params::of(pairs)).await).await
}

async fn write(world: &World, event: Event, client: &Client) {
    world.db.platform(async |p| event.record(p, client).await).await.unwrap();
}

#[tokio::test]
async fn every_word_can_be_written_outside_organizations_with_the_request_that_caused_it() {
    let world = World::fresh().await;
    let request = RequestInfo { id: "request-1".into(), method: "POST".into(), route: "/api/leads/{id}/" };
    let client = Client { request: Some(request), ..from("192.0.2.1") };
    for word in EventKind::WORDS {
        write(&world, Event::done(EventKind::from_word(word).unwrap()), &client).await;
    }
    let written = trail(&world, &[]).await;
    assert_eq!(written.iter().map(|event| event.event.as_str()).collect::<Vec<_>>(), EventKind::WORDS);
    for event in &written {
        let said = (event.request_id.as_deref(), event.method.as_deref(), event.route.as_deref());
        assert_eq!(said, (Some("request-1"), Some("POST"), Some("/api/leads/{id}/")));
        assert_eq!((event.ip_address.as_deref(), event.org_id), (Some("192.0.2.1"), None));
    }
    assert_eq!(trail(&world, &[("request_id", "request-1")]).await.len(), EventKind::WORDS.len());
    assert_eq!(trail(&world, &[("request_id", "request-2")]).await.len(), 0);
}

#[tokio::test]
async fn what_is_written_can_be_neither_changed_nor_removed() {
    let world = World::shared().await;
    let ann = world.founder().await;
    for statement in [
        "UPDATE security_events SET success = true",
        "UPDATE security_events SET detail = '{}' WHERE false",
        "DELETE FROM security_events",
        "TRUNCATE security_events",
    ] {
        let tried = world
            .db
            .platform(async |p| p.conn()?.batch_execute(statement).await.map_err(Error::from))
            .await
            .unwrap_err();
        let cause = std::error::Error::source(&tried).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("permission denied"), "{statement}: {cause}");
    }
    assert!(!about(world, &ann, "org_created").await.is_empty());
}

#[tokio::test]
async fn whoever_hammers_is_written_down_once_a_minute_and_counted() {
    let world = World::fresh().await;
    let ann = world.founder().await;
    let who = Credential::Session(ann.claims);
    let denied = Error::Forbidden("no".into());
    for _ in 0..100 {
        world.identity.refused(&who, &denied, "list_roles", &from("192.0.2.1")).await;
    }
    world.identity.refused(&who, &denied, "create_role", &from("192.0.2.1")).await;
    let written = about(&world, &ann, "permission_denied").await;
    let said: Vec<_> = written.iter().map(|event| (&event.detail, event.org_id, event.success)).collect();
    let want = |operation| json!({"reason": "forbidden", "operation": operation});
    assert_eq!(
        said,
        [(&want("list_roles"), ann.claims.org, false), (&want("create_role"), ann.claims.org, false)]
    );
    assert_eq!(written[0].ip_address.as_deref(), Some("192.0.2.1"));
    world.db.clock().advance(TimeDelta::minutes(1));
    world.identity.sweep().await.unwrap();
    let written = about(&world, &ann, "permission_denied").await;
    assert_eq!(written.len(), 3, "what was not repeated is not summed up");
    assert_eq!(written[2].detail["repeated"], 99);
    world.identity.refused(&who, &denied, "list_roles", &client()).await;
    assert_eq!(about(&world, &ann, "permission_denied").await.len(), 4, "a minute later it is news again");
}

#[tokio::test]
async fn what_is_no_refusal_of_that_kind_is_not_written() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let before = world.events(&ann).await.len();
    for error in
        [Error::NotFound, Error::TooMany { seconds: 1 }, Error::internal("x"), Error::Stale { current: 1 }]
    {
        world.identity.refused(&Credential::Session(ann.claims), &error, "get_lead", &client()).await;
    }
    assert_eq!(world.events(&ann).await.len(), before);
}

#[tokio::test]
async fn a_token_is_named_where_it_is_denied() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let made = world
        .tenant(&ann, async |t| {
            let new = body(json!({"name": "Reader", "scopes": ["leads:read"]}))?;
            access_tokens::create(t, &client(), &["leads"].into(), new).await
        })
        .await
        .unwrap();
    let who = world.identity.read_bearer(&made.token, "POST", "/api/leads/").unwrap();
    let error = world.db.tenant(&who.in_org().unwrap(), async |_| Ok::<_, Error>(())).await.unwrap_err();
    assert_eq!(error.code(), Code::Forbidden);
    world.identity.refused(&who, &error, "create_lead", &client()).await;
    world.identity.refused(&who, &error, "create_lead", &client()).await;
    let written = about(world, &ann, "permission_denied").await;
    assert_eq!(written.len(), 1);
    assert_eq!(
        (written[0].org_id, &written[0].detail["token"]),
        (ann.claims.org, &json!(made.access_token.id))
    );
}

#[tokio::test]
async fn a_session_in_an_organization_of_others_is_an_attempt_to_cross() {
    let world = World::shared().await;
    let (ann, eve) = (world.founder().await, world.founder().await);
    let root = world.root().await;
    let root = world.identity.signed_in(&root.claims).await.unwrap();
    let refuse = async |claims: AccessClaims| {
        let error =
            world.db.tenant(&claims.in_org().unwrap(), async |_| Ok::<_, Error>(())).await.unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated);
        world.identity.refused(&Credential::Session(claims), &error, "list_leads", &client()).await;
    };
    refuse(AccessClaims { org: ann.claims.org, ..eve.claims }).await;
    let written = about(world, &eve, "cross_org_attempt").await;
    let said: Vec<_> = written.iter().map(|event| (event.org_id, event.success)).collect();
    assert_eq!(said, [(ann.claims.org, false)]);
    let listed = list(world, &ann, &[("event", "cross_org_attempt")]).await.unwrap();
    assert_eq!(listed.results.len(), 1, "the organization that it was about sees it");

    // What is over, suspended or made up is refused alike, and no such attempt.
    refuse(AccessClaims { org: Some(OrgId::generate()), ..eve.claims }).await;
    let org = ann.claims.org.unwrap();
    world
        .db
        .platform(async |p| crm_identity::platform::suspend_org(p, &client(), &root, org).await)
        .await
        .unwrap();
    refuse(ann.claims).await;
    let over: RefreshToken = body(json!({"refresh_token": eve.refresh_token})).unwrap();
    world.identity.logout(&client(), over).await.unwrap();
    refuse(eve.claims).await;
    assert_eq!(about(world, &eve, "cross_org_attempt").await.len(), 1);
    assert_eq!(about(world, &ann, "cross_org_attempt").await.len(), 0);
}

#[tokio::test]
async fn tokens_that_open_nothing_are_counted_by_address_and_told_to_whoever_had_them() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let made = world
        .tenant(&ann, async |t| {
            let made =
                access_tokens::create(t, &client(), &["leads"].into(), body(json!({"name": "Old"}))?).await?;
            access_tokens::revoke(t, &client(), made.access_token.id).await?;
            Ok(made)
        })
        .await
        .unwrap();
    let org = ann.claims.org.unwrap().to_string();
    let refuse = async |token: &str, ip: &str| {
        let who = world.identity.read_bearer(token, "GET", "/api/leads/").unwrap();
        let error = Error::Unauthenticated("x".into());
        world.identity.refused(&who, &error, "list_leads", &from(ip)).await;
    };
    // Made up, but with the organization of the real one in it.
    let forged = format!("amp_pat_AAAA{}", &made.token[12..]);
    for _ in 0..3 {
        refuse(&forged, "2001:db8:7::1").await;
    }
    let other = format!("amp_pat_BBBB{}", &made.token[12..]);
    refuse(&other, "2001:db8:7::2").await;
    assert_eq!(trail(world, &[("org_id", &org), ("event", "token_invalid")]).await.len(), 0);
    let written = trail(world, &[("ip_address", "2001:db8:7::1"), ("event", "token_invalid")]).await;
    assert_eq!((written.len(), &written[0].detail["reason"]), (1, &json!("unknown")));
    assert_eq!(trail(world, &[("ip_address", "2001:db8:7::2")]).await.len(), 0, "one network is one address");
    refuse(&made.token, "2001:db8:8::1").await;
    let written = trail(world, &[("org_id", &org), ("event", "token_invalid")]).await;
    assert_eq!((written.len(), written[0].user_id), (1, Some(ann.claims.user)));
    assert_eq!(written[0].detail, json!({"reason": "no_longer_valid", "token": made.access_token.id}));
}

#[tokio::test]
async fn administrators_read_what_happened_in_their_organization_only() {
    let world = World::shared().await;
    let (ann, eve) = (world.founder().await, world.founder().await);
    let bob = world.joined(&ann, "USER").await;
    let org = ann.claims.org.unwrap();
    write(world, Event::refused(EventKind::LoginFailure, "wrong_password").user(ann.claims.user), &client())
        .await;
    let page = list(world, &ann, &[("limit", "200")]).await.unwrap();
    let events: Vec<_> = page.results.iter().map(|event| event.event.as_str()).collect();
    assert!(events.contains(&"org_created") && events.contains(&"membership_joined"), "{events:?}");
    assert!(!events.contains(&"login_failure"), "it happened outside the organization");
    assert!(page.results.iter().all(|event| event.org_id == Some(org)));
    assert!(page.results.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first");
    let hers = list(world, &eve, &[("limit", "200")]).await.unwrap();
    assert!(hers.results.iter().all(|event| event.org_id == eve.claims.org));
    assert_eq!(refusal(list(world, &bob, &[]).await), Code::Forbidden);
    for key in ["org_id", "orgid"] {
        let refused = list(world, &ann, &[(key, &eve.claims.org.unwrap().to_string())]).await;
        assert_eq!(faults(refused), (Code::InvalidParameter, vec![key.to_owned()]));
    }
}

#[tokio::test]
async fn events_are_found_by_what_when_who_and_whence() {
    let world = World::fresh().await;
    let ann = world.founder().await;
    let org = ann.claims.org.unwrap();
    let start = world.db.clock().now();
    world.db.clock().advance(TimeDelta::hours(1));
    for n in 0..5 {
        let event = Event::refused(EventKind::OidcRefused, "test").org(org).detail("n", n);
        write(&world, event, &from("192.0.2.7")).await;
    }
    let bob = world.person().await;
    write(&world, Event::done(EventKind::OidcLinked).org(org).user(bob.claims.user), &from("192.0.2.8"))
        .await;
    let later = (start + TimeDelta::minutes(30)).to_rfc3339();
    let count = async |pairs: &[(&str, &str)]| {
        let pairs = [&[("count", "true"), ("limit", "1")][..], pairs].concat();
        list(&world, &ann, &pairs).await.unwrap().count.unwrap()
    };
    let everything = count(&[]).await;
    let user = bob.claims.user.to_string();
    for (pairs, want) in [
        (&[("event", "oidc_refused")][..], 5),
        (&[("event", "oidc_refused, oidc_linked")], 6),
        (&[("event", "oidc_refused"), ("success", "true")], 0),
        (&[("ip_address", "192.0.2.8")], 1),
        (&[("user_id", &user)], 1),
        (&[("created_at__gte", &later)], 6),
        (&[("created_at__lt", &later)], everything - 6),
        (&[("created_at__gte", "2001-01-01")], everything),
        (&[("created_at__lt", "2001-01-01")], 0),
    ] {
        assert_eq!(count(pairs).await, want, "{pairs:?}");
    }
    for (key, value) in [
        ("event", "oidc_refusd"),
        ("success", "perhaps"),
        ("user_id", "bob"),
        ("ip_address", "here"),
        ("created_at__gte", "yesterday"),
        ("created_at__lt", "99999-01-01"),
        ("limit", "0"),
        ("limit", "201"),
        ("ordering", "id"),
    ] {
        let refused = list(&world, &ann, &[(key, value)]).await;
        assert_eq!(faults(refused), (Code::InvalidParameter, vec![key.to_owned()]), "{key}={value}");
    }
    assert_eq!(refusal(list(&world, &ann, &[("cursor", "x")]).await), Code::InvalidCursor);
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip_and_keep_their_filters() {
    let world = World::shared().await;
    let ann = world.founder().await;
    for _ in 0..7 {
        write(world, Event::refused(EventKind::OidcRefused, "test").org(ann.claims.org), &client()).await;
    }
    let (mut seen, mut pairs) = (Vec::new(), vec![("limit".to_owned(), "3".to_owned())]);
    pairs.push(("event".to_owned(), "oidc_refused,oidc_linked".to_owned()));
    loop {
        let params = Params { path: "/api/audit/".into(), pairs };
        let page = world.tenant(&ann, async |t| audit::list(t, &params).await).await.unwrap();
        seen.extend(page.results.iter().map(|event| event.id));
        // While somebody reads, more happens.
        write(world, Event::refused(EventKind::OidcRefused, "test").org(ann.claims.org), &client()).await;
        let Some(next) = page.next else { break };
        let query = next.strip_prefix("/api/audit/?").unwrap();
        pairs = serde_urlencoded::from_str(query).unwrap();
    }
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (7, 7));
}

#[tokio::test]
async fn platform_administrators_read_everything_and_are_seen_doing_so() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let root = world.root().await;
    let viewer = world.identity.signed_in(&root.claims).await.unwrap();
    let org = ann.claims.org.unwrap().to_string();
    let read = async |viewer, pairs: &[(&str, &str)]| {
        let params = Params::of(pairs);
        world.db.platform(async |p| audit::list_all(p, &client(), viewer, &params).await).await
    };
    let page = read(&viewer, &[("org_id", &org), ("event", "org_created")]).await.unwrap();
    assert_eq!(page.results.len(), 1);
    let user = ann.claims.user.to_string();
    let outside = read(&viewer, &[("event", "registered"), ("user_id", &user)]).await.unwrap();
    assert_eq!(outside.results.iter().map(|event| event.org_id).collect::<Vec<_>>(), [None]);
    let looks = about(world, &root, "platform_access").await;
    assert_eq!(looks.iter().filter(|look| look.org_id == ann.claims.org).count(), 1);
    let member = world.identity.signed_in(&ann.claims).await.unwrap();
    assert_eq!(refusal(read(&member, &[]).await), Code::Forbidden);
}

#[tokio::test]
async fn others_write_what_their_caller_did() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let id = Uuid::now_v7();
    world
        .tenant(&ann, async |t| {
            let detail = json!({"webhook": id});
            crm_identity::audit(t, &from("192.0.2.3"), EventKind::WebhookCreated, detail).await
        })
        .await
        .unwrap();
    let written = about(world, &ann, "webhook_created").await;
    assert_eq!((written[0].org_id, &written[0].detail), (ann.claims.org, &json!({"webhook": id})));
    assert_eq!(written[0].ip_address.as_deref(), Some("192.0.2.3"));
}

#[tokio::test]
async fn a_switch_says_which_organization_was_left() {
    let world = World::shared().await;
    let person = world.person().await;
    let first = world.found(&person).await;
    let second = world.found(&first).await;
    let switches = about(world, &person, "org_switch").await;
    let from = switches.last().unwrap();
    assert_eq!((from.org_id, &from.detail["from"]), (second.claims.org, &json!(first.claims.org)));
    assert_eq!(switches.len(), 2);
}
