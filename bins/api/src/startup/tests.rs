use std::os::unix::fs::PermissionsExt as _;

use crm_core::migrate::OwnerConnection;
use crm_testkit::fresh_database;
use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use tempfile::TempDir;

use super::*;

/// A folder that the user who runs PostgreSQL can get into.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

fn settings(dir: &Path, set: &[(&str, &str)]) -> Settings {
    let read = Settings::read(|name| match name {
        "CRM_DATA_DIR" => Some(dir.to_str().unwrap().to_owned()),
        "DB_POOL_SIZE" => Some("2".into()),
        _ => set.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned()),
    });
    read.unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Why `start` refuses these settings.
async fn refusal(set: &[(&str, &str)]) -> String {
    let dir = folder();
    let Err(error) = start(settings(dir.path(), set)).await else { panic!("it started") };
    format!("{error:#}")
}

async fn as_owner(url: &str, sql: &'static str) {
    let url = url.to_owned();
    let done = tokio::task::spawn_blocking(move || {
        OwnerConnection::establish(&url).unwrap().batch_execute(sql).unwrap();
    });
    done.await.unwrap();
}

#[tokio::test]
async fn the_first_start_makes_everything_and_the_next_finds_it() {
    let parent = folder();
    let dir = parent.path().join("new/data");
    let first = start(settings(&dir, &[])).await.unwrap();
    let key = first.settings.secret_key.clone().unwrap();
    assert!(first.cluster.as_ref().unwrap().is_holder());
    assert_eq!(mode(&dir) & 0o066, 0, "nobody else looks into it");
    assert_eq!(mode(&dir.join("secret_key")), 0o600);
    assert_eq!((mode(&dir.join("files")), mode(&dir.join("mail"))), (0o700, 0o700));
    assert_eq!(first.database.to_string(), format!("built in, under {}", dir.join("pg").display()));
    assert_eq!(first.mailer.describe(), format!("files under {}", dir.join("mail").display()));

    let Err(second) = start(settings(&dir, &[])).await else { panic!("two servers") };
    let second = second.to_string();
    assert!(second.contains(&format!("(process {})", std::process::id())), "{second}");
    assert!(second.contains("CRM_DATA_DIR") && second.contains("DATABASE_URL"), "{second}");

    let beside = start_beside(settings(&dir, &[])).await.unwrap();
    assert!(!beside.cluster.as_ref().unwrap().is_holder());
    assert_eq!(beside.settings.secret_key, Some(key.clone()), "its tokens are the server's");
    beside.stop().await;

    let for_cli = settings(&dir, &[]);
    let cli = tokio::task::spawn_blocking(move || connect_for_cli(&for_cli).unwrap()).await.unwrap();
    assert!(!cli.cluster.unwrap().is_holder());
    assert!(cli.owner_url.unwrap().expose().starts_with("postgresql://crm_owner@"));
    assert!(cli.app_url.expose().starts_with("postgresql://crm_app@"));

    first.db.platform(async |p| tenancy::check_role(p.conn()?).await).await.unwrap();
    first.stop().await;
    let again = start(settings(&dir, &[])).await.unwrap();
    assert_eq!(again.settings.secret_key, Some(key));
    again.stop().await;
}

#[tokio::test]
async fn a_server_of_somebody_else_is_used_as_it_is() {
    let (dir, database) = (folder(), fresh_database().await);
    let running = start(settings(dir.path(), &[("DATABASE_URL", &database.app_url)])).await.unwrap();
    assert!(running.cluster.is_none());
    assert!(matches!(&running.database, DatabasePlace::External { name, .. } if *name == database.name));
    assert!(!dir.path().join("pg").exists());
    let cli = connect_for_cli(&running.settings).unwrap();
    assert_eq!((cli.app_url.expose(), cli.owner_url), (database.app_url.as_str(), None));
    running.stop().await;
}

#[tokio::test]
async fn a_role_that_policies_do_not_bind_is_refused() {
    let database = fresh_database().await;
    for (url, reason) in [(&database.super_url, "is a superuser"), (&database.owner_url, "owns the table")] {
        let refused = refusal(&[("DATABASE_URL", url)]).await;
        assert!(refused.contains("must not use the database") && refused.contains(reason), "{refused}");
    }
}

#[tokio::test]
async fn a_schema_that_is_not_this_programs_is_refused() {
    let database = fresh_database().await;
    let (app, owner) = (("DATABASE_URL", &*database.app_url), ("DATABASE_OWNER_URL", &*database.owner_url));

    as_owner(owner.1, "DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)")
        .await;
    let behind = refusal(&[app]).await;
    let lacking = migrate::versions().pop().unwrap();
    assert!(behind.contains(&format!("lacks {lacking}: run `crm-admin migrate`")), "{behind}");

    as_owner(owner.1, "INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231235959')").await;
    for set in [&[app][..], &[app, owner]] {
        let ahead = refusal(set).await;
        assert!(ahead.contains("does not know") && ahead.contains("99991231235959"), "{ahead}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_named_without_the_password() {
    let refused = refusal(&[("DATABASE_URL", "postgresql://crm_app:hunter2@127.0.0.1:1/crm")]).await;
    assert!(refused.starts_with("can't use the database (crm on 127.0.0.1:1): "), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
}

#[test]
fn of_many_programs_one_makes_the_secret_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let keys: Vec<Secret> = thread::scope(|scope| {
        let made: Vec<_> = (0..8).map(|_| scope.spawn(|| kept_secret(path).unwrap())).collect();
        made.into_iter().map(|key| key.join().unwrap()).collect()
    });
    assert_eq!(keys[0].expose().len(), 64);
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(fs::read_dir(path).unwrap().count(), 1, "nothing is left over");
    let elsewhere = tempfile::tempdir().unwrap();
    assert_ne!(kept_secret(elsewhere.path()).unwrap(), keys[0]);
}

#[test]
fn another_server_is_not_waited_for_but_a_command_is() {
    assert!(!is_brief(std::process::id()));
    assert!(is_brief(0), "its number is not known yet");
    let mut other = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let brief = is_brief(other.id());
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(brief);
}

#[test]
fn a_place_is_shown_for_people() {
    let external = |host: &str| DatabasePlace::External { host: host.into(), name: "crm".into() };
    assert_eq!(external("db:5432").to_string(), "crm on db:5432");
    assert_eq!(external("").to_string(), "crm on this machine");
}

#[test]
fn every_reason_to_refuse_is_told() {
    let current = SchemaState::default();
    assert_eq!(refusals(Vec::new(), &current), Vec::<String>::new());
    let apart = SchemaState { pending: vec!["1".into(), "2".into()], unknown: vec!["3".into()] };
    let told = refusals(vec!["the role is a superuser".into()], &apart);
    assert_eq!(told.len(), 3);
    assert!(told[1].contains('3') && told[2].contains("1, 2"), "{told:?}");
}
