use crate::support::Installation;

fn seeded() -> Installation {
    let installation = Installation::new();
    installation.run(&["seed", "--until", "2026-11-01", "--users", "2", "--leads", "1200"]).is(0, &[]);
    installation
}

fn org(installation: &Installation, place: &str) -> String {
    let query = format!("SELECT id::text FROM organizations ORDER BY id {place} LIMIT 1");
    installation.superuser().query_one(&query, &[]).unwrap().get(0)
}

#[test]
fn rebuilding_the_search_mends_every_organization_and_then_nothing() {
    let installation = seeded();
    let rebuild = ["search", "rebuild"];
    installation.run(&rebuild).is(0, &["lead: 1200 records, 0 repaired"]).lacks("1 repaired");
    let before =
        "search_documents WHERE kind = 'lead' AND title <> '' AND title_folded = search_title(title)";
    assert_eq!(installation.count(before), 2400);
    // As an update of an older installation leaves them, and one that is gone.
    installation.sql(
        "UPDATE search_documents SET title = '', subtitle = '', title_folded = '';
         DELETE FROM search_documents WHERE record_id = (SELECT max(id::text)::uuid FROM leads)",
    );
    let (first, last) = (org(&installation, "ASC"), org(&installation, "DESC"));
    installation
        .run(&["search", "rebuild", "--org", &first, "--kind", "lead"])
        .is(0, &["lead: 1200 records, 1200 repaired"]);
    assert_eq!(installation.count(before), 1200);
    assert_eq!(installation.count(&format!("{before} AND org_id = '{last}'")), 0);
    installation.run(&rebuild).is(0, &["1200 records, 0 repaired", "1200 records, 1200 repaired"]);
    assert_eq!(installation.count(before), 2400);
    installation.run(&rebuild).is(0, &["1200 records, 0 repaired"]).lacks("1200 repaired");
}

#[test]
fn a_kind_or_an_organization_that_is_not_there_is_told() {
    let installation = Installation::new();
    installation
        .run(&["search", "rebuild", "--kind", "leed"])
        .is(1, &["there is no kind \"leed\"; did you mean lead?"]);
    let nobody = "0190b5a0-0000-7000-8000-000000000000";
    installation
        .run(&["search", "rebuild", "--org", nobody])
        .is(1, &["there is no organization 0190b5a0-0000-7000-8000-000000000000"]);
    installation.run(&["search", "rebuild"]).is(0, &[]);
    installation.run(&["search", "rebuild", "--org", "x"]).is(2, &["--org"]);
}
