use std::convert::Infallible;

use bytes::Bytes;
use crm_core::OrgId;
use crm_jobs::System;
use crm_records::{attachments, orphans};
use crm_schema::storage_usage;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use crate::app::{Person, QUOTA, TestApp};

fn org_of(person: &Person) -> OrgId {
    OrgId(person.org["id"].as_str().unwrap().parse().unwrap())
}

#[actix_web::test]
async fn a_file_is_kept_and_served_as_a_download() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "With a file"})).await;
    let files = format!("/api/leads/attachment/{}/", lead["id"].as_str().unwrap());
    let page = b"<html><script>alert(1)</script></html>";
    let added = ann.upload(&files, "../../Offer \u{e9}.html", page).await.expect(201);
    assert_eq!(
        (&added["file_name"], &added["size_bytes"]),
        (&json!("Offer \u{e9}.html"), &json!(page.len()))
    );
    let id = added["id"].as_str().unwrap();
    let download = ann.get(&format!("/api/attachments/{id}/download/")).await;
    assert_eq!((download.status, download.bytes.as_slice()), (200, page.as_slice()));
    assert!(download.header("content-disposition").starts_with("attachment; "), "{download:?}");
    assert_eq!(download.header("x-content-type-options"), "nosniff");
    assert!(download.header("content-security-policy").starts_with("sandbox"));
    assert_eq!(ann.get(&files).await.expect(200)["results"], json!([added]));
    assert_eq!(ann.delete(&format!("/api/leads/attachment/{id}/")).await.status, 204);
    assert_eq!(ann.get(&format!("/api/attachments/{id}/download/")).await.problem(404).0, "not_found");
}

#[actix_web::test]
async fn what_must_not_be_kept_is_refused() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "Without files"})).await;
    let files = format!("/api/leads/attachment/{}/", lead["id"].as_str().unwrap());
    assert_eq!(ann.upload(&files, "setup.exe", b"MZ").await.problem(415).0, "unsupported_media_type");
    assert_eq!(
        ann.upload(&files, "harmless.txt", b"\x7fELF\x02\x01\x01").await.problem(415).0,
        "unsupported_media_type"
    );
    assert_eq!(ann.upload(&files, "empty.txt", b"").await.problem(422).0, "validation_failed");
    let limit = 25 * 1024 * 1024;
    assert_eq!(
        ann.upload(&files, "large.bin", &vec![7; limit + 1]).await.problem(413).0,
        "payload_too_large"
    );
    ann.upload(&files, "just-right.bin", &vec![7; limit]).await.expect(201);
    assert_eq!(ann.post(&files, &json!({"file": "x"})).await.problem(415).0, "unsupported_media_type");
    assert_eq!(ann.get(&format!("{files}?count=true")).await.expect(200)["count"], 1);
}

#[actix_web::test]
async fn a_file_is_for_whoever_may_see_its_record() {
    let ann = TestApp::new().await.founder().await;
    let (bob, eve) = (ann.colleague("USER").await, ann.colleague("USER").await);
    let lead = bob.lead(json!({"title": "Bob's"})).await;
    let files = format!("/api/leads/attachment/{}/", lead["id"].as_str().unwrap());
    let file = bob.upload(&files, "a.txt", b"hello").await.expect(201);
    let download = format!("/api/attachments/{}/download/", file["id"].as_str().unwrap());
    assert_eq!(ann.get(&download).await.status, 200);
    assert_eq!(eve.get(&download).await.problem(404).0, "not_found");
    assert_eq!(eve.upload(&files, "b.txt", b"hello").await.problem(404).0, "not_found");
    assert_eq!(
        eve.delete(&format!("/api/leads/attachment/{}/", file["id"].as_str().unwrap())).await.status,
        404
    );
}

#[actix_web::test]
async fn bytes_that_no_row_names_are_swept_after_a_day() {
    let database = crm_testkit::fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let lead = ann.lead(json!({"title": "With a file"})).await;
    let files = format!("/api/leads/attachment/{}/", lead["id"].as_str().unwrap());
    let kept = ann.upload(&files, "kept.txt", b"kept").await.expect(201);
    let (org, orphan) = (org_of(&ann), Uuid::now_v7());
    let bytes = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from("lost"))]);
    app.state.storage.put(org.0, orphan, "lost.txt", 1_000, bytes).await.unwrap();
    let sweep = async || orphans::sweep(&app.db, &app.state.storage, org).await.unwrap();
    assert_eq!(sweep().await, 0, "its row may be on its way");
    app.db.clock().advance(chrono::TimeDelta::hours(25));
    assert_eq!(sweep().await, 1);
    assert!(app.state.storage.get(&crm_storage::Key::new(org.0, orphan)).await.is_err());
    let ann = ann.sign_in_again().await;
    let download = format!("/api/attachments/{}/download/", kept["id"].as_str().unwrap());
    assert_eq!(ann.get(&download).await.bytes, b"kept");
}

#[actix_web::test]
async fn a_sweep_counts_anew_what_is_kept() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    for (person, names) in [(&ann, ["a.txt", "b.txt"].as_slice()), (&eve, &["c.txt"])] {
        let lead = person.lead(json!({"title": "With files"})).await;
        let files = format!("/api/leads/attachment/{}/", lead["id"].as_str().unwrap());
        for name in names {
            person.upload(&files, name, b"hello").await.expect(201);
        }
    }
    let usage = async |person: &Person| person.get("/api/org/storage/").await.expect(200);
    let wrong = (storage_usage::used_bytes.eq(1_000_000), storage_usage::files.eq(1));
    app.db
        .tenant(&System(org_of(&ann)), async |t| -> crm_core::Result<()> {
            let this = storage_usage::table.filter(storage_usage::org_id.eq(t.org()));
            diesel::update(this).set(wrong).execute(t.conn()?).await?;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(usage(&ann).await["used_bytes"], 1_000_000);
    assert_eq!(orphans::sweep(&app.db, &app.state.storage, org_of(&ann)).await.unwrap(), 0);
    assert_eq!(usage(&ann).await, json!({"used_bytes": 10, "files": 2, "quota_bytes": QUOTA}));
    assert_eq!(usage(&eve).await["used_bytes"], 5);
    let nobody = app.founder().await;
    orphans::sweep(&app.db, &app.state.storage, org_of(&nobody)).await.unwrap();
    assert_eq!(usage(&nobody).await["files"], 0, "without any file there is nothing to count");
}

#[actix_web::test]
async fn a_file_that_comes_while_its_record_goes_is_counted_out_with_it() {
    let database = crm_testkit::fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let lead = ann.lead(json!({"title": "Going"})).await;
    let (org, lead, id) = (org_of(&ann), lead["id"].as_str().unwrap(), Uuid::now_v7());
    let bytes = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from("hello"))]);
    let stored = app.state.storage.put(org.0, id, "a.txt", 1_000, bytes).await.unwrap();
    let mut coming = app.db.open(&System(org)).await.unwrap();
    let target = &crm_leads::LEADS;
    attachments::create(&mut coming, target, lead.parse().unwrap(), id, stored, None).await.unwrap();
    let path = format!("/api/leads/{lead}/");
    let commit = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting = diesel::select(sql::<BigInt>(&format!("({waiting})")));
        let is_waited_for = async || {
            let count = app.db.platform(async |p| -> crm_core::Result<i64> {
                Ok(waiting.clone().get_result(p.conn()?).await?)
            });
            count.await.unwrap() > 0
        };
        while !is_waited_for().await {}
        coming.commit().await.unwrap();
    };
    let (gone, ()) = tokio::join!(ann.delete(&path), commit);
    assert_eq!(gone.status, 204);
    let usage = ann.get("/api/org/storage/").await.expect(200);
    assert_eq!(usage, json!({"used_bytes": 0, "files": 0, "quota_bytes": QUOTA}));
}
