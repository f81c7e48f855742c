use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;

use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn read(set: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::read(|name| {
        set.iter().rev().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    })
}

/// What prod needs, then `more`.
fn read_prod(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let mut set =
        vec![("ENV_TYPE", "prod"), ("SECRET_KEY", KEY), ("FRONTEND_URL", "https://crm.example.com")];
    set.extend(more);
    read(&set)
}

#[track_caller]
fn settings(set: &[(&str, &str)]) -> Settings {
    read(set).unwrap()
}

/// The one problem of a setting.
#[track_caller]
fn refusal(set: &[(&str, &str)]) -> String {
    let problems = read(set).unwrap_err().problems;
    let [problem] = problems.as_slice() else { panic!("not one problem: {problems:?}") };
    problem.clone()
}

fn external_url(settings: &Settings) -> &str {
    match &settings.database {
        DatabaseSettings::External { url, .. } => url.expose(),
        DatabaseSettings::Embedded => panic!("embedded"),
    }
}

#[test]
fn nothing_set_is_a_working_development_setup() {
    let all_defaults = Settings {
        environment: Environment::Dev,
        bind: "127.0.0.1:8000".parse().unwrap(),
        data_dir: ".crm".into(),
        secret_key: None,
        domain_name: "http://127.0.0.1:8000".into(),
        frontend_url: "http://localhost:5173".into(),
        cors_allowed_origins: vec!["http://localhost:5173".into(), "http://127.0.0.1:5173".into()],
        trusted_proxies: 0,
        database: DatabaseSettings::Embedded,
        pool_size: 8,
        access_token_lifetime: Duration::from_secs(86_400),
        refresh_token_lifetime: Duration::from_secs(31_536_000),
        platform_admin_domains: vec!["micropyramid.com".into()],
        smtp_url: None,
        default_from_email: "noreply@localhost".into(),
        admin_email: "admin@localhost".into(),
        bucket: None,
        storage_quota_bytes: Some(10 * 1024 * 1024 * 1024),
        rates: Rates {
            token: NonZeroU32::new(60_000),
            org: NonZeroU32::new(120_000),
            address: NonZeroU32::new(120_000),
            web_form: NonZeroU32::new(120),
            web_form_address: NonZeroU32::new(12),
            in_flight: 512,
        },
        webhooks_allow_private: false,
        workers_inside: true,
        worker_slots: 4,
        oidc_providers: Vec::new(),
        log_format: LogFormat::Text,
        log_filter: "info".into(),
    };
    assert_eq!(settings(&[]), all_defaults);
}

#[test]
fn the_table_names_every_variable_that_is_read_and_no_other() {
    let asked = RefCell::new(BTreeSet::new());
    let note = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        None
    };
    Settings::read(note).unwrap();
    let mut listed: BTreeSet<_> = VARIABLES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(listed.len(), VARIABLES.len(), "a name stands twice");
    assert!(listed.remove("PG_BIN_DIR"), "read where the programs are searched for");
    // The parts count together, and only then does any of them have a default.
    for part in ["DBNAME", "DBUSER", "DBHOST"] {
        assert!(asked.borrow().contains(part));
    }
    assert_eq!(asked.into_inner(), listed);
}

#[test]
fn the_table_tells_the_defaults_that_hold() {
    let parts = ["DBNAME", "DBUSER", "DBPASSWORD", "DBHOST", "DBPORT"];
    for (name, default, _) in
        VARIABLES.iter().filter(|(name, default, _)| !default.is_empty() && !parts.contains(name))
    {
        assert_eq!(settings(&[(name, default)]), settings(&[]), "{name}");
    }
}

#[test]
fn the_example_file_is_the_table() {
    let mut file = "# Settings of crm-api, crm-worker and crm-admin, with their defaults.\n\
                    # Copy this file to .env and take the # away from what you change.\n"
        .to_owned();
    for (name, default, meaning) in VARIABLES {
        file += &format!("\n# {meaning}\n#{name}={default}\n");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.env.example");
    assert_eq!(fs::read_to_string(path).unwrap(), file);
}

#[test]
fn files_can_lie_in_a_bucket() {
    let bucket = |more: &[(&str, &str)]| {
        let name = ("AWS_BUCKET_NAME", "files");
        settings(&[&[name], more].concat()).bucket.unwrap()
    };
    let plain = bucket(&[]);
    assert_eq!((plain.name.as_str(), plain.region.as_str()), ("files", "us-east-1"));
    assert_eq!((plain.endpoint, plain.credentials), (None, None));
    let other = bucket(&[
        ("AWS_ENDPOINT_URL", "https://s3.example.com/"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    assert_eq!(other.endpoint.as_deref(), Some("https://s3.example.com"));
    assert_eq!(other.credentials, Some(("id".into(), "secret".into())));
    let half = read(&[("AWS_BUCKET_NAME", "files"), ("AWS_ACCESS_KEY_ID", "id")]).unwrap_err();
    assert!(half.problems.iter().any(|problem| problem.starts_with("AWS_ACCESS_KEY_ID and")), "{half}");
    assert_eq!(settings(&[("STORAGE_QUOTA_MIB", "0")]).storage_quota_bytes, None);
}

#[test]
fn every_problem_is_told_at_once() {
    let error = read(&[
        ("ENV_TYPE", "production"),
        ("CRM_BIND", "localhost"),
        ("SECRET_KEY", "short"),
        ("FRONTEND_URL", "crm.example.com"),
        ("DB_POOL_SIZE", "0"),
        ("DBPORT", "none"),
        ("WORKERS_INSIDE", "yes"),
        ("RUST_LOG", "info,=,="),
    ])
    .unwrap_err();
    let names = [
        "ENV_TYPE",
        "CRM_BIND",
        "SECRET_KEY",
        "FRONTEND_URL",
        "DBPORT",
        "DB_POOL_SIZE",
        "WORKERS_INSIDE",
        "RUST_LOG",
    ];
    let told: Vec<_> = error.problems.iter().map(|problem| problem.split(' ').next().unwrap()).collect();
    assert_eq!(told, names);
    assert_eq!(error.to_string().lines().count(), names.len());
}

#[test]
fn a_problem_tells_what_would_be_right() {
    for (name, value, problem) in [
        ("ENV_TYPE", "test", r#"ENV_TYPE is "test": it must be dev or prod"#),
        ("WORKERS_INSIDE", "1", r#"WORKERS_INSIDE is "1": it must be true or false"#),
        ("WORKER_SLOTS", "0", r#"WORKER_SLOTS is "0": it must be a whole number from 1 to 64"#),
        ("LOG_FORMAT", "xml", r#"LOG_FORMAT is "xml": it must be text or json"#),
        ("DB_POOL_SIZE", "201", r#"DB_POOL_SIZE is "201": it must be a whole number from 1 to 200"#),
        ("TRUSTED_PROXIES", "-1", r#"TRUSTED_PROXIES is "-1": it must be a whole number from 0 to 16"#),
        (
            "CRM_BIND",
            "8000",
            r#"CRM_BIND is "8000": it must be an address and a port, such as 127.0.0.1:8000 or [::]:8000"#,
        ),
        ("DB_POOL_SIZE", "51", "DB_POOL_SIZE is 51, but the built-in database has room for 50"),
    ] {
        assert_eq!(refusal(&[(name, value)]), problem);
    }
}

#[test]
fn a_blank_value_counts_as_none() {
    for (name, default, _) in VARIABLES.iter().filter(|(name, ..)| *name != "PLATFORM_ADMIN_DOMAINS") {
        assert_eq!(settings(&[(name, " ")]), settings(&[]), "{name}={default}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let secrets = [
        ("SECRET_KEY", "hunter2-hunter2-hunter2-hunter2-hunter2"),
        ("DATABASE_URL", "postgresql://crm_app:hunter2@db/crm"),
        ("DATABASE_OWNER_URL", "postgresql://crm_owner:hunter2@db/crm"),
        ("SMTP_URL", "smtps://mailer:hunter2@mail.example.com"),
    ];
    assert!(!format!("{:?}", settings(&secrets)).contains("hunter2"));
    let faulty = [
        ("SECRET_KEY", "hunter2"),
        ("DATABASE_URL", "mysql://root:hunter2@db/crm"),
        ("DATABASE_OWNER_URL", "hunter2"),
        ("SMTP_URL", "mailer:hunter2@mail.example.com"),
    ];
    let error = read(&faulty).unwrap_err();
    assert_eq!(error.problems.len(), faulty.len(), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn the_secret_key_is_required_and_long_in_prod() {
    assert_eq!(settings(&[("SECRET_KEY", KEY)]).secret_key, Some(Secret::new(KEY)));
    assert!(
        refusal(&[("SECRET_KEY", &KEY[1..])])
            .starts_with("SECRET_KEY has only 31 bytes: set 32 bytes or more")
    );
    for blank in ["", "  "] {
        let problems = read_prod(&[("SECRET_KEY", blank)]).unwrap_err().problems;
        assert!(
            problems[0].starts_with("SECRET_KEY is not set, which prod requires: set 32 bytes"),
            "{problems:?}"
        );
    }
}

#[test]
fn prod_logs_for_machines_and_lets_no_browser_in_by_default() {
    let prod = read_prod(&[]).unwrap();
    assert_eq!((prod.environment, prod.log_format), (Environment::Prod, LogFormat::Json));
    assert_eq!(prod.cors_allowed_origins, Vec::<String>::new());
    assert_eq!(read_prod(&[("LOG_FORMAT", "text")]).unwrap().log_format, LogFormat::Text);
}

#[test]
fn mailed_links_lead_to_an_absolute_url() {
    assert_eq!(
        settings(&[("FRONTEND_URL", "https://example.com/crm/")]).frontend_url,
        "https://example.com/crm"
    );
    for wrong in [
        "crm.example.com",
        "localhost:5173",
        "/crm",
        "ftp://example.com",
        "https://",
        "https://u:p@example.com",
        "https://e.com/?a",
        "https://e.com/#a",
    ] {
        assert!(refusal(&[("FRONTEND_URL", wrong)]).contains("it must be an http or https URL"), "{wrong}");
    }
}

#[test]
fn webhooks_stay_out_of_private_networks_in_prod() {
    assert!(settings(&[("WEBHOOKS_ALLOW_PRIVATE", "true")]).webhooks_allow_private);
    let problems = read_prod(&[("WEBHOOKS_ALLOW_PRIVATE", "true")]).unwrap_err().problems;
    assert!(
        matches!(problems.as_slice(), [problem] if problem.starts_with("WEBHOOKS_ALLOW_PRIVATE is true")),
        "{problems:?}"
    );
}

#[test]
fn in_prod_mailed_links_lead_elsewhere() {
    for here in [
        "http://localhost:5173",
        "https://LOCALHOST",
        "https://localhost.",
        "https://crm.localhost",
        "http://127.0.0.1",
        "http://127.1.2.3:80",
        "http://0.0.0.0:5173",
        "http://[::1]:5173",
        "http://[::]",
        "http://[::ffff:127.0.0.1]",
    ] {
        let problems = read_prod(&[("FRONTEND_URL", here)]).unwrap_err().problems;
        assert!(
            problems[0].starts_with("FRONTEND_URL is ") && problems[0].contains("prod needs"),
            "{here}: {problems:?}"
        );
        assert!(read(&[("FRONTEND_URL", here)]).is_ok(), "{here}");
    }
    for elsewhere in ["https://crm.example.com", "http://192.168.1.7:8080", "https://localhost.example.com"] {
        assert!(read_prod(&[("FRONTEND_URL", elsewhere)]).is_ok(), "{elsewhere}");
    }
    let unset = Settings::read(|name| match name {
        "ENV_TYPE" => Some("prod".into()),
        "SECRET_KEY" => Some(KEY.into()),
        _ => None,
    });
    assert_eq!(unset.unwrap_err().problems.len(), 1, "the default is no good in prod");
}

#[test]
fn origins_are_spelled_as_browsers_do() {
    let origins = |value: &str| settings(&[("CORS_ALLOWED_ORIGINS", value)]).cors_allowed_origins;
    assert_eq!(
        origins("https://CRM.example.com/ , http://10.0.0.1:8080"),
        ["https://crm.example.com", "http://10.0.0.1:8080"]
    );
    assert_eq!(origins("*"), ["*"]);
    for wrong in ["https://crm.example.com/app", "crm.example.com", "*, https://crm.example.com", "null"] {
        assert!(refusal(&[("CORS_ALLOWED_ORIGINS", wrong)]).contains("a comma list of origins"), "{wrong}");
    }
    let problems = read_prod(&[("CORS_ALLOWED_ORIGINS", "*")]).unwrap_err().problems;
    assert!(problems[0].contains("prod refuses"), "{problems:?}");
}

#[test]
fn a_database_url_is_taken_as_it_is() {
    let url = "postgres://crm_app:p%40ss@db.example.com/crm?sslmode=require";
    assert_eq!(external_url(&settings(&[("DATABASE_URL", url)])), url);
    let owned = settings(&[
        ("DATABASE_URL", url),
        ("DATABASE_OWNER_URL", "postgresql://crm_owner@db.example.com/crm"),
    ]);
    let DatabaseSettings::External { owner_url: Some(owner_url), .. } = owned.database else {
        panic!("no owner")
    };
    assert_eq!(owner_url.expose(), "postgresql://crm_owner@db.example.com/crm");
    for wrong in ["crm", "postgresql://", "host=localhost user=crm_app", "mysql://crm_app@localhost/crm"] {
        assert!(
            refusal(&[("DATABASE_URL", wrong)]).starts_with("DATABASE_URL is not a URL of its kind"),
            "{wrong}"
        );
    }
}

#[test]
fn no_part_of_a_password_is_taken_for_the_host() {
    for (url, place) in [
        ("postgresql://crm_app:secret@db.example.com/crm", Some(("db.example.com", "crm"))),
        (
            "postgres://crm_app@db:5432,[::1]:5433/crm?sslmode=require&a=b",
            Some(("db:5432,[::1]:5433", "crm")),
        ),
        ("postgresql://[::1]/crm", Some(("[::1]", "crm"))),
        ("postgresql:///crm?host=/run/postgresql", Some(("", "crm"))),
        ("postgresql://localhost", Some(("localhost", ""))),
        ("postgresql://crm_app:sec/ret@db/crm", None),
        ("postgresql://crm_app:sec?ret@db/crm", None),
        ("postgresql://crm_app:sec#ret@db/crm", Some(("db", "crm"))),
        ("postgresql://crm_app:sec@ret@db/crm", None),
        ("postgresql://crm_app:sec", None),
    ] {
        assert_eq!(place_in(url), place, "{url}");
    }
    let refused = refusal(&[("DATABASE_URL", "postgresql://crm_app:hunter/2@db/crm")]);
    assert!(
        refused.starts_with("DATABASE_URL can't be taken apart") && !refused.contains("hunter"),
        "{refused}"
    );
}

#[test]
fn a_database_may_be_named_by_its_parts() {
    for (set, url) in [
        (&[("DBNAME", "sales")][..], "postgresql://crm_app@localhost:5432/sales"),
        (&[("DBHOST", "db")], "postgresql://crm_app@db:5432/crm"),
        (&[("DBHOST", "/run/postgresql")], "postgresql://crm_app@%2Frun%2Fpostgresql:5432/crm"),
        (
            &[("DBUSER", "me"), ("DBPASSWORD", " p@s/s:"), ("DBPORT", "6432")],
            "postgresql://me:%20p%40s%2Fs%3A@localhost:6432/crm",
        ),
    ] {
        assert_eq!(external_url(&settings(set)), url);
    }
    assert!(
        refusal(&[("DBPORT", "0")])
            .starts_with(r#"DBPORT is "0": it must be a whole number from 1 to 65535"#)
    );
}

#[test]
fn a_database_is_named_in_one_way_only() {
    let url = ("DATABASE_URL", "postgresql://crm_app@localhost/crm");
    let both = refusal(&[url, ("DBHOST", "db"), ("DBPORT", "5433")]);
    assert_eq!(both, "DATABASE_URL and DBHOST, DBPORT are both set: keep one of the two ways");
    let owner_alone = refusal(&[("DATABASE_OWNER_URL", "postgresql://crm_owner@localhost/crm")]);
    assert!(owner_alone.starts_with("DATABASE_OWNER_URL is set without DATABASE_URL"), "{owner_alone}");
    assert_eq!(settings(&[url, ("DB_POOL_SIZE", "200")]).pool_size, 200);
}

#[test]
fn an_access_token_does_not_outlive_the_refresh_token() {
    let (short, long) = ("ACCESS_TOKEN_LIFETIME_SECONDS", "REFRESH_TOKEN_LIFETIME_SECONDS");
    let equal = settings(&[(short, "60"), (long, "60")]);
    assert_eq!(
        (equal.access_token_lifetime, equal.refresh_token_lifetime),
        (Duration::from_secs(60), Duration::from_secs(60))
    );
    assert!(
        refusal(&[(short, "61"), (long, "60")])
            .starts_with("ACCESS_TOKEN_LIFETIME_SECONDS is 61, longer than")
    );
    for name in [short, long] {
        assert!(refusal(&[(name, "0")]).contains("a whole number from 1 to"), "{name}");
    }
}

#[test]
fn platform_administrators_come_from_listed_domains_or_from_none() {
    let domains = |value: &str| settings(&[("PLATFORM_ADMIN_DOMAINS", value)]).platform_admin_domains;
    assert_eq!(domains("Example.COM, example.org,"), ["example.com", "example.org"]);
    assert_eq!(domains(""), Vec::<String>::new());
    for wrong in ["@example.com", "me@example.com", "example..com", "*.example.com", "-a.com"] {
        assert!(refusal(&[("PLATFORM_ADMIN_DOMAINS", wrong)]).contains("a comma list of domains"), "{wrong}");
    }
}

#[test]
fn providers_of_identities_are_named_and_then_described() {
    let google = settings(&[("GOOGLE_CLIENT_ID", "id"), ("GOOGLE_CLIENT_SECRET", "hunter2")]).oidc_providers;
    let [google] = google.as_slice() else { panic!("{google:?}") };
    assert_eq!((google.name.as_str(), google.issuer.as_str()), ("google", "https://accounts.google.com"));
    assert_eq!((google.client_id.as_str(), google.client_secret.expose()), ("id", "hunter2"));
    assert!(!format!("{google:?}").contains("hunter2"));
    let corp = [
        ("OIDC_PROVIDERS", "corp, lab_2"),
        ("OIDC_CORP_ISSUER", "https://login.example.com/realms/corp"),
        ("OIDC_CORP_CLIENT_ID", "crm"),
        ("OIDC_CORP_CLIENT_SECRET", "s"),
        ("OIDC_CORP_LABEL", "Example Ltd"),
        ("OIDC_LAB_2_ISSUER", "http://localhost:8080/"),
        ("OIDC_LAB_2_CLIENT_ID", "crm"),
        ("OIDC_LAB_2_CLIENT_SECRET", "t"),
    ];
    let providers = settings(&corp).oidc_providers;
    let shown: Vec<_> =
        providers.iter().map(|p| (p.name.as_str(), p.label.as_str(), p.issuer.as_str())).collect();
    // The issuer stays as it is: its final slash counts.
    assert_eq!(
        shown,
        [
            ("corp", "Example Ltd", "https://login.example.com/realms/corp"),
            ("lab_2", "lab_2", "http://localhost:8080/")
        ]
    );
    assert!(
        read_prod(&corp)
            .unwrap_err()
            .to_string()
            .contains("OIDC_LAB_2_ISSUER is http://localhost:8080/, which can")
    );
}

#[test]
fn a_provider_of_identities_is_described_whole() {
    let problems = read(&[("OIDC_PROVIDERS", "corp")]).unwrap_err().problems;
    let told: Vec<_> = problems.iter().map(|problem| problem.split(' ').next().unwrap()).collect();
    assert_eq!(told, ["OIDC_CORP_ISSUER", "OIDC_CORP_CLIENT_ID", "OIDC_CORP_CLIENT_SECRET"]);
    for wrong in ["Corp", "a-b", "a b"] {
        assert!(refusal(&[("OIDC_PROVIDERS", wrong)]).contains("a comma list of names"), "{wrong}");
    }
    let whole = [("OIDC_A_CLIENT_ID", "a"), ("OIDC_A_CLIENT_SECRET", "a")];
    let issuer = refusal(&[[("OIDC_PROVIDERS", "a"), ("OIDC_A_ISSUER", "login")], whole].concat());
    assert!(issuer.starts_with("OIDC_A_ISSUER is \"login\": it must be a URL"), "{issuer}");
    let twice = [[("OIDC_PROVIDERS", "a,a"), ("OIDC_A_ISSUER", "https://a.example")], whole].concat();
    assert!(refusal(&twice).contains("has a twice"));
    for half in ["GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"] {
        assert!(refusal(&[(half, "x")]).contains("go together"));
    }
}

#[test]
fn mail_has_a_sender_and_perhaps_a_server() {
    for sender in ["crm@example.com", "Amphora <crm@example.com>"] {
        assert_eq!(settings(&[("DEFAULT_FROM_EMAIL", sender)]).default_from_email, sender);
    }
    for wrong in [
        "crm",
        "crm@",
        "@example.com",
        "a b@example.com",
        "Amphora <crm@example.com",
        "Amphora <crm>",
        "A\n<crm@example.com>",
    ] {
        assert!(
            refusal(&[("DEFAULT_FROM_EMAIL", wrong)]).contains("an address or Name <address>"),
            "{wrong}"
        );
    }
    assert!(refusal(&[("ADMIN_EMAIL", "Ann <ann@example.com>")]).ends_with("it must be an address"));
    let url = "smtp://user:password@mail.example.com:587?tls=required";
    assert_eq!(settings(&[("SMTP_URL", url)]).smtp_url, Some(Secret::new(url)));
    assert!(refusal(&[("SMTP_URL", "https://mail.example.com")]).contains("it must look like smtp://"));
}

#[test]
fn a_broken_file_is_named_without_its_values() {
    let path = env::temp_dir().join(format!("crm-settings-{}.env", uuid::Uuid::now_v7()));
    fs::write(&path, "CRM_SETTINGS_TEST_KEY='hunter2\n").unwrap();
    let problem = load_file(&path).unwrap_err();
    fs::remove_file(&path).unwrap();
    assert!(problem.contains("CRM_SETTINGS_TEST_KEY") && !problem.contains("hunter2"), "{problem}");
    assert_eq!(load_file(&path), Ok(()), "no file is fine");
}
