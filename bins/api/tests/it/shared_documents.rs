//! Documents that members share, not the OpenAPI document.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::app::{Person, QUOTA, TestApp};

const ALL: &str = "/api/documents/";
const PDF: &[u8] = b"%PDF-1.7 hello";

fn path(document: &Value) -> String {
    format!("{ALL}{}/", document["id"].as_str().unwrap())
}

async fn titles(person: &Person, query: &str) -> Vec<String> {
    let page = person.get(&format!("{ALL}?ordering=title&{query}")).await.expect(200);
    page["results"].as_array().unwrap().iter().map(|d| d["title"].as_str().unwrap().to_owned()).collect()
}

async fn used(person: &Person) -> (i64, i64) {
    let usage = person.get("/api/org/storage/").await.expect(200);
    assert_eq!(usage["quota_bytes"], QUOTA);
    (usage["used_bytes"].as_i64().unwrap(), usage["files"].as_i64().unwrap())
}

#[actix_web::test]
async fn a_document_is_added_read_changed_and_deleted() {
    let ann = TestApp::new().await.founder().await;
    let texts = [("title", " Price list "), ("status", "active")];
    let reply = ann.send_form(ALL, &texts, Some(("a.pdf", PDF))).await;
    let location = reply.header("location").to_owned();
    let document = reply.expect(201);
    assert_eq!(location, path(&document));
    assert_eq!(
        (&document["title"], &document["file_name"], &document["content_type"], &document["size_bytes"]),
        (&json!("Price list"), &json!("a.pdf"), &json!("application/pdf"), &json!(PDF.len()))
    );
    assert_eq!(ann.get(&path(&document)).await.expect(200), document);
    let download = ann.get(&format!("{}download/", path(&document))).await;
    assert_eq!((download.status, download.bytes.as_slice()), (200, PDF));
    assert!(download.header("content-disposition").contains("filename=\"Price list.pdf\""), "{download:?}");
    assert!(download.header("content-security-policy").starts_with("sandbox"));

    // The same title again is no duplicate of itself, and neither file nor status need be sent again.
    let same = ann.patch(&path(&document), &json!({"title": "Price list"})).await.expect(200);
    assert_eq!(same["version"], 1, "nothing changed");
    let changed = ann.patch(&path(&document), &json!({"status": "inactive"})).await.expect(200);
    assert_eq!((&changed["version"], &changed["title"]), (&json!(2), &json!("Price list")));
    assert_eq!(
        titles(&ann, "status=inactive").await,
        ["Price list"],
        "an organization of inactive ones alone"
    );
    let mut back = changed.clone();
    back["title"] = json!("Prices");
    assert_eq!(ann.put(&path(&document), &back).await.expect(200)["title"], "Prices");
    let (code, fields) = ann.patch(&path(&document), &json!({"size_bytes": 1})).await.problem(400);
    assert_eq!((code.as_str(), fields), ("read_only_field", vec!["size_bytes".to_owned()]));
    let found = ann.get("/api/search/?q=prices").await.expect(200);
    assert_eq!(
        (&found["results"][0]["kind"], &found["results"][0]["title"]),
        (&json!("document"), &json!("Prices"))
    );
    assert_eq!(titles(&ann, "search=a.pdf").await, ["Prices"]);

    assert_eq!(used(&ann).await, (PDF.len() as i64, 1));
    let stale = ann.with(Method::DELETE, &path(&document), ("if-match", "\"1\""), None).await;
    assert_eq!(stale.problem(412).0, "stale_version");
    assert_eq!(ann.delete(&path(&document)).await.status, 204);
    assert_eq!(ann.get(&path(&document)).await.problem(404).0, "not_found");
    assert_eq!(used(&ann).await, (0, 0), "its file went with it");
}

#[actix_web::test]
async fn one_rule_says_who_reads_a_document_in_list_detail_and_download() {
    let ann = TestApp::new().await.founder().await;
    let (bob, eve, joe) =
        (ann.colleague("USER").await, ann.colleague("USER").await, ann.colleague("USER").await);
    let team = json!({"name": "East", "users": [eve.member_id(), bob.member_id()]});
    let team = ann.post("/api/teams/", &team).await.expect(201);
    let team = team["id"].as_str().unwrap();
    let (to_bob, to_eve) = (bob.member_id(), eve.member_id());
    ann.document(&[("title", "Ann's own")]).await;
    bob.document(&[("title", "Bob's own")]).await;
    let several = [("title", "Shared"), ("shared_to", &*to_bob), ("shared_to", &*to_eve), ("teams", team)];
    let shared = ann.document(&several).await;
    let mut want = vec![to_bob.clone(), to_eve.clone()];
    want.sort();
    assert_eq!(shared["shared_to"], json!(want), "repeated parts are all kept");
    let teams = ann.document(&[("title", "The team's"), ("teams", team)]).await;
    assert_eq!(titles(&ann, "").await, ["Ann's own", "Bob's own", "Shared", "The team's"]);
    assert_eq!(titles(&bob, "").await, ["Bob's own", "Shared", "The team's"], "once, however it is reached");
    assert_eq!(titles(&bob, &format!("shared_to={to_bob}")).await, ["Shared"]);
    assert_eq!(titles(&eve, &format!("teams={team}")).await, ["Shared", "The team's"]);
    assert_eq!(titles(&joe, "").await, Vec::<String>::new());
    let expanded = bob.get(&format!("{}?expand=shared_to,teams", path(&shared))).await.expect(200);
    assert_eq!(expanded["teams"], json!([{"id": team, "name": "East"}]));
    for at in [path(&shared), format!("{}download/", path(&teams)), format!("{}history/", path(&teams))] {
        for (person, status) in [(&ann, 200), (&bob, 200), (&eve, 200), (&joe, 404)] {
            assert_eq!(person.get(&at).await.status, status, "{at}");
        }
    }
    // The bytes have a second door, and it has the same lock.
    let file = format!("/api/attachments/{}/download/", shared["file_id"].as_str().unwrap());
    assert_eq!((bob.get(&file).await.status, joe.get(&file).await.status), (200, 404));
}

#[actix_web::test]
async fn sharing_gives_reading_only() {
    let ann = TestApp::new().await.founder().await;
    let (bob, eve) = (ann.colleague("USER").await, ann.colleague("USER").await);
    let to_eve = eve.member_id();
    let document = bob.document(&[("title", "Bob's"), ("shared_to", &*to_eve)]).await;
    let (at, file) = (path(&document), format!("{}file/", path(&document)));
    assert_eq!(eve.patch(&at, &json!({"title": "Eve's"})).await.problem(403).0, "forbidden");
    assert_eq!(eve.patch(&at, &json!({"shared_to": []})).await.problem(403).0, "forbidden");
    assert_eq!(eve.upload(&file, "b.pdf", PDF).await.problem(403).0, "forbidden");
    assert_eq!(eve.delete(&at).await.problem(403).0, "forbidden");
    let files = at.replace(ALL, "/api/documents/attachment/");
    assert_eq!(eve.upload(&files, "b.pdf", PDF).await.problem(403).0, "forbidden");
    let stranger = ann.colleague("USER").await;
    assert_eq!(stranger.upload(&files, "b.pdf", PDF).await.problem(404).0, "not_found");
    assert_eq!(bob.get(&at).await.expect(200), document, "and nothing happened");
    // Whoever reads it may say something.
    let comments = at.replace(ALL, "/api/documents/comment/");
    eve.post(&comments, &json!({"comment": "nice"})).await.expect(201);
    assert_eq!(stranger.post(&comments, &json!({"comment": "nice"})).await.problem(404).0, "not_found");
    bob.upload(&files, "b.pdf", PDF).await.expect(201);
    // Its creator and an administrator write.
    bob.patch(&at, &json!({"title": "Bob's own"})).await.expect(200);
    ann.patch(&at, &json!({"shared_to": []})).await.expect(200);
    assert_eq!(eve.get(&at).await.status, 404);
    assert_eq!(bob.delete(&at).await.status, 204);
}

#[actix_web::test]
async fn a_document_refused_leaves_neither_row_nor_bytes() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    ann.document(&[("title", "Taken")]).await;
    let before = used(&ann).await;
    let file = Some(("a.pdf", PDF));
    let theirs = eve.member_id();
    type Texts<'a> = &'a [(&'a str, &'a str)];
    let refused: [(Texts<'_>, u16, &str); 9] = [
        (&[("title", "TAKEN")], 409, "title"),
        (&[("title", "  ")], 422, "title"),
        (&[("status", "active")], 422, "title"),
        (&[("title", "New"), ("status", "lost")], 422, "status"),
        (&[("title", "New"), ("shared_to", &theirs)], 422, "shared_to"),
        (&[("title", "New"), ("teams", "not-an-id")], 422, "teams"),
        (&[("title", "New"), ("title", "Twice")], 400, "title"),
        (&[("title", "New"), ("organization", "other")], 400, "organization"),
        (
            &[(
                "document",
                "{\"title\": \"New\", \"shared_to\": [\"0190b5a0-0000-7000-8000-00000000dead\"]}",
            )],
            422,
            "shared_to",
        ),
    ];
    for (texts, status, field) in refused {
        let fields = ann.send_form(ALL, texts, file).await.problem(status).1;
        assert!(fields.iter().any(|name| name.starts_with(field)), "{texts:?}: {fields:?}");
    }
    let both = [("document", "{\"title\": \"New\"}"), ("title", "New")];
    assert_eq!(ann.send_form(ALL, &both, file).await.problem(400).0, "malformed_request");
    assert_eq!(ann.send_form(ALL, &[("document", "[]")], file).await.problem(400).0, "malformed_request");
    assert_eq!(ann.send_form(ALL, &[("title", "New")], None).await.problem(422).1, ["file"]);
    assert_eq!(ann.send_form(ALL, &[("title", "New")], Some(("a.exe", b"MZ"))).await.status, 415);
    assert_eq!(ann.send_form(ALL, &[("title", "New")], Some(("a.txt", b""))).await.problem(422).1, ["file"]);
    let long = "x".repeat(70 * 1024);
    assert_eq!(ann.send_form(ALL, &[("title", &*long)], file).await.problem(413).0, "payload_too_large");
    assert_eq!(ann.post(ALL, &json!({"title": "New"})).await.problem(415).0, "unsupported_media_type");
    assert_eq!(titles(&ann, "").await, ["Taken"]);
    assert_eq!(used(&ann).await, before);
    let json = [("document", "{\"title\": \"From JSON\", \"status\": \"inactive\"}")];
    assert_eq!(ann.send_form(ALL, &json, file).await.expect(201)["status"], "inactive");
}

#[actix_web::test]
async fn a_replaced_file_stays_among_the_attachments() {
    let ann = TestApp::new().await.founder().await;
    let document = ann.document(&[("title", "Plan")]).await;
    let (at, first) = (path(&document), document["file_id"].as_str().unwrap().to_owned());
    let replaced = ann.upload(&format!("{at}file/"), "new.txt", b"new words").await.expect(200);
    assert_eq!((&replaced["version"], &replaced["file_name"]), (&json!(2), &json!("new.txt")));
    let download = ann.get(&format!("{at}download/")).await;
    assert_eq!(download.bytes, b"new words");
    assert!(download.header("content-disposition").contains("Plan.txt"));
    let files = ann.get(&format!("/api/documents/attachment/{}/", document["id"].as_str().unwrap())).await;
    let files = files.expect(200);
    let names: Vec<_> = files["results"].as_array().unwrap().iter().map(|f| f["file_name"].clone()).collect();
    assert_eq!(names, ["new.txt", "paper.pdf"]);
    let second = replaced["file_id"].as_str().unwrap();
    let delete = async |id: &str| ann.delete(&format!("/api/documents/attachment/{id}/")).await;
    assert_eq!(delete(second).await.problem(409).0, "in_use", "a document has a file");
    assert_eq!(delete(&first).await.status, 204);
    assert_eq!(used(&ann).await, (9, 1));
    assert_eq!(ann.upload(&format!("{at}file/"), "a.exe", b"MZ").await.status, 415);
    let history = ann.get(&format!("{at}history/?action=updated")).await;
    assert_eq!(history.expect(200)["results"][0]["fields"]["file_name"], json!(["paper.pdf", "new.txt"]));
}

#[actix_web::test]
async fn whoever_a_document_is_shared_with_is_told() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let to_bob = bob.member_id();
    let document = ann.document(&[("title", "For Bob"), ("shared_to", &*to_bob)]).await;
    let mail = bob.app.mail_of(&bob.email, "assigned").await;
    assert_eq!(mail.data["title"], "For Bob");
    assert!(mail.data["link"].as_str().unwrap().ends_with(document["id"].as_str().unwrap()));
}
