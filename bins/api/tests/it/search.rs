use serde_json::{Value, json};

use crate::app::{Person, TestApp};

fn escape(text: &str) -> String {
    serde_urlencoded::to_string([("q", text)]).unwrap()
}

/// What a search answers, once it succeeds: the titles with their ranks.
async fn found(person: &Person, words: &str) -> Vec<(String, i64)> {
    let answer = person.get(&format!("/api/search/?limit=20&{}", escape(words))).await.expect(200);
    let hit = |hit: &Value| (hit["title"].as_str().unwrap().to_owned(), hit["rank"].as_i64().unwrap());
    answer["results"].as_array().unwrap().iter().map(hit).collect()
}

async fn titles(person: &Person, words: &str) -> Vec<String> {
    found(person, words).await.into_iter().map(|(title, _)| title).collect()
}

fn ranked<const N: usize>(all: [(&str, i64); N]) -> Vec<(String, i64)> {
    all.map(|(title, rank)| (title.to_owned(), rank)).to_vec()
}

#[actix_web::test]
async fn what_fits_best_comes_first_and_the_newest_of_what_fits_alike() {
    let ann = TestApp::new().await.founder().await;
    for (title, company) in [
        ("Oak", "First"),
        ("Oakland", "Second"),
        ("A table of oak", "Third"),
        ("A chair", "Oak & Sons"),
        ("Soaking wet", "Fifth"),
        ("Elm", "Sixth"),
        ("oak", "Seventh"),
        ("Two tables of oak", "Eighth"),
    ] {
        ann.lead(json!({"title": title, "company_name": company})).await;
    }
    let all = [
        ("oak", 0),
        ("Oak", 0),
        ("Oakland", 1),
        ("Two tables of oak", 2),
        ("A table of oak", 2),
        ("A chair", 3),
        ("Soaking wet", 4),
    ];
    assert_eq!(found(&ann, "oak").await, ranked(all));
    assert_eq!(found(&ann, "  OAK ").await, ranked(all));
    assert_eq!(found(&ann, "oak table").await, ranked([("Two tables of oak", 2), ("A table of oak", 2)]));
    assert_eq!(found(&ann, "a TABLE  of").await, ranked([("A table of oak", 1)]), "the title begins with it");
    assert_eq!(found(&ann, "chair sons").await, ranked([("A chair", 3)]), "words of title and text together");
    assert_eq!(found(&ann, "oak elm").await, [], "all words, not some");
    let answer = ann.get("/api/search/?q=%20a%20table%20&limit=1").await.expect(200);
    assert_eq!(answer["query"], "a table");
    let hit = &answer["results"][0];
    assert_eq!((&hit["kind"], &hit["subtitle"]), (&json!("lead"), &json!("Third")));
    let lead = ann.get(&format!("/api/leads/{}/", hit["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(lead["title"], "A table of oak");
}

#[actix_web::test]
async fn case_accents_and_signs_do_not_hide_anything() {
    let ann = TestApp::new().await.founder().await;
    for lead in [
        json!({"title": "Müller", "last_name": "Straße", "email": "hallo@bader.example"}),
        json!({"title": "Café Zürich"}),
        json!({"title": "100% off_er", "company_name": "O'Neil \\ Söhne"}),
        json!({"title": "Meyer-Schulze \"Quoted\""}),
        json!({"title": "Иванов", "city": "ÅLESUND"}),
    ] {
        ann.lead(lead).await;
    }
    for (words, want) in [
        ("muller", vec!["Müller"]),
        ("MÜLLER", vec!["Müller"]),
        ("mull", vec!["Müller"]),
        ("üll", vec!["Müller"]),
        ("strasse", vec!["Müller"]),
        ("straße", vec!["Müller"]),
        ("hallo@bäder.example", vec!["Müller"]),
        ("lo@ba", vec!["Müller"]),
        ("zurich", vec!["Café Zürich"]),
        ("Zürich cafe", vec!["Café Zürich"]),
        ("иван", vec!["Иванов"]),
        ("alesund", vec!["Иванов"]),
        ("schulze", vec!["Meyer-Schulze \"Quoted\""]),
        ("r-sch", vec!["Meyer-Schulze \"Quoted\""]),
        ("\"quoted\"", vec!["Meyer-Schulze \"Quoted\""]),
        ("100%", vec!["100% off_er"]),
        ("f_e", vec!["100% off_er"]),
        ("o'neil", vec!["100% off_er"]),
        ("' OR '1'='1", vec![]),
        ("\\", vec!["100% off_er"]),
        ("%%", vec![]),
        ("___", vec![]),
        ("$1", vec![]),
        // Two characters are looked for where a word begins.
        ("zü", vec!["Café Zürich"]),
        ("ur", vec![]),
        ("ba", vec!["Müller"]),
    ] {
        // A single character is no question.
        let want = if words.chars().count() < 2 { vec![] } else { want };
        assert_eq!(titles(&ann, words).await, want, "{words}");
    }
    assert_eq!(
        found(&ann, "schulze").await,
        ranked([("Meyer-Schulze \"Quoted\"", 2)]),
        "a word begins there"
    );
}

#[actix_web::test]
async fn a_question_is_judged_before_it_is_asked() {
    let ann = TestApp::new().await.founder().await;
    for number in 0..25 {
        ann.lead(json!({"title": format!("Lead {number}")})).await;
    }
    let many = |query: &str| {
        let path = format!("/api/search/?{query}");
        let ann = ann.clone();
        async move { ann.get(&path).await.expect(200)["results"].as_array().unwrap().len() }
    };
    assert_eq!(many("q=lead").await, 6);
    assert_eq!(many("q=lead&limit=20").await, 20);
    assert_eq!(many("q=lead&limit=3&kinds=lead").await, 3);
    assert_eq!(many("q=lead&kinds=").await, 6);
    for nothing in ["", "q=", "q=%20%20", "q=l", "q=%20l%20"] {
        assert_eq!(many(nothing).await, 0, "{nothing}");
    }
    assert_eq!(many(&format!("q={}", "l".repeat(200))).await, 0);
    assert_eq!(many("q=a+b+c+d+e+f+g+h+i+j").await, 0);
    for (query, field, says) in [
        (format!("q={}", "l".repeat(201)), "q", "200 characters"),
        ("q=a+b+c+d+e+f+g+h+i+j+k".into(), "q", "10 words"),
        ("q=a%00b".into(), "q", "U+0000"),
        ("q=lead&limit=0".into(), "limit", "from 1 to 20"),
        ("q=lead&limit=21".into(), "limit", "from 1 to 20"),
        ("q=lead&limit=x".into(), "limit", "from 1 to 20"),
        ("q=lead&kinds=leed".into(), "kinds", "did you mean lead?"),
        ("q=lead&kinds=lead,elephants".into(), "kinds", "kinds: lead"),
        ("q=lead&kind=lead".into(), "kind", "did you mean kinds?"),
    ] {
        let reply = ann.get(&format!("/api/search/?{query}")).await;
        let text = String::from_utf8(reply.bytes.clone()).unwrap();
        assert_eq!(reply.problem(400).1, [field], "{query}");
        assert!(text.contains(says), "{query}: {text}");
    }
}

#[actix_web::test]
async fn everybody_finds_what_their_list_shows_and_nothing_else() {
    let ann = TestApp::new().await.founder().await;
    let (bob, eve) = (ann.colleague("USER").await, ann.colleague("USER").await);
    let courier = ann.colleague("COURIER").await;
    let team =
        ann.post("/api/teams/", &json!({"name": "East", "users": [bob.member_id()]})).await.expect(201);
    ann.lead(json!({"title": "Oak of nobody"})).await;
    ann.lead(json!({"title": "Oak assigned", "assigned_to": [bob.member_id()]})).await;
    ann.lead(json!({"title": "Oak of the team", "teams": [team["id"]]})).await;
    bob.lead(json!({"title": "Oak made by Bob"})).await;
    let bobs = ["Oak made by Bob", "Oak of the team", "Oak assigned"];
    assert_eq!(titles(&ann, "oak").await, [&bobs[..], &["Oak of nobody"]].concat());
    assert_eq!(titles(&bob, "oak").await, bobs);
    assert_eq!(titles(&eve, "oak").await, [""; 0]);
    assert_eq!(titles(&courier, "oak").await, [""; 0], "no permission, no record, and no refusal");
    for exact in ["oak of nobody", "of nobody", "nobod"] {
        assert_eq!(titles(&ann, exact).await, ["Oak of nobody"]);
        let answer = bob.get(&format!("/api/search/?{}", escape(exact))).await;
        assert!(!String::from_utf8(answer.bytes).unwrap().contains("Oak of nobody"), "{exact}");
    }
    let at = format!("/api/teams/{}/", team["id"].as_str().unwrap());
    ann.patch(&at, &json!({"users": [eve.member_id()]})).await.expect(200);
    assert_eq!(titles(&bob, "oak").await, ["Oak made by Bob", "Oak assigned"]);
    assert_eq!(titles(&eve, "oak").await, ["Oak of the team"]);
}

#[actix_web::test]
async fn no_organization_finds_anything_of_another() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    ann.lead(json!({"title": "Secret oak", "company_name": "Two Hundred Chairs"})).await;
    eve.lead(json!({"title": "Oak of Eve"})).await;
    for words in ["secret oak", "oak", "hundred", "chair"] {
        let answer = eve.get(&format!("/api/search/?{}", escape(words))).await;
        let text = String::from_utf8(answer.bytes.clone()).unwrap();
        assert!(!text.contains("Secret") && !text.contains("Hundred"), "{text}");
    }
    assert_eq!(titles(&eve, "oak").await, ["Oak of Eve"]);
    assert_eq!(titles(&ann, "oak").await, ["Secret oak"]);
}

#[actix_web::test]
async fn the_search_knows_of_every_change_at_once() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "Oak", "company_name": "Old Name"})).await;
    let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
    ann.patch(&at, &json!({"title": "Elm", "company_name": "New Name"})).await.expect(200);
    assert_eq!(found(&ann, "elm").await, ranked([("Elm", 0)]));
    assert_eq!(found(&ann, "new name").await, ranked([("Elm", 3)]));
    assert_eq!(titles(&ann, "oak").await, [""; 0]);
    assert_eq!(titles(&ann, "old").await, [""; 0]);
    assert_eq!(ann.patch(&at, &json!({"title": "Ash", "probability": 200})).await.status, 422);
    assert_eq!(titles(&ann, "ash").await, [""; 0], "what was refused is not found");
    ann.delete(&at).await.expect(204);
    assert_eq!(titles(&ann, "elm").await, [""; 0]);
    let person = ann.lead(json!({"salutation": "Dr", "first_name": "Ada", "last_name": "Byron"})).await;
    assert_eq!(
        found(&ann, "dr ada byron").await,
        ranked([("Dr Ada Byron", 0)]),
        "a title made of other fields"
    );
    assert_eq!(ann.get("/api/leads/?search=dr+byron").await.expect(200)["results"][0]["id"], person["id"]);
}
