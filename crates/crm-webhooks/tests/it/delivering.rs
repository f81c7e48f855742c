use std::time::Duration;

use chrono::TimeDelta;
use crm_core::{Code, Error, Scope, TenantTx};
use crm_identity::Client;
use crm_jobs::Job;
use crm_records::{Base, Precondition, created};
use crm_schema::{security_events, webhook_deliveries, webhooks};
use crm_webhooks::{DisabledReason, purge};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use futures_util::future::join;
use serde_json::{Value, json};
use standardwebhooks::Webhook as Verifier;
use uuid::Uuid;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::support::{Bench, org, remove, somebody, tag, touch};

/// A receiver that answers with these statuses, one after the other, and then with 200.
async fn receiver(statuses: &[u16]) -> MockServer {
    let server = MockServer::start().await;
    for status in statuses {
        let answer = ResponseTemplate::new(*status).set_body_string(format!("said {status}"));
        Mock::given(any()).respond_with(answer).up_to_n_times(1).mount(&server).await;
    }
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    server
}

async fn received(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

fn types(requests: &[Request]) -> Vec<String> {
    let words = requests.iter().map(|request| request.body_json::<Value>().unwrap()["type"].take());
    words.map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn is_signed_by(request: &Request, secret: &str) -> bool {
    Verifier::new(secret).unwrap().verify(&request.body, &request.headers).is_ok()
}

fn statuses(attempts: &Value) -> Vec<u64> {
    attempts.as_array().unwrap().iter().map(|attempt| attempt["status"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_change_is_told_signed() {
    let bench = Bench::new().await;
    let server = receiver(&[]).await;
    let (id, secret) = bench.webhook(&format!("{}/hook?key=1", server.uri()), &["tag.created"]).await;
    let record = bench.event().await;
    bench.work_off().await;
    let requests = received(&server).await;
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert!(is_signed_by(request, &secret));
    assert!(!is_signed_by(request, "whsec_b3RoZXJzZWNyZXRvdGhlcnNlY3JldA=="));
    let header = |name: &str| request.headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", "/hook"));
    assert_eq!(request.url.query(), Some("key=1"));
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("user-agent"), "Amphora-Webhooks/1");
    let mut body: Value = request.body_json().unwrap();
    let (at, change) = (body["timestamp"].take(), body["data"]["id"].take());
    assert_eq!(
        body,
        json!({"type": "tag.created", "timestamp": null, "data": {
            "org_id": bench.org.org.id, "id": null, "kind": "tag", "record_id": record, "action": "created", "version": 1,
            "created_by": null, "created_at": at, "fields": {}}})
    );
    let delivery = bench.delivery(id).await;
    assert_eq!(header("webhook-id"), delivery.id.to_string());
    assert_eq!((delivery.state.as_str(), json!(delivery.change_id)), ("delivered", change));
    assert_eq!((delivery.next_attempt_at, delivery.delivered_at.is_some()), (None, true));
    assert_eq!(statuses(&delivery.attempts), [200]);
    assert_eq!(delivery.body.unwrap().as_bytes(), request.body);
}

#[tokio::test]
async fn each_is_told_what_it_asked_for_and_nobody_what_is_no_record_for_others() {
    let bench = Bench::new().await;
    let [one, all, other, off] =
        [receiver(&[]).await, receiver(&[]).await, receiver(&[]).await, receiver(&[]).await];
    bench.webhook(&all.uri(), &["*"]).await;
    bench.webhook(&one.uri(), &["tag.updated", "lead.created"]).await;
    bench.webhook(&other.uri(), &["lead.*"]).await;
    let (id, _) = bench.webhook(&off.uri(), &["*"]).await;
    bench.patch(id, json!({"is_active": false})).await.unwrap();
    let record = bench.event().await;
    bench.inside(async |t| touch(t, record).await).await.unwrap();
    bench.inside(async |t| remove(t, record).await).await.unwrap();
    let role = async |t: &mut TenantTx| created(t, "role", &Base::new(t), None).await;
    bench.inside(role).await.unwrap();
    bench.work_off().await;
    let mut told = types(&received(&all).await);
    told.sort();
    assert_eq!(told, ["tag.created", "tag.deleted", "tag.updated"]);
    assert_eq!(types(&received(&one).await), ["tag.updated"]);
    assert_eq!((received(&other).await.len(), received(&off).await.len()), (0, 0));
    let update: Value = received(&one).await[0].body_json().unwrap();
    assert_eq!(update["data"]["version"], 2);
    assert_eq!(update["data"]["fields"]["description"][0], "", "the fields of a record that is gone by now");
}

#[tokio::test]
async fn what_is_rolled_back_is_not_told_and_without_webhooks_there_is_no_job() {
    let bench = Bench::new().await;
    bench.event().await;
    assert_eq!(bench.work_off().await, 0, "nobody asked");
    let server = receiver(&[]).await;
    bench.webhook(&server.uri(), &["*"]).await;
    bench.work_off().await;
    let refused = bench.inside(async |t| {
        tag(t).await?;
        Err::<(), _>(Error::NotFound)
    });
    refused.await.unwrap_err();
    assert_eq!((bench.work_off().await, received(&server).await.len()), (0, 0));
    let theirs = org(bench.db()).await;
    bench.db().tenant(&theirs, tag).await.unwrap();
    assert_eq!((bench.work_off().await, received(&server).await.len()), (0, 0), "another organization's");
}

#[tokio::test]
async fn a_failure_is_tried_again_for_three_days() {
    let bench = Bench::new().await;
    let server = receiver(&[503; 10]).await;
    let (id, _) = bench.webhook(&server.uri(), &["*"]).await;
    bench.work_off().await;
    bench.event().await;
    bench.work_off().await;
    let mut waited = Vec::new();
    while let Some(at) = bench.delivery(id).await.next_attempt_at {
        let now = bench.db().clock().now();
        waited.push((at - now).num_seconds() + 1);
        assert_eq!(bench.delivery(id).await.state, "pending");
        assert!(bench.find(id).await.failing_since.is_some());
        bench.pass(at - now + TimeDelta::seconds(1)).await;
        bench.work_off().await;
    }
    assert_eq!(waited, [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]);
    let delivery = bench.delivery(id).await;
    assert_eq!((delivery.state.as_str(), statuses(&delivery.attempts)), ("failed", vec![503; 10]));
    assert_eq!(delivery.attempts[9]["response"], "said 503");
    assert_eq!(delivery.attempts[9]["error"], "503 Service Unavailable");
    let requests = received(&server).await;
    let ids: Vec<_> = requests.iter().map(|request| request.headers.get("webhook-id").unwrap()).collect();
    assert!(ids.len() == 10 && ids.iter().all(|id| *id == ids[0]), "a repetition can be told");
    assert!(bench.find(id).await.fields.is_active);
}

#[tokio::test]
async fn a_receiver_that_recovers_has_it() {
    let bench = Bench::new().await;
    let server = receiver(&[500, 429]).await;
    let (id, secret) = bench.webhook(&server.uri(), &["tag.*"]).await;
    bench.event().await;
    for _ in 0..3 {
        bench.work_off().await;
        bench.pass(TimeDelta::minutes(2)).await;
    }
    let delivery = bench.delivery(id).await;
    assert_eq!((delivery.state.as_str(), statuses(&delivery.attempts)), ("delivered", vec![500, 429, 200]));
    let webhook = bench.find(id).await;
    assert_eq!((webhook.failing_since, webhook.base.version), (None, 1));
    let bodies: Vec<_> = received(&server).await.into_iter().map(|request| request.body).collect();
    assert_eq!((bodies.len(), &bodies[0], &bodies[1]), (3, &bodies[1], &bodies[2]), "the same bytes");
    assert!(is_signed_by(&received(&server).await[0], &secret));
    assert_eq!(bench.work_off().await, 0);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_nothing_more() {
    let bench = Bench::new().await;
    let server = receiver(&[410]).await;
    let (id, _) = bench.webhook(&server.uri(), &["tag.*"]).await;
    bench.event().await;
    bench.work_off().await;
    bench.event().await;
    bench.work_off().await;
    assert_eq!(received(&server).await.len(), 1);
    let (webhook, delivery) = (bench.find(id).await, bench.delivery(id).await);
    assert_eq!((delivery.state.as_str(), delivery.next_attempt_at), ("failed", None));
    assert_eq!((webhook.fields.is_active, webhook.disabled_reason), (false, Some(DisabledReason::Gone)));
    assert_eq!(webhook.base.version, 2);
    let detail: Value = bench
        .inside(async |t| {
            let here = security_events::table.filter(security_events::org_id.eq(t.org()));
            let last = here.order_by(security_events::id.desc()).select(security_events::detail);
            Ok(last.first(t.conn()?).await?)
        })
        .await
        .unwrap();
    assert_eq!(detail, json!({"webhook_id": id, "what": "switched_off", "reason": "gone"}));
}

#[tokio::test]
async fn five_days_of_nothing_but_failures_switch_a_webhook_off() {
    let bench = Bench::new().await;
    let server = receiver(&[500; 3]).await;
    let (id, _) = bench.webhook(&server.uri(), &["tag.*"]).await;
    for days in [4, 2] {
        bench.event().await;
        bench.work_off().await;
        assert!(bench.find(id).await.fields.is_active);
        bench.db().clock().advance(TimeDelta::days(days));
    }
    bench.event().await;
    bench.work_off().await;
    let webhook = bench.find(id).await;
    assert_eq!((webhook.fields.is_active, webhook.disabled_reason), (false, Some(DisabledReason::Failing)));
    bench.pass(TimeDelta::days(1)).await;
    bench.work_off().await;
    assert_eq!(received(&server).await.len(), 3, "what waited is not sent any more");
    let states: Vec<_> = bench.deliveries(id).await.into_iter().map(|d| d.state).collect();
    assert_eq!(states, ["failed", "failed", "failed"]);
}

#[tokio::test]
async fn the_previous_secret_signs_for_a_day() {
    let bench = Bench::new().await;
    let server = receiver(&[]).await;
    let (id, first) = bench.webhook(&server.uri(), &["tag.*"]).await;
    let rotated = bench.inside(async |t| bench.webhooks.rotate_secret(t, &Client::default(), id).await);
    let second = rotated.await.unwrap().secret;
    bench.event().await;
    bench.work_off().await;
    let request = &received(&server).await[0];
    assert!(is_signed_by(request, &first) && is_signed_by(request, &second));
    assert_eq!(request.headers.get("webhook-signature").unwrap().to_str().unwrap().split(' ').count(), 2);
    bench.pass(TimeDelta::hours(25)).await;
    bench.event().await;
    bench.work_off().await;
    let signatures = received(&server).await[1].headers.get("webhook-signature").unwrap().clone();
    assert_eq!(signatures.to_str().unwrap().split(' ').count(), 1);
}

#[tokio::test]
async fn a_delivery_can_be_asked_for_again() {
    let bench = Bench::new().await;
    let server = receiver(&[500]).await;
    let (id, _) = bench.webhook(&server.uri(), &["tag.*"]).await;
    bench.event().await;
    bench.work_off().await;
    let delivery = bench.delivery(id).await.id;
    let redeliver = || bench.inside(async |t| bench.webhooks.redeliver(t, delivery).await);
    let asked = redeliver().await.unwrap();
    assert_eq!((asked.id, asked.state.as_str()), (delivery, "pending"));
    bench.pass(TimeDelta::minutes(1)).await;
    bench.work_off().await;
    assert_eq!(received(&server).await.len(), 2, "the job of the first attempt has nothing to do any more");
    redeliver().await.unwrap();
    bench.work_off().await;
    let again = bench.delivery(id).await;
    assert_eq!((again.state.as_str(), statuses(&again.attempts)), ("delivered", vec![500, 200, 200]));
    let ids = received(&server).await;
    assert!(
        ids.iter().all(|r| r.headers.get("webhook-id").unwrap().to_str().unwrap() == delivery.to_string())
    );

    let theirs = org(bench.db()).await;
    let foreign = bench.db().tenant(&theirs, async |t| bench.webhooks.redeliver(t, delivery).await);
    assert_eq!(foreign.await.unwrap_err().code(), Code::NotFound);
    bench.patch(id, json!({"is_active": false})).await.unwrap();
    assert_eq!(redeliver().await.unwrap_err().code(), Code::Conflict);
    let test = bench.inside(async |t| bench.webhooks.test(t, id).await);
    assert_eq!(test.await.unwrap_err().code(), Code::Conflict);
}

#[tokio::test]
async fn a_webhook_can_be_tried() {
    let bench = Bench::new().await;
    let server = receiver(&[]).await;
    let (id, secret) = bench.webhook(&server.uri(), &["tag.created"]).await;
    let asked = bench.inside(async |t| bench.webhooks.test(t, id).await).await.unwrap();
    assert_eq!((asked.state.as_str(), asked.event.as_str()), ("pending", "webhook.test"));
    bench.work_off().await;
    let requests = received(&server).await;
    assert_eq!(types(&requests), ["webhook.test"]);
    assert!(is_signed_by(&requests[0], &secret));
    assert_eq!(bench.delivery(id).await.state, "delivered");
}

#[tokio::test]
async fn a_receiver_gets_it_again_where_the_answer_was_not_written_down() {
    let bench = Bench::new().await;
    let server = receiver(&[]).await;
    let (id, _) = bench.webhook(&server.uri(), &["tag.*"]).await;
    bench.event().await;
    // A worker that is taken for lost: its job is somebody else's by the time the answer is there.
    let lost = async |job: &Job| {
        if job.kind == "webhooks.deliver" {
            bench.as_owner("UPDATE jobs SET lease = gen_random_uuid() WHERE state = 'leased'".into()).await;
        }
        bench.webhooks.handle(job).await.unwrap()
    };
    let worker = crm_jobs::Worker::new(bench.db().clone());
    while worker.work_off(&lost).await.unwrap() > 0 {}
    let delivery = bench.delivery(id).await;
    assert_eq!((received(&server).await.len(), delivery.state.as_str()), (1, "pending"));
    bench.as_owner("UPDATE jobs SET run_at = now() - interval '1 minute'".into()).await;
    bench.work_off().await;
    bench.pass(TimeDelta::hours(1)).await;
    bench.work_off().await;
    let delivery = bench.delivery(id).await;
    assert_eq!((delivery.state.as_str(), statuses(&delivery.attempts)), ("delivered", vec![200]));
    assert_eq!(received(&server).await.len(), 2);
}

#[tokio::test]
async fn a_deleted_webhook_takes_its_deliveries_along() {
    let bench = Bench::new().await;
    let server = receiver(&[500]).await;
    let (id, _) = bench.webhook(&server.uri(), &["tag.*"]).await;
    bench.event().await;
    bench.work_off().await;
    let nothing = Precondition::default();
    bench.inside(async |t| bench.webhooks.delete(t, &Client::default(), id, &nothing).await).await.unwrap();
    bench.pass(TimeDelta::hours(1)).await;
    bench.work_off().await;
    assert_eq!(received(&server).await.len(), 1);
    assert_eq!(count(&bench).await, 0);
}

#[tokio::test]
async fn deliveries_show_nobody_what_they_could_not_read() {
    let bench = Bench::new().await;
    let server = receiver(&[500]).await;
    let (id, _) = bench.webhook(&server.uri(), &["tag.*"]).await;
    bench.event().await;
    bench.work_off().await;
    bench.inside(async |t| bench.webhooks.test(t, id).await).await.unwrap();
    for (scope, sees) in [(None, false), (Some(Scope::Own), false), (Some(Scope::All), true)] {
        let webhooks: (_, &[_], _) = ("webhooks", &["view", "change"], Scope::All);
        let tags = scope.map(|scope| ("tags", &["view"][..], scope));
        let member = somebody(&bench.org, &[webhooks].into_iter().chain(tags).collect::<Vec<_>>());
        let seen = bench.deliveries_as(&member, id).await;
        let [event, test] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((event.event.as_str(), test.event.as_str()), ("tag.created", "webhook.test"));
        assert_eq!((event.body.is_some(), test.body.is_some()), (sees, true), "{scope:?}");
        assert_eq!(event.attempts[0]["response"], if sees { json!("said 500") } else { Value::Null });
        assert_eq!(event.attempts[0]["status"], 500);
        let (this, test) = (event.id, test.id);
        let again = bench.db().tenant(&member, async |t| bench.webhooks.redeliver(t, this).await).await;
        assert_eq!(again.map_err(|e| e.code()).err(), (!sees).then_some(Code::Forbidden), "{scope:?}");
        bench.db().tenant(&member, async |t| bench.webhooks.redeliver(t, test).await).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_leads_elsewhere_what_they_could_not_read() {
    let bench = Bench::new().await;
    let server = receiver(&[500]).await;
    let (id, _) = bench.webhook(&server.uri(), &["tag.*", "lead.*"]).await;
    bench.event().await;
    bench.work_off().await;
    let (webhooks, leads): ((_, &[_], _), (_, &[_], _)) =
        (("webhooks", &["change"], Scope::All), ("leads", &["view"], Scope::All));
    let member = somebody(&bench.org, &[webhooks, leads]);
    let elsewhere = json!({"url": "https://example.com/", "events": ["lead.*"]});
    let refused = async || bench.patch_as(&member, id, elsewhere.clone()).await.unwrap_err().code();
    assert_eq!(refused().await, Code::Forbidden, "what it asked for");
    bench.patch(id, json!({"events": ["lead.*"]})).await.unwrap();
    assert_eq!(refused().await, Code::Forbidden, "what is still on its way");
    bench.patch_as(&member, id, json!({"description": "x"})).await.unwrap();
    bench.pass(TimeDelta::hours(1)).await;
    bench.work_off().await;
    assert_eq!(bench.delivery(id).await.state, "delivered");
    bench.patch_as(&member, id, elsewhere.clone()).await.unwrap();
}

#[tokio::test]
async fn a_webhook_can_be_deleted_while_an_attempt_is_written_down() {
    let bench = Bench::new().await;
    let server = receiver(&[500]).await;
    let (id, _) = bench.webhook(&server.uri(), &["tag.*"]).await;
    bench.event().await;
    let waiting = sql::<Bool>(
        "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))",
    );
    let locked = tokio::sync::Notify::new();
    let deletion = bench.inside(async |t| {
        let this = webhooks::table.filter(webhooks::org_id.eq(t.org()).and(webhooks::id.eq(id)));
        this.select(webhooks::id).for_no_key_update().first::<Uuid>(t.conn()?).await?;
        locked.notify_one();
        while !diesel::select(waiting.clone()).get_result::<bool>(t.conn()?).await? {
            tokio::task::yield_now().await;
        }
        let free = webhook_deliveries::table.filter(webhook_deliveries::org_id.eq(t.org()));
        let free = free.select(webhook_deliveries::id).for_update().no_wait();
        assert_eq!(free.load::<Uuid>(t.conn()?).await?.len(), 1, "whoever waits holds no delivery");
        bench.webhooks.delete(t, &Client::default(), id, &Precondition::default()).await
    });
    let attempt = async {
        locked.notified().await;
        bench.work_off().await;
    };
    let both = tokio::time::timeout(Duration::from_secs(20), join(deletion, attempt));
    both.await.unwrap().0.unwrap();
    assert_eq!((received(&server).await.len(), count(&bench).await), (1, 0));
}

async fn count(bench: &Bench) -> i64 {
    let counted = bench.inside(async |t| {
        let here = webhook_deliveries::table.filter(webhook_deliveries::org_id.eq(t.org()));
        Ok(here.count().get_result(t.conn()?).await?)
    });
    counted.await.unwrap()
}

#[tokio::test]
async fn deliveries_are_kept_for_a_month() {
    let bench = Bench::new().await;
    let server = receiver(&[]).await;
    let (id, _) = bench.webhook(&server.uri(), &["tag.*"]).await;
    for _ in 0..2 {
        bench.event().await;
        bench.work_off().await;
        bench.db().clock().advance(TimeDelta::days(20));
    }
    assert_eq!(bench.inside(purge).await.unwrap(), 1);
    assert_eq!(bench.inside(purge).await.unwrap(), 0);
    assert_eq!(bench.deliveries(id).await.len(), 1);
    let job = format!(
        "BEGIN; SET LOCAL app.current_org = '{}'; \
         SELECT jobs_put('{}', 'webhooks.purge', '{{}}', NULL, NULL, NULL); COMMIT",
        bench.org.org.id,
        Uuid::now_v7()
    );
    bench.db().clock().advance(TimeDelta::days(20));
    bench.as_owner(job).await;
    bench.work_off().await;
    assert_eq!(count(&bench).await, 0);
}
