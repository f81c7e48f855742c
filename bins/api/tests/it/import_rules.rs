//! What a file may do, and what it tells: the rules of a single record for every row, and of the caller for every look.

use serde_json::{Value, json};

use crate::app::Person;
use crate::imports::{alone, at_import, count, counts, errors, import, now};

async fn preview(ann: &Person, at: &str, text: &str) -> Value {
    ann.upload(at, "file.csv", text.as_bytes()).await.expect(200)
}

/// A colleague who may import, and what else `leads` and the other modules say.
async fn importer(ann: &Person, grants: Value) -> Person {
    let mut all = json!({"imports": {"actions": ["view", "add"], "scope": "all"}});
    for (module, grant) in grants.as_object().unwrap() {
        all[module] = grant.clone();
    }
    ann.post("/api/roles/", &json!({"name": "Importer", "grants": all})).await.expect(201);
    let bob = ann.colleague("Importer").await;
    ann.app.work().await;
    bob
}

fn own() -> Value {
    json!({"actions": ["view", "add", "change"], "scope": "own"})
}

#[actix_web::test]
async fn a_row_that_is_refused_takes_no_later_row_of_its_kind_with_it() {
    let (ann, _database) = alone().await;
    for (n, duplicates) in ["error", "skip", "update"].into_iter().enumerate() {
        // The first row of each pair is refused only once it is to be written.
        let mut text =
            format!("title,email,status\nbad,a{n}@example.com,converted\ngood,a{n}@example.com,\n");
        text.push_str(&format!("bad,b{n}@example.com,converted\n"));
        for filler in 0..600 {
            text.push_str(&format!("filler,{n}-{filler}@example.com,\n"));
        }
        text.push_str(&format!("good,b{n}@example.com,\nagain,B{n}@example.com,\n"));
        let seen = preview(&ann, &format!("/api/leads/import/preview/?duplicates={duplicates}"), &text).await;
        let done =
            import(&ann, &format!("/api/leads/import/?mode=skip_bad&duplicates={duplicates}"), &text).await;
        let [update, skip, refused] = match duplicates {
            "error" => [0, 0, 3],
            "skip" => [0, 1, 2],
            _ => [1, 0, 2],
        };
        assert_eq!(counts(&done), [602, update, skip, refused], "{duplicates}");
        let summary = json!({"judged": 605, "create": 602, "update": update, "skip": skip, "error": refused});
        assert_eq!(seen["summary"], summary, "{duplicates}");
        for kind in ["a", "b"] {
            let lead = ann.get(&format!("/api/leads/?email={kind}{n}@example.com")).await.expect(200);
            let title = if kind == "b" && duplicates == "update" { "again" } else { "good" };
            assert_eq!(lead["results"][0]["title"], title, "{duplicates} {kind}");
        }
    }
}

#[actix_web::test]
async fn a_file_converts_no_lead_by_any_way_in() {
    let (ann, _database) = alone().await;
    let lead =
        ann.lead(json!({"title": "there", "email": "there@example.com", "company_name": "Acme"})).await;
    // Contacts that nobody sees refuse the batch as a whole, so that each row of it is added by itself.
    let text = "first_name,last_name,email,company_name,status,contacts\n\
                A,One,one@example.com,Acme,converted,\n\
                A,Two,two@example.com,Acme,,0190b5a0-0000-7000-8000-00000000dead\n\
                A,Three,three@example.com,Acme,assigned,\n\
                A,Three,three@example.com,Acme,converted,\n\
                A,There,there@example.com,Acme,converted,\n";
    for duplicates in ["update", "error"] {
        let seen = preview(&ann, &format!("/api/leads/import/preview/?duplicates={duplicates}"), text).await;
        let done =
            import(&ann, &format!("/api/leads/import/?mode=skip_bad&duplicates={duplicates}"), text).await;
        let made = i64::from(duplicates == "update");
        assert_eq!(counts(&done), [made, 0, 0, 5 - made], "{duplicates}: {:?}", errors(&ann, &done).await);
        assert_eq!(seen["summary"]["error"], 5 - made, "{seen}");
        let told = errors(&ann, &done).await;
        let fields: Vec<&str> = told.iter().skip(1).map(|row| row[1].as_str()).collect();
        let fault = if duplicates == "update" { "status" } else { "email" };
        assert_eq!((fields[0], *fields.last().unwrap()), ("status", fault), "{told:?}");
    }
    for module in ["accounts", "contacts", "opportunities"] {
        assert_eq!(count(&ann, module).await, 0, "{module}");
    }
    let left = ann.get(&format!("/api/leads/{}/", lead["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&left["status"], &left["version"]), (&lead["status"], &json!(1)));
}

#[actix_web::test]
async fn changes_are_judged_like_additions_before_anything_is_written() {
    let (ann, _database) = alone().await;
    let lead = ann.lead(json!({"title": "there", "email": "there@example.com"})).await;
    let text = "title,email,status\nnew,there@example.com,converted\nnewer,there@example.com,assigned\n\
                made,made@example.com,\nmade again,made@example.com,converted\n";
    let seen = preview(&ann, "/api/leads/import/preview/?duplicates=update", text).await;
    let actions: Vec<_> =
        seen["verdicts"].as_array().unwrap().iter().map(|row| row["action"].clone()).collect();
    assert_eq!(actions, ["error", "update", "create", "error"], "{seen}");
    assert_eq!(seen["verdicts"][0]["errors"][0]["field"], "status");
    let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
    assert_eq!(ann.get(&at).await.expect(200)["version"], 1, "a preview writes nothing");
    // All or nothing, the rows behind the first bad one are told too, whatever they would do.
    let mut twice = text.to_owned();
    for n in 0..600 {
        twice.push_str(&format!("filler,filler{n}@example.com,\n"));
    }
    twice.push_str(&format!("bad,no address,\n{}", text.split_once('\n').unwrap().1));
    let done = import(&ann, "/api/leads/import/?duplicates=update", &twice).await;
    assert_eq!((&done["state"], &done["failed_rows"]), (&json!("failed"), &json!(5)), "{done}");
    let rows: Vec<String> = errors(&ann, &done).await.into_iter().skip(1).map(|row| row[0].clone()).collect();
    assert_eq!(rows, ["1", "4", "605", "606", "609"]);
    assert_eq!(
        (ann.get(&at).await.expect(200)["version"].clone(), count(&ann, "leads").await),
        (json!(1), 1)
    );
}

#[actix_web::test]
async fn deals_come_in_by_the_rules_that_hold_for_each() {
    let (ann, _database) = alone().await;
    ann.post("/api/accounts/", &json!({"name": "Acme"})).await.expect(201);
    ann.deal(json!({"name": "There"})).await;
    let field = json!({"target": "opportunities", "key": "size", "label": "Size", "field_type": "number", "is_filterable": true});
    ann.post("/api/custom-fields/", &field).await.expect(201);
    let text = "name,account,stage,amount,currency,probability,closed_on,Size,tags\n\
                open,ACME,Proposal,1250.50,EUR,,2027-01-31,12,big\n\
                by hand,,NEGOTIATION,,,33,,,\n\
                won,,CLOSED_WON,10,USD,20,2026-01-31,,\n\
                lost,,CLOSED_LOST,,,,,,\n\
                nothing won,,CLOSED_WON,,,,,,\n\
                THERE,,,,,,,,\n\
                OPEN,,,,,,,,\n\
                no such account,Globex,,,,,,,\n\
                unlikely,,,,,101,,,\n";
    let seen = preview(&ann, "/api/opportunities/import/preview/", text).await;
    assert_eq!(
        seen["summary"],
        json!({"judged": 9, "create": 4, "update": 0, "skip": 0, "error": 5}),
        "{seen}"
    );
    let done = import(&ann, "/api/opportunities/import/?mode=skip_bad", text).await;
    assert_eq!(counts(&done), [4, 0, 0, 5], "{done}");
    let told = errors(&ann, &done).await;
    let told: Vec<_> = told.iter().skip(1).map(|row| (row[0].as_str(), row[1].as_str())).collect();
    assert_eq!(told, [("5", "amount"), ("6", "name"), ("7", "name"), ("8", "account"), ("9", "probability")]);
    let today = chrono::Utc::now().date_naive().to_string();
    for (name, probability, by_hand, closed_by, closed_on) in [
        ("open", 50, false, Value::Null, json!("2027-01-31")),
        ("by hand", 33, true, Value::Null, Value::Null),
        ("won", 100, false, json!(ann.member_id()), json!("2026-01-31")),
        ("lost", 0, false, json!(ann.member_id()), json!(today)),
    ] {
        let page =
            ann.get(&format!("/api/opportunities/?name={}", name.replace(' ', "%20"))).await.expect(200);
        let deal = &page["results"][0];
        let got =
            (&deal["probability"], &deal["probability_is_manual"], &deal["closed_by"], &deal["closed_on"]);
        assert_eq!(got, (&json!(probability), &json!(by_hand), &closed_by, &closed_on), "{name}");
        let history = format!("/api/opportunities/{}/history/", deal["id"].as_str().unwrap());
        assert_eq!(ann.get(&history).await.expect(200)["results"][0]["action"], "created", "{name}");
    }
    let open = &ann.get("/api/opportunities/?cf_size=12&expand=account,tags").await.expect(200)["results"][0];
    assert_eq!(
        (&open["account"]["name"], &open["tags"][0]["name"]),
        (&json!("Acme"), &json!("big")),
        "{open}"
    );
    assert_eq!(ann.column("CLOSED_WON").await, ["won"]);
    // The board takes its sums from the tallies.
    assert_eq!(ann.column("PROSPECTING").await, ["There"]);
    assert_eq!(ann.get("/api/search/?q=by%20hand").await.expect(200)["results"][0]["title"], "by hand");
}

#[actix_web::test]
async fn whoever_imports_reaches_no_further_than_otherwise() {
    let (ann, _database) = alone().await;
    let hidden = ann.lead(json!({"title": "hers", "email": "hers@example.com"})).await;
    ann.post("/api/accounts/", &json!({"name": "Hers"})).await.expect(201);
    let bob = importer(&ann, json!({"leads": own(), "accounts": own(), "contacts": own()})).await;
    bob.lead(json!({"title": "his", "email": "his@example.com"})).await;
    bob.post("/api/accounts/", &json!({"name": "His"})).await.expect(201);
    let text = "title,email\nx,hers@example.com\ny,his@example.com\nz,new@example.com\n";
    for (duplicates, actions) in [
        ("error", ["error", "error", "create"]),
        ("skip", ["skip", "skip", "create"]),
        ("update", ["error", "update", "create"]),
    ] {
        let at = format!("/api/leads/import/preview/?duplicates={duplicates}");
        let seen = preview(&bob, &at, text).await;
        let got: Vec<_> =
            seen["verdicts"].as_array().unwrap().iter().map(|row| row["action"].clone()).collect();
        assert_eq!(got, actions, "{duplicates}");
        assert_eq!(seen["verdicts"][0].get("duplicate_of"), None, "{seen}");
        assert_eq!(seen["verdicts"][1].get("duplicate_of").is_some(), duplicates != "error", "{seen}");
        let all = preview(&ann, &at, text).await;
        let known = (duplicates != "error").then_some(&hidden["id"]);
        assert_eq!(all["verdicts"][0].get("duplicate_of"), known, "{all}");
    }
    let done = import(&bob, "/api/leads/import/?mode=skip_bad&duplicates=update", text).await;
    assert_eq!(counts(&done), [1, 1, 0, 1], "{done}");
    let left = ann.get(&format!("/api/leads/{}/", hidden["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&left["title"], &left["version"]), (&json!("hers"), &json!(1)));
    assert_eq!(count(&bob, "leads").await, 2);
    // Names of accounts lead only to those that one sees, one hidden among them or not.
    let text = "first_name,last_name,account\nA,One,His\nB,Two,Hers\nC,Three,his\n";
    let done = import(&bob, "/api/contacts/import/?mode=skip_bad", text).await;
    assert_eq!(counts(&done), [2, 0, 0, 1], "{done}");
    assert_eq!(errors(&bob, &done).await[1][..2], ["2", "account"]);
}

#[actix_web::test]
async fn an_import_is_shown_to_whoever_may_see_what_it_makes() {
    let (ann, _database) = alone().await;
    let leads = import(&ann, "/api/leads/import/?mode=skip_bad", "title,email\nx,no address\n").await;
    let accounts = import(&ann, "/api/accounts/import/?mode=skip_bad", "name,email\nx,no address\n").await;
    let bob = importer(&ann, json!({"accounts": own()})).await;
    let file = |import: &Value| format!("/api/attachments/{}/download/", import["file_id"].as_str().unwrap());
    for (import, status) in [(&leads, 404), (&accounts, 200)] {
        for path in [at_import(import), format!("{}errors/", at_import(import)), file(import)] {
            assert_eq!(bob.get(&path).await.status, status, "{path}");
            assert_eq!(ann.get(&path).await.status, 200, "{path}");
        }
    }
    let listed = bob.get("/api/imports/").await.expect(200);
    let listed: Vec<_> = listed["results"].as_array().unwrap().iter().map(|i| i["id"].clone()).collect();
    assert_eq!(listed, [accounts["id"].clone()]);
    assert_eq!(count(&ann, "imports").await, 2);
}

#[actix_web::test]
async fn no_tag_is_made_for_a_row_that_is_refused() {
    let (ann, _database) = alone().await;
    ann.lead(json!({"title": "there", "email": "there@example.com"})).await;
    let text = "title,email,status,tags\nx,no address,,unseen\ny,there@example.com,,known already\n\
                z,z@example.com,converted,too late\ngood,good@example.com,,Fair;News\n";
    let done = import(&ann, "/api/leads/import/?mode=skip_bad", text).await;
    assert_eq!(counts(&done), [1, 0, 0, 3], "{done}");
    let tags = ann.get("/api/tags/?ordering=name").await.expect(200);
    let names: Vec<_> = tags["results"].as_array().unwrap().iter().map(|tag| tag["name"].clone()).collect();
    assert_eq!(names, ["Fair", "News"]);
    // A later row may still want it.
    let text = "title,email,status,tags\nz,z@example.com,converted,Late\nz,zz@example.com,,late\n";
    assert_eq!(counts(&import(&ann, "/api/leads/import/?mode=skip_bad", text).await), [1, 0, 0, 1]);
    assert_eq!(count(&ann, "tags").await, 3);
}

#[actix_web::test]
async fn a_file_tells_how_its_whole_numbers_are_written_and_where_its_rows_stand() {
    let (ann, _database) = alone().await;
    let text = "Name;Number of employees\n\nAcme;1.250\n\n\nGlobex;1,5\n";
    let done = import(&ann, "/api/accounts/import/?mode=skip_bad&decimal=,", text).await;
    assert_eq!((counts(&done), &done["total_rows"]), ([1, 0, 0, 1], &json!(5)), "{done}");
    assert_eq!(errors(&ann, &done).await[1][..2], ["5", "number_of_employees"]);
    assert_eq!(ann.get("/api/accounts/").await.expect(200)["results"][0]["number_of_employees"], 1_250);
    let unsure =
        preview(&ann, "/api/accounts/import/preview/", "name,number_of_employees\nAcme,\"1,250\"\n").await;
    let message = unsure["verdicts"][0]["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("decimal="), "{message}");
}

#[actix_web::test]
async fn a_file_with_what_no_text_has_is_refused_and_not_our_fault() {
    let (ann, _database) = alone().await;
    let utf16 = |text: &str| {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    };
    let utf32: Vec<u8> = "\u{feff}title\nx\n".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    let commas = vec![b','; 20 * 1024 * 1024];
    for bytes in [utf16("title\nx\0y\n"), utf32, commas] {
        for path in ["/api/leads/import/preview/", "/api/leads/import/"] {
            assert_eq!(ann.upload(path, "file.csv", &bytes).await.problem(422).1, ["file"]);
        }
    }
    let good = ann.upload("/api/leads/import/", "file.csv", &utf16("title\nx\n")).await.expect(202);
    ann.app.work().await;
    assert_eq!(now(&ann, &good).await["state"], "done");
}
