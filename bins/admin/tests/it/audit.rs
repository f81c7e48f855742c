use crate::support::Installation;

const ORG: &str = "018f0000-0000-7000-8000-000000000001";
const ANN: &str = "018f0000-0000-7000-8000-000000000002";

/// An installation in which three things have happened.
fn eventful() -> Installation {
    let installation = Installation::new();
    installation.sql(&format!(
        "INSERT INTO users (id, email, email_normalized) VALUES ('{ANN}', 'Ann@example.com', 'ann@example.com');
         INSERT INTO security_events (id, event, user_id, org_id, success, ip_address, route, detail, created_at) VALUES
         ('018f0000-0000-7000-8000-0000000000e1', 'login_success', '{ANN}', NULL, true, '192.0.2.1', NULL, '{{}}', '2026-01-01'),
         ('018f0000-0000-7000-8000-0000000000e2', 'permission_denied', '{ANN}', '{ORG}', false, NULL, '/api/roles/',
          '{{\"operation\": \"list_roles\"}}', '2026-01-02'),
         ('018f0000-0000-7000-8000-0000000000e3', 'login_failure', NULL, NULL, false, NULL, NULL, '{{}}', '2026-01-03')"
    ));
    installation
}

#[test]
fn what_happened_is_told_newest_first() {
    let installation = eventful();
    let denied = format!(
        "2026-01-02 00:00:00Z permission_denied refused user={ANN} org={ORG} route=/api/roles/ {{\"operation\":\"list_roles\"}}"
    );
    let signed_in = format!("2026-01-01 00:00:00Z login_success done user={ANN} ip=192.0.2.1 {{}}");
    let answer = installation.run(&["audit"]);
    let lines: Vec<_> = answer.said.lines().collect();
    assert_eq!(lines, ["2026-01-03 00:00:00Z login_failure refused {}", &denied, &signed_in]);
    assert_eq!(answer.code, 0);
    for (arguments, want) in [
        (&["--org", ORG][..], &[&denied][..]),
        (&["--user", "ann@EXAMPLE.com"], &[&denied, &signed_in]),
        (&["--user", ANN, "--failures"], &[&denied]),
        (&["--event", "login_success,login_failure", "--user", ANN], &[&signed_in]),
        (&["--since", "2026-01-02", "--org", ORG], &[&denied]),
        (&["--since", "2026-01-04"], &[]),
        (&["--user", ANN, "--limit", "1"], &[&denied]),
    ] {
        let answer = installation.run(&[&["audit"], arguments].concat());
        assert_eq!(answer.said.lines().collect::<Vec<_>>(), want, "{arguments:?}: {}", answer.complained);
    }
}

#[test]
fn a_program_reads_it_as_json() {
    let answer = eventful().run(&["audit", "--json", "--failures", "--user", ANN]);
    let event: serde_json::Value = serde_json::from_str(&answer.said).unwrap();
    assert_eq!(
        (&event["event"], &event["detail"]["operation"]),
        (&"permission_denied".into(), &"list_roles".into())
    );
}

#[test]
fn what_is_not_understood_is_said() {
    let installation = eventful();
    installation.run(&["audit", "--event", "login_failed"]).is(1, &["did you mean login_failure?"]);
    installation.run(&["audit", "--since", "yesterday"]).is(1, &["is not a date"]);
    installation.run(&["audit", "--user", "bob@example.com"]).is(1, &["nobody has the address"]);
    installation.run(&["audit", "--user", "bob"]).is(1, &["is not an id"]);
    installation.run(&["audit", "--org", "acme"]).is(2, &[]);
}
