use crate::support::Installation;

const PASSWORD: (&str, &str) = ("CRM_ADMIN_PASSWORD", "correct horse battery");

fn with_password() -> Installation {
    Installation::new().with(PASSWORD.0, PASSWORD.1)
}

#[test]
fn a_new_account_becomes_a_platform_administrator_once() {
    let installation = with_password();
    let command = ["createsuperuser", "--email", "Root@Example.com"];
    installation.run(&command).is(0, &["is a platform administrator now, with a new account"]);
    let row = installation.superuser().query_one(
        "SELECT email, password_hash LIKE '$argon2id$%', is_superuser, granted_by
         FROM users JOIN platform_admins ON user_id = id",
        &[],
    );
    let row = row.unwrap();
    let (email, hashed, is_superuser, by): (&str, bool, bool, &str) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!((email, hashed, is_superuser, by), ("Root@Example.com", true, true, "command line"));
    assert_eq!(installation.count("security_events WHERE event = 'platform_admin_granted'"), 1);

    let again = ["createsuperuser", "--email", "root@example.COM"];
    installation.run(&again).is(0, &["already: nothing was changed"]);
    assert_eq!(installation.count("users"), 1);
    assert_eq!(installation.count("security_events WHERE event = 'platform_admin_granted'"), 1);
}

#[test]
fn there_is_no_default_password() {
    let installation = Installation::new();
    let command = ["createsuperuser", "--email", "root@example.com"];
    installation.run(&command).is(1, &["set CRM_ADMIN_PASSWORD"]);
    for (weak, why) in [("", "set CRM_ADMIN_PASSWORD"), ("short", "8 characters"), ("aaaaaaaaaa", "repeated")]
    {
        let installation = Installation::new().with("CRM_ADMIN_PASSWORD", weak);
        installation.run(&command).is(1, &[why]);
        assert_eq!(installation.count("users"), 0);
    }
}

#[test]
fn whoever_registered_the_address_before_is_locked_out() {
    let installation = with_password();
    installation.sql(
        "INSERT INTO users (id, email, email_normalized, password_hash)
         VALUES ('018f0000-0000-7000-8000-000000000001', 'ann@example.com', 'ann@example.com', 'as it was');
         INSERT INTO sessions (id, user_id, expires_at)
         VALUES ('018f0000-0000-7000-8000-000000000002', '018f0000-0000-7000-8000-000000000001', now() + interval '1 day')",
    );
    let command = ["createsuperuser", "--email", "ann@example.com"];
    installation.run(&command).is(0, &["the account has the new password, its sessions have ended"]);
    assert_eq!(
        installation.count("users WHERE password_hash LIKE '$argon2id$%' AND email_verified_at IS NOT NULL"),
        1
    );
    assert_eq!(installation.count("sessions WHERE ended_at IS NULL"), 0);
    installation.sql("UPDATE platform_admins SET is_superuser = false");
    installation.run(&command).is(1, &["without the right"]);
    installation.sql("DELETE FROM platform_admins; UPDATE users SET is_active = false");
    installation.run(&command).is(1, &["shut out"]);
    assert_eq!(installation.count("platform_admins"), 0);
}

#[test]
fn members_of_organizations_and_malformed_addresses_are_refused() {
    let installation = with_password();
    installation.run(&["seed", "--orgs", "1", "--users", "1", "--leads", "0"]).is(0, &[]);
    installation
        .run(&["createsuperuser", "--email", "demo@example.com"])
        .is(1, &["belongs to organizations"]);
    for wrong in ["", "root", "root@", "root example.com"] {
        installation.run(&["createsuperuser", "--email", wrong]).is(1, &["is not an e-mail address"]);
    }
    installation.run(&["createsuperuser"]).is(2, &["--email"]);
    assert_eq!(installation.count("platform_admins"), 0);
}
