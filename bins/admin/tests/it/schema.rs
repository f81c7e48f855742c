use crate::support::Installation;

#[test]
fn the_checked_in_tables_are_those_of_the_migrations() {
    let checked_in = include_str!("../../../../crates/crm-schema/src/lib.rs");
    let generated = Installation::new().run(&["schema-rs"]).is(0, &[]).said;
    let differing =
        checked_in.lines().zip(generated.lines()).find(|(checked_in, generated)| checked_in != generated);
    assert_eq!(differing, None, "checked in, generated: run `just schema`");
    assert_eq!(generated, checked_in);
}

#[test]
fn a_type_without_a_place_in_a_table_is_refused() {
    let installation = Installation::new();
    installation.sql("ALTER TABLE leads ADD COLUMN weight point");
    installation.run(&["schema-rs"]).is(1, &["leads.weight is of type point"]);
}

#[test]
fn the_api_is_described_without_a_server() {
    let installation = Installation::new().with("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing");
    let json: serde_json::Value =
        serde_json::from_str(&installation.run(&["schema"]).is(0, &[]).said).unwrap();
    assert!(json["openapi"].as_str().unwrap().starts_with("3."));
    assert_eq!(json["paths"]["/api/leads/"]["post"]["operationId"], "create_lead");
    let yaml = installation.run(&["schema", "--format", "yaml"]).is(0, &["operationId: create_lead"]);
    assert!(yaml.said.starts_with("openapi:"), "{yaml:?}");
}
