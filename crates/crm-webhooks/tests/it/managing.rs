use crm_core::{Caller, Code, Error, MemberId, Scope};
use crm_identity::Client;
use crm_records::Precondition;
use crm_records::list::Params;
use crm_schema::{security_events, webhooks};
use crm_webhooks::{DisabledReason, WebhookFields};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures_util::future::join;
use serde_json::{Value, json};

use crate::support::{Bench, org, settings, somebody};

const URL: &str = "https://example.com/hook";

fn fields(url: &str, events: &[&str]) -> WebhookFields {
    serde_json::from_value(json!({"url": url, "events": events})).unwrap()
}

#[tokio::test]
async fn a_secret_is_shown_once_and_stored_sealed() {
    let bench = Bench::new().await;
    let (id, secret) = bench.webhook(URL, &["*"]).await;
    assert!(secret.starts_with("whsec_") && secret.len() > 40, "{secret}");
    let stored = bench.inside(async |t| {
        let this = webhooks::table.filter(webhooks::org_id.eq(t.org()).and(webhooks::id.eq(id)));
        Ok(this.select(webhooks::secret).first::<String>(t.conn()?).await?)
    });
    let stored = stored.await.unwrap();
    assert!(!stored.contains(&secret[6..]) && !stored.is_empty());
    let rotated = bench.inside(async |t| bench.webhooks.rotate_secret(t, &Client::default(), id).await);
    let rotated = rotated.await.unwrap();
    assert_ne!(rotated.secret, secret);
    let changed = bench.patch(id, json!({"description": "x"})).await.unwrap();
    assert_eq!(
        (changed.base.version, changed.previous_secret_until),
        (3, Some(rotated.previous_secret_until))
    );
    let list = bench.inside(async |t| bench.webhooks.list(t, &Params::default()).await).await.unwrap();
    for shown in [
        serde_json::to_string(&bench.find(id).await).unwrap(),
        serde_json::to_string(&changed).unwrap(),
        serde_json::to_string(&list.results).unwrap(),
    ] {
        assert!(shown.contains(URL) && !shown.contains("whsec_"), "{shown}");
    }
    let events: Vec<(String, Value)> = bench
        .inside(async |t| {
            let here = security_events::table.filter(security_events::org_id.eq(t.org()));
            let rows = here.order_by(security_events::id);
            Ok(rows.select((security_events::event, security_events::detail)).load(t.conn()?).await?)
        })
        .await
        .unwrap();
    let words: Vec<_> = events.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(words, ["webhook_created", "webhook_changed", "webhook_changed"]);
    assert!(events.iter().all(|(_, detail)| detail["webhook_id"] == json!(id)));
}

#[tokio::test]
async fn what_a_webhook_can_t_be_is_refused_with_every_fault() {
    let bench = Bench::new().await.under(settings(false));
    let create = async |fields| {
        bench.inside(async |t| bench.webhooks.create(t, &Client::default(), fields).await).await
    };
    let refused = create(fields("http://example.com/", &["*", "tag.updatd", "tagg.created"])).await;
    let Err(Error::Fields(Code::ValidationFailed, faults)) = refused.map(drop) else { panic!("taken") };
    let faults: Vec<_> = faults.iter().map(|fault| (fault.field.as_str(), fault.message.as_str())).collect();
    assert_eq!(
        faults,
        [
            ("events.1", "there is no event \"tag.updatd\"; did you mean tag.updated?"),
            ("events.2", "there is no event \"tagg.created\"; did you mean tag.created?"),
            ("url", "must begin with https://"),
        ]
    );
    let long = format!("https://example.com/{}", "ü".repeat(900));
    for url in ["https://10.0.0.1/", "https://localhost/", "https://[::1]/", &long] {
        let refused = create(fields(url, &["*"])).await.map(drop);
        assert_eq!(refused.unwrap_err().code(), Code::ValidationFailed, "{url}");
    }
    let made = create(fields("https://EXAMPLE.com", &["tag.*", "tag.created", "tag.*"])).await.unwrap();
    assert_eq!(made.webhook.fields, fields("https://example.com/", &["tag.*", "tag.created"]));
}

#[tokio::test]
async fn nobody_is_told_by_webhook_what_they_could_not_read() {
    let bench = Bench::new().await;
    let grants: [(_, &[_], _); 3] = [
        ("webhooks", &["view", "add", "change"], Scope::All),
        ("tags", &["view"], Scope::All),
        ("leads", &["view"], Scope::Own),
    ];
    let member = somebody(&bench.org, &grants);
    let create = async |events: &[&str]| {
        let fields = fields(URL, events);
        let made =
            bench.db().tenant(&member, async |t| bench.webhooks.create(t, &Client::default(), fields).await);
        made.await.map(|made| made.webhook.base.id)
    };
    let id = create(&["tag.*"]).await.unwrap();
    for events in [&["*"][..], &["lead.deleted"], &["tag.*", "lead.*"]] {
        assert_eq!(create(events).await.unwrap_err().code(), Code::Forbidden, "{events:?}");
    }
    let changed = bench.patch_as(&member, id, json!({"events": ["lead.*"]})).await;
    assert_eq!(changed.unwrap_err().code(), Code::Forbidden);
    let nothing = Precondition::default();
    let deleted = bench
        .db()
        .tenant(&member, async |t| bench.webhooks.delete(t, &Client::default(), id, &nothing).await);
    assert_eq!(deleted.await.unwrap_err().code(), Code::Forbidden);
}

#[tokio::test]
async fn a_token_manages_no_webhooks() {
    let bench = Bench::new().await;
    let (id, _) = bench.webhook(URL, &["*"]).await;
    let token = Caller { member: Some(MemberId::generate()), ..bench.org.clone() };
    let (client, nothing) = (Client::default(), Precondition::default());
    let (db, webhooks) = (bench.db(), &bench.webhooks);
    let patched = bench.patch_as(&token, id, json!({"description": "x"})).await.map(drop);
    let made = db.tenant(&token, async |t| webhooks.create(t, &client, fields(URL, &["*"])).await.map(drop));
    let rotated = db.tenant(&token, async |t| webhooks.rotate_secret(t, &client, id).await.map(drop));
    let deleted = db.tenant(&token, async |t| webhooks.delete(t, &client, id, &nothing).await);
    for refused in [patched, made.await, rotated.await, deleted.await] {
        assert_eq!(refused.unwrap_err().code(), Code::Forbidden);
    }
    assert_eq!(bench.find(id).await.base.version, 1);
}

#[tokio::test]
async fn there_are_twenty_at_most_however_fast_they_come() {
    let bench = Bench::new().await;
    for _ in 0..19 {
        bench.webhook(URL, &["*"]).await;
    }
    let create = || {
        bench.inside(async |t| {
            bench.webhooks.create(t, &Client::default(), fields(URL, &["*"])).await.map(drop)
        })
    };
    let (one, other) = join(create(), create()).await;
    let refused: Vec<_> = [one, other].into_iter().filter_map(Result::err).map(|e| e.code()).collect();
    assert_eq!(refused, [Code::Conflict]);
    let theirs = org(bench.db()).await;
    let made = bench
        .db()
        .tenant(&theirs, async |t| bench.webhooks.create(t, &Client::default(), fields(URL, &["*"])).await);
    assert!(made.await.is_ok(), "another organization has its own");
}

#[tokio::test]
async fn one_switched_on_again_begins_afresh() {
    let bench = Bench::new().await;
    let (id, _) = bench.webhook(URL, &["*"]).await;
    bench
        .as_owner(format!(
            "BEGIN; SET LOCAL app.current_org = '{}'; \
             UPDATE webhooks SET is_active = false, disabled_reason = 'failing', failing_since = now(); COMMIT",
            bench.org.org.id
        ))
        .await;
    let renamed = bench.patch(id, json!({"description": "x"})).await.unwrap();
    assert_eq!(renamed.disabled_reason, Some(DisabledReason::Failing));
    let echo = bench.patch(id, json!({"disabled_reason": null})).await.unwrap_err();
    assert_eq!(echo.code(), Code::ReadOnlyField);
    let on = bench.patch(id, json!({"is_active": true})).await.unwrap();
    assert_eq!((on.disabled_reason, on.failing_since), (None, None));
    let off = bench.patch(id, json!({"is_active": false})).await.unwrap();
    assert_eq!(off.disabled_reason, None, "somebody did that, not the program");
}
