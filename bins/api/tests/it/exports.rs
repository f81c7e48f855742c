//! Lists as files.

use std::io::Cursor;

use calamine::{Data, Reader as _, Xlsx};
use serde_json::json;

use crate::app::{Person, Reply, TestApp};

/// The lines of a CSV file: the header and what is below it.
fn lines(reply: Reply) -> Vec<Vec<String>> {
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.bytes));
    let mut csv = csv::ReaderBuilder::new().has_headers(false).from_reader(reply.bytes.as_slice());
    csv.records().map(|line| line.unwrap().iter().map(str::to_owned).collect()).collect()
}

async fn export(who: &Person, query: &str) -> Vec<Vec<String>> {
    lines(who.get(&format!("/api/leads/export/{query}")).await)
}

#[actix_web::test]
async fn an_export_has_every_row_of_the_filtered_list_and_names_instead_of_ids() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let tag = ann.post("/api/tags/", &json!({"name": "Fair; Berlin"})).await.expect(201);
    let field = json!({"target": "leads", "key": "size", "label": "Size", "field_type": "number"});
    ann.post("/api/custom-fields/", &field).await.expect(201);
    ann.lead(json!({
        "title": "Löwe & Söhne", "email": "a@example.com", "opportunity_amount": "1250.5", "currency": "EUR",
        "assigned_to": [bob.member_id(), ann.member_id()], "tags": [tag["id"]], "custom_fields": {"size": -3}, "description": "two\nlines, \"quoted\"",
    }))
    .await;
    ann.lead(json!({"title": "closed", "status": "closed"})).await;
    let all = export(&ann, "?ordering=title").await;
    assert_eq!(all.len(), 3);
    let column = |name: &str| {
        all[0].iter().position(|known| known == name).unwrap_or_else(|| panic!("{name}: {:?}", all[0]))
    };
    assert_eq!(all[0][0], "id");
    let row = all.iter().find(|row| row[column("status")].is_empty()).unwrap();
    for (name, want) in [
        ("title", "Löwe & Söhne"),
        ("opportunity_amount", "1250.50"),
        ("tags", "Fair\\; Berlin"),
        ("cf_size", "-3"),
        ("is_active", "true"),
        ("created_by", ann.email.as_str()),
        ("description", "two\nlines, \"quoted\""),
        ("city", ""),
    ] {
        assert_eq!(row[column(name)], want, "{name}");
    }
    let mut assigned: Vec<_> = row[column("assigned_to")].split(';').collect();
    assigned.sort_unstable();
    let mut both = [ann.email.as_str(), bob.email.as_str()];
    both.sort_unstable();
    assert_eq!(assigned, both);
    assert_eq!(
        export(&ann, "?status=closed&fields=title,status,cf_size").await,
        [["title", "status", "cf_size"], ["closed", "closed", ""]]
    );
    assert_eq!(export(&ann, "?status=recycled&fields=title").await, [["title"]]);
    assert_eq!(
        export(&bob, "?fields=title").await,
        [["title"], ["Löwe & Söhne"]],
        "as much as the list shows"
    );
    let reply = ann.get("/api/leads/export/?fields=title").await;
    assert_eq!(reply.header("content-type"), "text/csv; charset=utf-8");
    assert!(reply.header("content-disposition").starts_with("attachment; filename=\"leads-20"));
}

#[actix_web::test]
async fn a_text_that_looks_like_a_formula_stays_a_text() {
    let ann = TestApp::new().await.founder().await;
    ann.lead(json!({"title": "=HYPERLINK(\"http://x\")", "phone": "+49 30 1234567", "city": "@x", "company_name": "-2+3"})).await;
    let csv = export(&ann, "?fields=title,phone,city,company_name").await;
    assert_eq!(csv[1], ["'=HYPERLINK(\"http://x\")", "'+49 30 1234567", "'@x", "'-2+3"]);
    let reply = ann.get("/api/leads/export/?format=xlsx&fields=title,probability,is_active").await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").ends_with("spreadsheetml.sheet"));
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(reply.bytes)).unwrap();
    let sheet = book.worksheet_range("leads").unwrap();
    assert!(book.worksheet_formula("leads").unwrap().is_empty());
    let row: Vec<_> = sheet.rows().nth(1).unwrap().to_vec();
    assert_eq!(row, [Data::String("=HYPERLINK(\"http://x\")".into()), Data::Float(0.0), Data::Bool(true)]);
}

#[actix_web::test]
async fn an_export_goes_on_beyond_a_page_and_repeats_nothing() {
    let ann = TestApp::new().await.founder().await;
    let operations: Vec<_> =
        (0..450).map(|n| json!({"op": "create", "fields": {"title": format!("lead {n:03}")}})).collect();
    ann.post("/api/leads/bulk/", &json!({"operations": operations})).await.expect(200);
    let titles = export(&ann, "?fields=title&ordering=title").await;
    let wanted: Vec<_> = (0..450).map(|n| vec![format!("lead {n:03}")]).collect();
    assert_eq!(titles[1..], wanted);
    let reply = ann.get("/api/leads/export/?format=xlsx&fields=title&search=lead").await;
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(reply.bytes)).unwrap();
    assert_eq!(book.worksheet_range("leads").unwrap().height(), 451);
}

#[actix_web::test]
async fn an_export_refuses_what_it_does_not_understand() {
    let ann = TestApp::new().await.founder().await;
    for (query, field) in [
        ("?format=pdf", "format"),
        ("?limit=10", "limit"),
        ("?cursor=x", "cursor"),
        ("?offset=1", "offset"),
        ("?count=true", "count"),
        ("?expand=tags", "expand"),
        ("?fields=titel", "fields"),
        ("?fields=", "fields"),
        ("?stauts=x", "stauts"),
        ("?ordering=nothing", "ordering"),
    ] {
        assert_eq!(ann.get(&format!("/api/leads/export/{query}")).await.problem(400).1, [field], "{query}");
    }
    let nobody = json!({"name": "Nothing", "grants": {}});
    ann.post("/api/roles/", &nobody).await.expect(201);
    let bob = ann.colleague("Nothing").await;
    assert_eq!(bob.get("/api/leads/export/").await.problem(403).0, "forbidden");
}
