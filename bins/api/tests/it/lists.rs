use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

fn titles(page: &Value) -> Vec<&str> {
    page["results"].as_array().unwrap().iter().map(|lead| lead["title"].as_str().unwrap()).collect()
}

async fn with_leads(n: usize) -> Person {
    let ann = TestApp::new().await.founder().await;
    for i in 0..n {
        let amount = if i % 3 == 0 { Value::Null } else { json!(format!("{}", i / 2)) };
        let rating = if i % 2 == 0 { "HOT" } else { "WARM" };
        ann.lead(json!({"title": format!("Lead {i:02}"), "opportunity_amount": amount, "rating": rating}))
            .await;
    }
    ann
}

#[actix_web::test]
async fn pages_neither_repeat_nor_skip_while_rows_come_and_go() {
    let ann = with_leads(11).await;
    let first = ann.get("/api/leads/?limit=4").await.expect(200);
    assert_eq!(titles(&first), ["Lead 10", "Lead 09", "Lead 08", "Lead 07"]);
    assert_eq!((&first["count"], &first["previous"]), (&Value::Null, &Value::Null));
    ann.lead(json!({"title": "Newcomer"})).await;
    ann.delete(&format!("/api/leads/{}/", first["results"][3]["id"].as_str().unwrap())).await;
    let second = ann.get(first["next"].as_str().unwrap()).await.expect(200);
    assert_eq!(titles(&second), ["Lead 06", "Lead 05", "Lead 04", "Lead 03"]);
    let third = ann.get(second["next"].as_str().unwrap()).await.expect(200);
    assert_eq!((titles(&third), &third["next"]), (vec!["Lead 02", "Lead 01", "Lead 00"], &Value::Null));
    let back = ann.get(third["previous"].as_str().unwrap()).await.expect(200);
    assert_eq!(titles(&back), titles(&second));
    let front = ann.get(back["previous"].as_str().unwrap()).await.expect(200);
    assert_eq!(titles(&front), ["Newcomer", "Lead 10", "Lead 09", "Lead 08"][..].to_vec());
}

#[actix_web::test]
async fn every_ordering_pages_through_all_rows_also_where_values_are_missing() {
    let ann = with_leads(11).await;
    for ordering in [
        "opportunity_amount",
        "-opportunity_amount",
        "title",
        "-created_at",
        "rating,-opportunity_amount",
        "-rating,title",
    ] {
        let all = ann.get(&format!("/api/leads/?ordering={ordering}&limit=200")).await.expect(200);
        let all: Vec<_> = titles(&all).into_iter().map(str::to_owned).collect();
        assert_eq!(all.len(), 11);
        let mut seen = Vec::new();
        let mut next = json!(format!("/api/leads/?ordering={ordering}&limit=3"));
        let mut last = Value::Null;
        while let Some(url) = next.as_str() {
            last = ann.get(url).await.expect(200);
            seen.extend(titles(&last).into_iter().map(str::to_owned));
            next = last["next"].clone();
        }
        assert_eq!(seen, all, "{ordering}");
        let mut back: Vec<String> = titles(&last).into_iter().map(str::to_owned).collect();
        while let Some(url) = last["previous"].as_str().map(str::to_owned) {
            last = ann.get(&url).await.expect(200);
            let mut page: Vec<String> = titles(&last).into_iter().map(str::to_owned).collect();
            page.append(&mut back);
            back = page;
        }
        assert_eq!(back, all, "{ordering} backwards");
    }
}

/// The digest of a query of one parameter, as it stands in its cursors.
fn digest_of(query: &str) -> String {
    use sha2::{Digest, Sha256};
    let (key, value) = query.split_once('=').unwrap();
    let hash = Sha256::digest(format!("{key}\0{value}\0"));
    URL_SAFE_NO_PAD.encode(&hash[..9])
}

#[actix_web::test]
async fn a_cursor_belongs_to_its_query() {
    let ann = with_leads(3).await;
    let page = ann.get("/api/leads/?limit=1&rating=HOT").await.expect(200);
    let next = page["next"].as_str().unwrap();
    let cursor = next.split("cursor=").nth(1).unwrap();
    ann.get(&format!("/api/leads/?limit=2&rating=HOT&cursor={cursor}")).await.expect(200);
    let forged = |ordering: &str, keys: Value| {
        let page = json!({"q": digest_of(ordering), "k": keys});
        format!("{ordering}&cursor={}", URL_SAFE_NO_PAD.encode(page.to_string()))
    };
    for query in [
        forged("ordering=title", json!(["\u{0}", "0190b5a0-0000-7000-8000-000000000000"])),
        forged(
            "ordering=created_at",
            json!(["-262143-01-01 00:00:00+00", "0190b5a0-0000-7000-8000-000000000000"]),
        ),
        forged("ordering=close_date", json!(["-9999-01-01", "0190b5a0-0000-7000-8000-000000000000"])),
        forged("search=lead", json!([])),
        forged("search=lead", json!(["x"])),
        forged("search=lead", json!([null])),
        format!("cursor={cursor}"),
        format!("rating=WARM&cursor={cursor}"),
        "cursor=nonsense".into(),
        "cursor=e30".into(),
    ] {
        assert_eq!(
            ann.get(&format!("/api/leads/?{query}")).await.problem(400).0,
            "invalid_cursor",
            "{query}"
        );
    }
}

#[actix_web::test]
async fn filters_find_what_they_say() {
    let ann = TestApp::new().await.founder().await;
    let tag = ann.post("/api/tags/", &json!({"name": "Big Deal"})).await.expect(201);
    let team =
        ann.post("/api/teams/", &json!({"name": "East", "users": [ann.member_id()]})).await.expect(201);
    ann.lead(json!({
        "title": "A", "status": "assigned", "city": "Berlin", "opportunity_amount": "100", "close_date": "2027-01-10",
        "email": "A@example.com", "assigned_to": [ann.member_id()], "tags": [tag["id"]], "probability": 10,
    }))
    .await;
    ann.lead(json!({"title": "B", "status": "closed", "city": "Bergen", "opportunity_amount": "250.50", "teams": [team["id"]]})).await;
    ann.lead(json!({"title": "C", "is_active": false})).await;
    let me = ann.member_id();
    let (tag, team) = (tag["id"].as_str().unwrap(), team["id"].as_str().unwrap());
    let today = chrono::Utc::now().date_naive();
    for (query, want) in [
        ("status=assigned".to_owned(), vec!["A"]),
        ("status__ne=closed".into(), vec!["C", "A"]),
        ("status__in=assigned,closed".into(), vec!["B", "A"]),
        ("status__isnull=true".into(), vec!["C"]),
        ("city__istartswith=BER".into(), vec!["B", "A"]),
        ("city__icontains=lin".into(), vec!["A"]),
        ("city__icontains=%25".into(), vec![]),
        ("opportunity_amount__gt=100".into(), vec!["B"]),
        ("opportunity_amount__gte=100&opportunity_amount__lt=250.50".into(), vec!["A"]),
        ("close_date__lte=2027-01-10".into(), vec!["A"]),
        ("email=a@EXAMPLE.com".into(), vec!["A"]),
        ("is_active=false".into(), vec!["C"]),
        (format!("assigned_to={me}"), vec!["A"]),
        ("assigned_to__isnull=true".into(), vec!["C", "B"]),
        (format!("tags={tag}"), vec!["A"]),
        (format!("tags__ne={tag}"), vec!["C", "B"]),
        (format!("teams={team}"), vec!["B"]),
        (format!("created_by={me}"), vec!["C", "B", "A"]),
        (format!("created_at__gte={today}"), vec!["C", "B", "A"]),
        (format!("created_at__lte={today}"), vec!["C", "B", "A"]),
        (format!("created_at={today}"), vec!["C", "B", "A"]),
        (format!("created_at__lt={today}"), vec![]),
        ("created_at__gte=2020-01-01T00:00:00%2B02:00".into(), vec!["C", "B", "A"]),
        ("probability__lte=0".into(), vec!["C", "B"]),
        ("search=ber".into(), vec!["B", "A"]),
    ] {
        let page = ann.get(&format!("/api/leads/?{query}")).await.expect(200);
        assert_eq!(titles(&page), want, "{query}");
    }
}

#[actix_web::test]
async fn what_is_not_understood_is_refused_with_the_nearest_word() {
    let ann = TestApp::new().await.founder().await;
    for (query, field, hint) in [
        ("statuss=closed", "statuss", "status"),
        ("status__like=x", "status__like", "in"),
        ("status=close", "status", "closed"),
        ("ordering=titel", "ordering", "title"),
        ("ordering=description", "ordering", "one of"),
        ("expand=tag", "expand", "tags"),
        ("limit=0", "limit", "1 to 200"),
        ("limit=201", "limit", "1 to 200"),
        ("limit=ten", "limit", "1 to 200"),
        ("offset=10001", "offset", "10000"),
        ("count=yes", "count", "true"),
        ("close_date=2026-02-30", "close_date", "date"),
        ("close_date__gte=-9999-01-01", "close_date__gte", "date"),
        ("created_at__gte=-4713-01-01", "created_at__gte", "date"),
        ("created_at__gte=yesterday", "created_at__gte", "date"),
        ("opportunity_amount__gt=Infinity", "opportunity_amount__gt", "amount"),
        ("assigned_to=me", "assigned_to", "id"),
        ("is_active=perhaps", "is_active", "true"),
        ("search=a+b+c+d+e+f+g+h+i+j+k", "search", "10 words"),
        ("tags__in=", "tags__in", "at least one"),
    ] {
        let reply = ann.get(&format!("/api/leads/?{query}")).await;
        let message = reply.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
        let (code, fields) = reply.problem(400);
        assert_eq!((code.as_str(), fields), ("invalid_parameter", vec![field.to_owned()]), "{query}");
        assert!(message.contains(hint), "{query}: {message}");
    }
    let many = "tags__isnull=1&".repeat(60);
    assert_eq!(ann.get(&format!("/api/leads/?{many}")).await.problem(400).0, "invalid_parameter");
    let long = "x".repeat(60_000);
    assert_eq!(ann.get(&format!("/api/leads/?{long}=1")).await.problem(400).0, "invalid_parameter");
    for query in ["fields=titel", "fields=id,nope", "fields=results"] {
        assert_eq!(ann.get(&format!("/api/leads/?{query}")).await.problem(400).1, ["fields"], "{query}");
    }
    let lead = ann.lead(json!({"title": "x"})).await;
    let all = lead.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(",");
    let page = ann.get(&format!("/api/leads/?fields={all}")).await.expect(200);
    assert_eq!(page["results"][0], lead, "every field that is shown can be asked for");
    let reply = ann.get(&format!("/api/leads/{}/?expnd=tags", lead["id"].as_str().unwrap())).await;
    assert_eq!(reply.problem(400).1, ["expnd"]);
}

#[actix_web::test]
async fn search_ignores_case_and_accents_and_takes_parts_of_words() {
    let ann = TestApp::new().await.founder().await;
    ann.lead(json!({"title": "Café Zürich", "last_name": "Łukasz", "email": "hello@cafe.example"})).await;
    ann.lead(json!({"title": "100% off_er", "company_name": "Zurich Holding"})).await;
    for (query, want) in [
        ("cafe", vec!["Café Zürich"]),
        ("ZURICH", vec!["100% off_er", "Café Zürich"]),
        ("zür hold", vec!["100% off_er"]),
        ("lukasz", vec!["Café Zürich"]),
        ("afe.exam", vec!["Café Zürich"]),
        ("z", vec!["100% off_er", "Café Zürich"]),
        ("ur", vec![]),
        ("100%25", vec!["100% off_er"]),
        ("f_e", vec!["100% off_er"]),
        ("nothing like it", vec![]),
    ] {
        let page = ann
            .get(&format!("/api/leads/?search={}&count=true", query.replace(' ', "+").replace('ü', "%C3%BC")))
            .await
            .expect(200);
        assert_eq!(
            (titles(&page), page["count"].as_u64()),
            (want.clone(), Some(want.len() as u64)),
            "{query}"
        );
    }
    let lead = ann.get("/api/leads/?search=cafe").await.expect(200)["results"][0].clone();
    ann.patch(
        &format!("/api/leads/{}/", lead["id"].as_str().unwrap()),
        &json!({"title": "Bistro", "email": null}),
    )
    .await
    .expect(200);
    assert_eq!(titles(&ann.get("/api/leads/?search=bist").await.expect(200)), ["Bistro"]);
    assert_eq!(titles(&ann.get("/api/leads/?search=cafe").await.expect(200)), Vec::<&str>::new());
}

#[actix_web::test]
async fn a_search_pages_to_its_end() {
    let ann = with_leads(9).await;
    for ordering in ["", "&ordering=title"] {
        let mut seen = Vec::new();
        let mut next = json!(format!("/api/leads/?search=lead&rating=HOT&limit=2{ordering}"));
        while let Some(url) = next.as_str() {
            let page = ann.get(url).await.expect(200);
            seen.extend(titles(&page).into_iter().map(str::to_owned));
            next = page["next"].clone();
        }
        let mut want: Vec<_> = (0..9).step_by(2).map(|i| format!("Lead {i:02}")).collect();
        if ordering.is_empty() {
            want.reverse();
        }
        assert_eq!(seen, want, "{ordering}");
    }
    let page = ann.get("/api/leads/?search=lead&limit=2&offset=3").await.expect(200);
    assert_eq!(titles(&page), ["Lead 05", "Lead 04"]);
}

#[actix_web::test]
async fn records_come_in_the_shape_that_is_asked_for() {
    let ann = TestApp::new().await.founder().await;
    let tag = ann.post("/api/tags/", &json!({"name": "Hot", "color": "red"})).await.expect(201);
    let lead =
        ann.lead(json!({"title": "Shaped", "tags": [tag["id"]], "assigned_to": [ann.member_id()]})).await;
    let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
    let small = ann.get(&format!("{at}?fields=id,title")).await.expect(200);
    assert_eq!(small, json!({"id": lead["id"], "title": "Shaped"}));
    let wide =
        ann.get("/api/leads/?expand=tags,assigned_to,created_by").await.expect(200)["results"][0].clone();
    assert_eq!(wide["tags"][0], json!({"id": tag["id"], "name": "Hot", "slug": "hot", "color": "red"}));
    assert_eq!(wide["assigned_to"][0]["email"], ann.email.as_str());
    assert_eq!(wide["created_by"]["id"], ann.member["id"]);
}

#[actix_web::test]
async fn a_day_is_a_day_where_the_organization_is() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "Now"})).await;
    let created: chrono::DateTime<chrono::Utc> = lead["created_at"].as_str().unwrap().parse().unwrap();
    for (zone, hours) in [("Pacific/Kiritimati", 14), ("Etc/GMT+12", -12), ("UTC", 0)] {
        ann.patch("/api/org/settings/", &json!({"timezone": zone})).await.expect(200);
        let day = (created + chrono::TimeDelta::hours(hours)).date_naive();
        let (before, after) = (day.pred_opt().unwrap(), day.succ_opt().unwrap());
        for (query, count) in [
            (format!("created_at={day}"), 1),
            (format!("created_at={before}"), 0),
            (format!("created_at__lte={day}"), 1),
            (format!("created_at__lt={day}"), 0),
            (format!("created_at__gt={before}"), 1),
            (format!("created_at__gte={after}"), 0),
            (format!("created_at__ne={day}"), 0),
        ] {
            let page = ann.get(&format!("/api/leads/?{query}")).await.expect(200);
            assert_eq!(titles(&page).len(), count, "{zone}: {query}");
        }
    }
}
