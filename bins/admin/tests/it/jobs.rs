use uuid::Uuid;

use crate::support::Installation;

const ANN: Uuid = Uuid::from_u128(0xa);
const DEAD: Uuid = Uuid::from_u128(1);
const OTHER_DEAD: Uuid = Uuid::from_u128(2);
const LEASED: Uuid = Uuid::from_u128(3);
const READY: Uuid = Uuid::from_u128(4);

fn installation() -> Installation {
    let installation = Installation::new();
    installation.sql(&format!(
        "INSERT INTO jobs (id, org_id, kind, payload, state, run_at, attempts, last_error, dead_at, lease, created_at) VALUES
         ('{DEAD}', '{ANN}', 'mail.send', '{{\"token\": \"hunter2\"}}', 'dead', now(), 12, E'the server\\n is away', now(), NULL, now() - interval '50 hours'),
         ('{OTHER_DEAD}', NULL, 'platform.sweep', '{{}}', 'dead', now(), 1, 'no', now(), NULL, now() - interval '5 min'),
         ('{LEASED}', '{ANN}', 'index', '{{}}', 'leased', now(), 1, NULL, NULL, gen_random_uuid(), now()),
         ('{READY}', '{ANN}', 'index', '{{}}', 'ready', now(), 0, NULL, NULL, NULL, now())"
    ));
    installation
}

#[test]
fn jobs_are_listed_without_what_is_in_them() {
    let installation = installation();
    let all = installation.run(&["jobs", "list"]);
    let all = all
        .is(0, &["ID", "LAST ERROR", "the server is away", "(platform)", "leased", "Jobs: 4"])
        .lacks("hunter2");
    let first = all.said.lines().nth(1).unwrap();
    assert!(first.starts_with(&DEAD.to_string()) && first.contains("  12  "), "oldest first: {first}");
    assert!(first.contains("  2 d  "), "{first}");
    installation
        .run(&["jobs", "list", "--dead"])
        .is(0, &["mail.send", "platform.sweep", "Jobs: 2"])
        .lacks("index");
    installation.run(&["jobs", "list", "--kind", "index"]).is(0, &["Jobs: 2"]).lacks("mail.send");
    installation.run(&["jobs", "list", "--org", &ANN.to_string()]).is(0, &["Jobs: 3"]).lacks("sweep");
    installation
        .run(&["jobs", "list", "--dead", "--limit", "1"])
        .is(0, &["Jobs: 2, of which 1 are not shown"]);
    installation.run(&["jobs", "list", "--kind", "none"]).is(0, &["Jobs: 0"]);
}

#[test]
fn dead_jobs_are_done_again() {
    let installation = installation();
    let [dead, ready] = [DEAD.to_string(), READY.to_string()];
    installation.run(&["jobs", "replay", &dead]).is(0, &["Jobs that are due again: 1"]);
    let due = format!("jobs WHERE id = '{DEAD}' AND state = 'ready' AND attempts = 0 AND dead_at IS NULL");
    assert_eq!(installation.count(&due), 1);
    installation.run(&["jobs", "replay", &dead, &ready]).is(1, &["0 of 2; the others are not dead, or gone"]);
    installation.run(&["jobs", "replay", "--kind", "mail.send"]).is(0, &["due again: 0"]);
    installation.run(&["jobs", "replay", "--kind", "platform.sweep"]).is(0, &["due again: 1"]);
    installation.sql("UPDATE jobs SET state = 'dead', dead_at = now() WHERE state = 'ready'");
    installation.run(&["jobs", "replay", "--all"]).is(0, &["due again: 3"]);
    assert_eq!(installation.count("jobs WHERE state = 'leased'"), 1, "what is under way is left alone");
    installation.run(&["jobs", "replay"]).is(2, &["required"]);
    installation.run(&["jobs", "replay", "--all", "--kind", "index"]).is(2, &["cannot be used with"]);
}

#[test]
fn jobs_are_dropped_unless_they_are_under_way() {
    let installation = installation();
    let [dead, leased, ready] = [DEAD, LEASED, READY].map(|id| id.to_string());
    installation.run(&["jobs", "drop", &dead, &ready]).is(0, &["Jobs that are dropped: 2"]);
    installation.run(&["jobs", "drop", &leased]).is(1, &["0 of 1; the others are under way or gone"]);
    assert_eq!(installation.count("jobs"), 2);
    installation.run(&["jobs", "drop"]).is(2, &["required"]);
    installation.run(&["jobs", "drop", "all"]).is(2, &["invalid value"]);
}

#[test]
fn they_need_the_owner_of_the_tables() {
    let installation = Installation::new().with("DATABASE_OWNER_URL", "");
    installation.run(&["jobs", "list"]).is(1, &["DATABASE_OWNER_URL"]);
}

#[test]
fn the_doctor_tells_what_somebody_has_to_look_at() {
    let installation = installation();
    installation
        .run(&["doctor"])
        .is(0, &["warn  jobs: 2 to be done, 2 dead; look at them with crm-admin jobs list --dead"]);
    installation.sql("DELETE FROM jobs WHERE state = 'dead'");
    installation.run(&["doctor"]).is(0, &["ok    jobs: 2 to be done, 0 dead"]);
    installation.sql("UPDATE jobs SET run_at = now() - interval '1 hour'");
    installation.run(&["doctor"]).is(0, &["warn  jobs: 2 to be done, 0 dead, one due for 36", "crm-worker"]);
}
