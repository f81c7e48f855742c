use crate::support::Installation;

const ORG: &str = "018f0000-0000-7000-8000-000000000001";
const INSIDE: &str = "018f0000-0000-7000-8000-000000000002";
const OUTSIDE: &str = "018f0000-0000-7000-8000-000000000003";

/// An installation with two mails of which nobody knows whether they were sent.
fn uncertain() -> Installation {
    let installation = Installation::new();
    installation.sql(&format!(
        "INSERT INTO organizations (id, name) VALUES ('{ORG}', 'Acme');
         INSERT INTO mails (org_id, id, created_at, to_address, to_normalized, template, data, state, attempts)
         VALUES ('{ORG}', '{INSIDE}', '2026-11-21', 'bob@example.org', 'bob@example.org', 'assigned', '{{}}', 'uncertain', 1);
         INSERT INTO account_mails (id, created_at, to_address, to_normalized, template, data, state, attempts)
         VALUES ('{OUTSIDE}', '2026-11-21', 'ann@example.org', 'ann@example.org', 'welcome', '{{}}', 'uncertain', 2)"
    ));
    installation
}

#[test]
fn uncertain_mails_are_listed_with_what_sends_them_again() {
    let installation = uncertain();
    let inside =
        format!("{INSIDE} --org {ORG}  2026-11-21 00:00:00Z  assigned to bob@example.org, tried 1 times");
    let outside = format!("{OUTSIDE}  2026-11-21 00:00:00Z  welcome to ann@example.org, tried 2 times");
    installation.run(&["mail", "list"]).is(0, &[&inside, &outside]);
    installation.run(&["mail", "list", "--org", ORG]).is(0, &[&inside]).lacks(OUTSIDE);
    installation.run(&["mail", "list", "--state", "failed"]).is(0, &["no mail is failed"]);
    installation.run(&["mail", "list", "--state", "lost"]).is(2, &["queued, sending, sent"]);
}

#[test]
fn a_mail_is_sent_again_where_it_is_and_only_while_it_is_uncertain() {
    let installation = uncertain();
    installation.run(&["mail", "resend", INSIDE]).is(1, &["there is nothing here"]);
    installation.run(&["mail", "resend", OUTSIDE, "--org", ORG]).is(1, &["there is nothing here"]);
    installation.run(&["mail", "resend", INSIDE, "--org", ORG]).is(0, &["the mail is queued"]);
    installation.run(&["mail", "resend", OUTSIDE]).is(0, &["the mail is queued"]);
    assert_eq!(installation.count("mails WHERE state = 'queued'"), 1);
    assert_eq!(installation.count("account_mails WHERE state = 'queued'"), 1);
    assert_eq!(installation.count("jobs WHERE kind IN ('mail.send', 'platform.mail.send')"), 2);
    installation.sql("UPDATE mails SET state = 'sent'");
    installation.run(&["mail", "resend", INSIDE, "--org", ORG]).is(1, &["this one is sent"]);
}
