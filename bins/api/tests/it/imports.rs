//! Files as records.

use serde_json::{Value, json};

use crate::app::{Person, TestApp};

/// An application with a database of its own: whoever works off the jobs of another one looks for the files in the wrong place.
pub(crate) async fn alone() -> (Person, crm_testkit::Database) {
    let database = crm_testkit::fresh_database().await;
    (TestApp::on(database.db.clone()).await.founder().await, database)
}

pub(crate) async fn preview(ann: &Person, query: &str, text: &str) -> Value {
    ann.upload(&format!("/api/leads/import/preview/{query}"), "leads.csv", text.as_bytes()).await.expect(200)
}

/// Puts an import in, and leaves it to be worked on.
pub(crate) async fn begin(ann: &Person, at: &str, text: &str) -> Value {
    ann.upload(at, "file.csv", text.as_bytes()).await.expect(202)
}

/// An import as it stands.
pub(crate) async fn now(ann: &Person, import: &Value) -> Value {
    ann.get(&at_import(import)).await.expect(200)
}

/// Takes an import back, and answers how many rows that took back and how many it left.
pub(crate) async fn undo(ann: &Person, import: &Value) -> (i64, i64) {
    ann.post(&format!("{}undo/", at_import(import)), &json!({})).await.expect(202);
    ann.app.work().await;
    let undone = now(ann, import).await;
    assert_eq!(undone["state"], "undone", "{undone}");
    (undone["undone_rows"].as_i64().unwrap(), undone["kept_rows"].as_i64().unwrap())
}

/// Imports a file, has the work done, and answers what came of it.
pub(crate) async fn import(ann: &Person, at: &str, text: &str) -> Value {
    let reply = ann.upload(at, "file.csv", text.as_bytes()).await;
    let location = reply.header("location").to_owned();
    let begun = reply.expect(202);
    assert_eq!((&begun["state"], location), (&json!("queued"), at_import(&begun)));
    ann.app.work().await;
    ann.get(&at_import(&begun)).await.expect(200)
}

pub(crate) fn at_import(import: &Value) -> String {
    format!("/api/imports/{}/", import["id"].as_str().unwrap())
}

pub(crate) fn counts(import: &Value) -> [i64; 4] {
    ["created_rows", "updated_rows", "skipped_rows", "failed_rows"].map(|key| import[key].as_i64().unwrap())
}

pub(crate) async fn count(ann: &Person, module: &str) -> i64 {
    ann.get(&format!("/api/{module}/?count=true&limit=1")).await.expect(200)["count"].as_i64().unwrap()
}

pub(crate) async fn errors(ann: &Person, import: &Value) -> Vec<Vec<String>> {
    let reply = ann.get(&format!("{}errors/", at_import(import))).await;
    assert_eq!(reply.status, 200);
    let mut csv =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(reply.bytes.as_slice());
    csv.records().map(|line| line.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[actix_web::test]
async fn a_preview_tells_what_would_happen_and_writes_nothing() {
    let ann = TestApp::new().await.founder().await;
    ann.lead(json!({"title": "there", "email": "there@example.com"})).await;
    let text = "Title;E-Mail;Amount;Currency;Fax;Status;Owner;Tags\n\
                ok;ok@example.com;1.250,50;EUR;1;In Process;;new tag\n\
                bad;no address;1,250;;;;nobody@example.com;\n\
                twice;OK@example.com;;;;;;\n\
                known;THERE@example.com;;;;;;\n\
                converted;;;;;converted;;\n";
    let seen = preview(&ann, "", text).await;
    assert_eq!(
        (&seen["delimiter"], &seen["encoding"], &seen["rows_total"]),
        (&json!(";"), &json!("UTF-8"), &json!(5))
    );
    let fields: Vec<_> = seen["columns"].as_array().unwrap().iter().map(|c| c["field"].clone()).collect();
    assert_eq!(
        json!(fields),
        json!(["title", "email", "opportunity_amount", "currency", null, "status", "assigned_to", "tags"])
    );
    let verdict = |n: usize| &seen["verdicts"][n];
    let wrong = |n: usize| -> Vec<&str> {
        verdict(n)["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect()
    };
    assert_eq!(
        (&verdict(0)["ok"], &verdict(0)["action"], &verdict(0)["row"]),
        (&json!(true), &json!("create"), &json!(1))
    );
    assert_eq!(verdict(0)["values"]["opportunity_amount"], "1250.50");
    assert_eq!(verdict(0)["values"]["status"], "in process");
    assert_eq!(wrong(1), ["opportunity_amount", "assigned_to", "email"]);
    assert_eq!(wrong(2), ["email"], "{}", verdict(2));
    assert!(verdict(2)["errors"][0]["message"].as_str().unwrap().contains("row 1"));
    assert_eq!((wrong(3), &verdict(3)["errors"][0]["code"]), (vec!["email"], &json!("taken")));
    assert_eq!(wrong(4), ["status"], "a file converts nothing");
    assert_eq!(seen["summary"], json!({"judged": 5, "create": 1, "update": 0, "skip": 0, "error": 4}));
    let skipped = preview(&ann, "?duplicates=skip&limit=1", text).await;
    assert_eq!(skipped["verdicts"].as_array().unwrap().len(), 1);
    assert_eq!(skipped["summary"], json!({"judged": 5, "create": 1, "update": 0, "skip": 2, "error": 2}));
    assert_eq!(
        (count(&ann, "leads").await, count(&ann, "tags").await, count(&ann, "imports").await),
        (1, 0, 0)
    );
}

#[actix_web::test]
async fn a_file_that_is_not_understood_is_refused_at_once() {
    let ann = TestApp::new().await.founder().await;
    for (query, bytes, status, field) in [
        ("", b"\n\n".as_slice(), 422, "file"),
        ("", b"title\n", 422, "file"),
        ("", b"fax\n1\n", 422, "file"),
        ("", b"PK\x03\x04", 415, ""),
        ("?delimiter=ab", b"title\nx\n", 400, "delimiter"),
        ("?mapping=x", b"title\nx\n", 400, "mapping"),
        ("?mapping=%7B%22Fax%22:%22title%22%7D", b"title\nx\n", 400, "mapping"),
        ("?duplicates=merge", b"title\nx\n", 400, "duplicates"),
        ("?mode=some", b"title\nx\n", 400, "mode"),
        ("?date_format=us", b"title\nx\n", 400, "date_format"),
        ("?encoding=x", b"title\nx\n", 400, "encoding"),
    ] {
        let reply = ann.upload(&format!("/api/leads/import/{query}"), "file.csv", bytes).await;
        let want: &[&str] = if field.is_empty() { &[] } else { &[field] };
        assert_eq!(reply.problem(status).1, want, "{query} {bytes:?}");
    }
    assert_eq!(count(&ann, "imports").await, 0);
}

#[actix_web::test]
async fn all_or_nothing_a_bad_row_keeps_all_out_and_tells_why() {
    let (ann, _database) = alone().await;
    let text = "title,email,note\na,a@example.com,=1+1\nb,no address,=2+2\nc,a@example.com,x\n";
    let done = import(&ann, "/api/leads/import/?mapping=%7B%22note%22:null%7D", text).await;
    assert_eq!((&done["state"], counts(&done)), (&json!("failed"), [0, 0, 0, 2]));
    assert!(done["error"].as_str().unwrap().contains("2 rows"), "{done}");
    assert_eq!(count(&ann, "leads").await, 0);
    let told = errors(&ann, &done).await;
    assert_eq!(told[0], ["row", "field", "message", "title", "email", "note"]);
    assert_eq!((told[1][0].as_str(), told[1][1].as_str(), told[1][5].as_str()), ("2", "email", "'=2+2"));
    assert_eq!((told[2][0].as_str(), told[2][1].as_str()), ("3", "email"));
    let good = import(&ann, "/api/leads/import/", "title,email\na,a@example.com\nb,b@example.com\n").await;
    assert_eq!((&good["state"], counts(&good)), (&json!("done"), [2, 0, 0, 0]));
    assert_eq!((&good["done_rows"], &good["total_rows"]), (&json!(2), &json!(2)));
    assert_eq!(count(&ann, "leads").await, 2);
    assert_eq!(ann.get("/api/leads/?search=b@example.com").await.expect(200)["results"][0]["title"], "b");
}

#[actix_web::test]
async fn bad_rows_are_left_out_where_that_is_asked_for() {
    let (ann, _database) = alone().await;
    let bob = ann.colleague("USER").await;
    ann.app.work().await;
    let team = ann.post("/api/teams/", &json!({"name": "East"})).await.expect(201);
    let field = json!({"target": "leads", "key": "size", "label": "Size", "field_type": "number", "is_filterable": true});
    ann.post("/api/custom-fields/", &field).await.expect(201);
    let mut text = String::from("title,email,assigned_to,teams,tags,Size\n");
    text.push_str(&format!("one,one@example.com,{},EAST,Fair; News,12\n", bob.email.to_uppercase()));
    text.push_str("two,nothing,,,,\n");
    for n in 0..1_200 {
        text.push_str(&format!("lead {n},lead{n}@example.com,,,fair,\n"));
    }
    let done = import(&ann, "/api/leads/import/?mode=skip_bad", &text).await;
    assert_eq!((&done["state"], counts(&done)), (&json!("done"), [1_201, 0, 0, 1]), "{done}");
    assert_eq!((count(&ann, "leads").await, count(&ann, "tags").await), (1_201, 2));
    let one = &ann.get("/api/leads/?cf_size=12&expand=tags").await.expect(200)["results"][0];
    assert_eq!(
        (&one["title"], &one["assigned_to"], &one["teams"]),
        (&json!("one"), &json!([bob.member_id()]), &json!([team["id"]]))
    );
    assert_eq!(one["tags"].as_array().unwrap().len(), 2);
    assert_eq!(ann.app.mails("assigned").await.len(), 0, "nobody wants a mail for each row");
    let history = ann.get(&format!("/api/leads/{}/history/", one["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(history["results"][0]["action"], "created");
}

#[actix_web::test]
async fn what_is_there_already_is_refused_left_out_or_changed_as_one_asks() {
    let (ann, _database) = alone().await;
    let lead = ann.lead(json!({"title": "old", "email": "a@example.com", "city": "Bonn"})).await;
    let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
    let text = "title,email,city\nnew,A@example.com,\nother,b@example.com,Kiel\nthird,b@example.com,Trier\n";
    let skipped = import(&ann, "/api/leads/import/?duplicates=skip", text).await;
    assert_eq!((&skipped["state"], counts(&skipped)), (&json!("done"), [1, 0, 2, 0]));
    assert_eq!(ann.get(&at).await.expect(200)["title"], "old");
    let refused = import(&ann, "/api/leads/import/?mode=skip_bad", text).await;
    assert_eq!(counts(&refused), [0, 0, 0, 3]);
    let changed = import(&ann, "/api/leads/import/?duplicates=update", &text.replace("b@", "c@")).await;
    assert_eq!((&changed["state"], counts(&changed)), (&json!("done"), [1, 2, 0, 0]), "{changed}");
    let now = ann.get(&at).await.expect(200);
    assert_eq!(
        (&now["title"], &now["city"], &now["version"]),
        (&json!("new"), &json!("Bonn"), &json!(2)),
        "a blank cell clears nothing"
    );
    let third = &ann.get("/api/leads/?email=c@example.com").await.expect(200)["results"][0];
    assert_eq!((&third["title"], &third["city"]), (&json!("third"), &json!("Trier")));
    // And back again.
    ann.post(&format!("{}undo/", at_import(&changed)), &json!({})).await.expect(202);
    ann.app.work().await;
    let undone = ann.get(&at_import(&changed)).await.expect(200);
    assert_eq!(
        (&undone["state"], &undone["undone_rows"], &undone["kept_rows"]),
        (&json!("undone"), &json!(3), &json!(0)),
        "{undone}"
    );
    assert_eq!(ann.get(&at).await.expect(200)["title"], "old");
    assert_eq!(ann.get("/api/leads/?email=c@example.com").await.expect(200)["results"], json!([]));
    assert_eq!(
        ann.post(&format!("{}undo/", at_import(&changed)), &json!({})).await.problem(409).0,
        "conflict"
    );
}

#[actix_web::test]
async fn taking_an_import_back_leaves_what_somebody_has_changed_since() {
    let (ann, _database) = alone().await;
    let done = import(
        &ann,
        "/api/accounts/import/",
        "Company name,Website\nAcme,https://acme.example\nGlobex,\nInitech,\n",
    )
    .await;
    assert_eq!((&done["state"], counts(&done)), (&json!("done"), [3, 0, 0, 0]), "{done}");
    let page = ann.get("/api/accounts/?ordering=name").await.expect(200);
    let id = |n: usize| page["results"][n]["id"].as_str().unwrap();
    ann.patch(&format!("/api/accounts/{}/", id(0)), &json!({"city": "Berlin"})).await.expect(200);
    ann.delete(&format!("/api/accounts/{}/", id(1))).await;
    ann.post(&format!("{}undo/", at_import(&done)), &json!({})).await.expect(202);
    ann.app.work().await;
    let undone = ann.get(&at_import(&done)).await.expect(200);
    assert_eq!(
        (&undone["state"], &undone["undone_rows"], &undone["kept_rows"]),
        (&json!("undone"), &json!(2), &json!(1))
    );
    let left = ann.get("/api/accounts/").await.expect(200);
    assert_eq!(left["results"].as_array().unwrap().len(), 1);
    assert_eq!(left["results"][0]["name"], "Acme");
}

#[actix_web::test]
async fn contacts_find_their_account_by_name_and_an_export_comes_in_as_it_went_out() {
    let (ann, _database) = alone().await;
    let account = ann.post("/api/accounts/", &json!({"name": "Acme; Söhne"})).await.expect(201);
    let text = "First Name,Last Name,E-mail,Account,Phone\n=Ann,Lee,ann@example.com,acme; söhne,+49 30 1234567\nBob,Roe,bob@example.com,Nobody Ltd,\n";
    let bad = import(&ann, "/api/contacts/import/?mode=skip_bad", text).await;
    assert_eq!(counts(&bad), [1, 0, 0, 1], "{bad}");
    assert_eq!(errors(&ann, &bad).await[1][1], "account");
    let contact = &ann.get("/api/contacts/").await.expect(200)["results"][0];
    assert_eq!((&contact["account_id"], &contact["first_name"]), (&account["id"], &json!("=Ann")));
    let out = ann.get("/api/contacts/export/").await;
    let eve = ann.app.founder().await;
    eve.post("/api/accounts/", &json!({"name": "Acme; Söhne"})).await.expect(201);
    let text = String::from_utf8(out.bytes).unwrap();
    assert!(text.contains("'=Ann") && text.contains("'+49"), "{text}");
    let again = import(&eve, "/api/contacts/import/", &text).await;
    assert_eq!(
        (&again["state"], counts(&again)),
        (&json!("done"), [1, 0, 0, 0]),
        "{again} {:?}",
        errors(&eve, &again).await
    );
    let theirs = &eve.get("/api/contacts/").await.expect(200)["results"][0];
    for field in ["first_name", "last_name", "email", "phone", "is_active"] {
        assert_eq!(theirs[field], contact[field], "{field}");
    }
    assert_ne!(theirs["id"], contact["id"]);
}

#[actix_web::test]
async fn who_may_not_import_does_not() {
    let ann = TestApp::new().await.founder().await;
    let (bob, eve) = (ann.colleague("USER").await, ann.app.founder().await);
    for path in ["/api/leads/import/preview/", "/api/leads/import/"] {
        assert_eq!(bob.upload(path, "x.csv", b"title\nx\n").await.problem(403).0, "forbidden");
    }
    assert_eq!(bob.get("/api/imports/").await.problem(403).0, "forbidden");
    let begun = ann.upload("/api/leads/import/", "x.csv", b"title\nx\n").await.expect(202);
    for path in ["", "errors/"] {
        assert_eq!(eve.get(&format!("{}{path}", at_import(&begun))).await.status, 404);
    }
    assert_eq!(eve.post(&format!("{}undo/", at_import(&begun)), &json!({})).await.status, 404);
    // One who may import, and may not add to the module.
    let grants = json!({"imports": {"actions": ["view", "add"], "scope": "all"}, "leads": {"actions": ["view"], "scope": "all"}});
    ann.post("/api/roles/", &json!({"name": "Importer", "grants": grants})).await.expect(201);
    let dan = ann.colleague("Importer").await;
    assert_eq!(dan.upload("/api/leads/import/", "x.csv", b"title\nx\n").await.problem(403).0, "forbidden");
}

#[actix_web::test]
async fn the_same_upload_with_the_same_key_is_one_import() {
    let ann = TestApp::new().await.founder().await;
    let send =
        async || ann.upload_keyed("/api/leads/import/", "x.csv", b"title\nx\n", Some("import-1")).await;
    let (first, again) = (send().await, send().await);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(first.expect(202)["id"], again.expect(202)["id"]);
    assert_eq!(count(&ann, "imports").await, 1);
}
