//! Everything an installation needs, looked at in one go.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use crm_api::settings::{DatabaseSettings, Environment, Settings};
use crm_core::tenancy;
use crm_mail::{Mailer, Transport};
use crm_storage::Storage;
use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;
use postgres::Client;

use crate::database::{self, Database, SyncPool, block_on};
use crate::{manage_rls, schema_rs};

/// The oldest PostgreSQL that the schema is tested with.
const POSTGRES_MIN: i32 = 15;
/// What the migrations install.
const EXTENSIONS: [&str; 3] = ["btree_gin", "pg_trgm", "unaccent"];
/// How far the clocks may be apart: beyond the second, a fresh token may be refused.
const SKEW_WARN: TimeDelta = TimeDelta::seconds(1);
const SKEW_FAIL: TimeDelta = TimeDelta::seconds(5);
const DISK_WARN_MIB: f64 = 2048.0;
const DISK_FAIL_MIB: f64 = 256.0;
/// Fewer different bytes than that in a key were not drawn at random.
const KEY_BYTES_MIN: usize = 12;
/// A job that is due this long has nobody who does it.
const OVERDUE_SECONDS: i64 = 300;
const SMTP_TIMEOUT: Duration = Duration::from_secs(5);

/// What a look at one thing found.
enum Verdict {
    Fine(String),
    /// With what would be better.
    Warn(String, String),
    /// With how to mend it.
    Fail(String, String),
}

use Verdict::{Fail, Fine, Warn};

/// Prints a line for each check; succeeds unless one failed.
pub(crate) fn run() -> Result<ExitCode> {
    let mut report = Report { failed: false };
    match Settings::load() {
        Ok(settings) => report.examine(&settings),
        Err(error) => {
            for problem in error.problems {
                report.line("settings", Fail(problem, "correct the environment or the file .env".into()));
            }
            report.line("programs", programs(None));
        }
    }
    Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct Report {
    failed: bool,
}

impl Report {
    fn line(&mut self, what: &str, verdict: Verdict) {
        match verdict {
            Fine(found) => say!("ok    {what}: {found}"),
            Warn(found, hint) => say!("warn  {what}: {found}; {hint}"),
            Fail(found, hint) => {
                say!("FAIL  {what}: {found}; {hint}");
                self.failed = true;
            }
        }
    }

    fn examine(&mut self, settings: &Settings) {
        self.line("settings", environment(settings));
        self.line("programs", programs(Some(settings)));
        self.line("data folder", data_dir(&settings.data_dir));
        self.line("free disk", free_disk(&settings.data_dir));
        self.line("secret key", secret_key(settings));
        self.line("mail", mail(settings));
        self.line("files", files(settings));
        if !database::exists(settings) {
            let hint = "the first start of crm-api makes it, as does crm-admin migrate";
            self.line("database", Warn("not made yet".into(), hint.into()));
            return;
        }
        let found = Database::find_or_make(settings.clone()).and_then(|database| {
            let client = SyncPool::open(&database.app_url, 1)?.get()?;
            Ok((database, client))
        });
        match found {
            Ok((database, mut client)) => self.examine_database(&database, &mut client),
            Err(error) => {
                let hint = "start it, or correct DATABASE_URL".into();
                self.line("database", Fail(format!("{error:#}"), hint));
            }
        }
    }

    fn examine_database(&mut self, database: &Database, client: &mut Client) {
        let checks: [(&str, Result<Verdict>); 9] = [
            ("database", version(database, client)),
            ("clock", clock(client)),
            ("owner", owner(database)),
            ("role", role(database)),
            ("schema", schema(database)),
            ("extensions", extensions(client)),
            ("row-level security", row_level_security(database)),
            ("jobs", jobs(client)),
            ("platform administrator", platform_admin(client)),
        ];
        for (what, verdict) in checks {
            let unknown = |error| Fail(format!("{error:#}"), "see the lines above".into());
            self.line(what, verdict.unwrap_or_else(unknown));
        }
    }
}

fn environment(settings: &Settings) -> Verdict {
    let Settings { domain_name, environment, .. } = settings;
    match environment {
        Environment::Dev => Fine(format!("development, reached at {domain_name}")),
        Environment::Prod if !domain_name.starts_with("https://") => Warn(
            format!("production, reached at {domain_name}, unencrypted"),
            "set DOMAIN_NAME to the https address of the proxy in front".into(),
        ),
        Environment::Prod => Fine(format!("production, reached at {domain_name}")),
    }
}

/// PostgreSQL's programs are needed for the built-in database alone.
fn programs(settings: Option<&Settings>) -> Verdict {
    let needed = settings.is_none_or(|settings| settings.database == DatabaseSettings::Embedded);
    match crm_pg::find_programs() {
        Ok(bin_dir) => Fine(format!("PostgreSQL in {}", bin_dir.display())),
        Err(_) if !needed => Fine("no PostgreSQL here, and none needed: DATABASE_URL names a server".into()),
        Err(error) => Fail(error.to_string(), "or set DATABASE_URL".into()),
    }
}

fn data_dir(dir: &Path) -> Verdict {
    let shown = dir.display();
    let meta = match fs::metadata(dir) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Warn(format!("{shown} is not there yet"), "the first start of crm-api makes it".into());
        }
        Err(error) => {
            return Fail(format!("{shown}: {error}"), "set CRM_DATA_DIR to a folder of your own".into());
        }
    };
    let mode = meta.permissions().mode() & 0o777;
    if meta.uid() != geteuid().as_raw() {
        let hint = "run this as its owner, or set CRM_DATA_DIR to a folder of your own";
        return Fail(format!("{shown} belongs to the user number {}", meta.uid()), hint.into());
    }
    let found = format!("{shown} (mode {mode:o})");
    match (mode & 0o022, mode & 0o044) {
        (0, 0) => Fine(found),
        // What is secret in it has rights of its own.
        (0, _) => Warn(format!("{found} can be read by other users"), format!("run: chmod go-r {shown}")),
        _ => Fail(format!("{found} can be changed by other users"), format!("run: chmod go-rw {shown}")),
    }
}

/// The folder itself, or the nearest one above it that is there.
fn existing(dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    absolute.ancestors().find(|part| part.exists()).map_or(absolute.clone(), Path::to_owned)
}

fn free_disk(dir: &Path) -> Verdict {
    let dir = existing(dir);
    let stat = match statvfs(&dir) {
        Ok(stat) => stat,
        Err(error) => return Warn(format!("{}: {error}", dir.display()), "look at it with df".into()),
    };
    let free = stat.blocks_available() as f64 * stat.fragment_size() as f64 / 1024.0 / 1024.0;
    let found = format!("{free:.0} MiB where {} is", dir.display());
    let hint = "make room, or set CRM_DATA_DIR to another disk";
    if free < DISK_FAIL_MIB {
        Fail(found, hint.into())
    } else if free < DISK_WARN_MIB {
        Warn(found, hint.into())
    } else {
        Fine(found)
    }
}

fn secret_key(settings: &Settings) -> Verdict {
    let path = settings.data_dir.join("secret_key");
    let strong = "set it to the output of: openssl rand -base64 48";
    if let Some(key) = &settings.secret_key {
        let mut bytes = key.expose().as_bytes().to_vec();
        bytes.sort_unstable();
        bytes.dedup();
        return match bytes.len() {
            ..KEY_BYTES_MIN => Fail("SECRET_KEY can be guessed".into(), strong.into()),
            _ => Fine(format!("SECRET_KEY has {} bytes", key.expose().len())),
        };
    }
    match fs::metadata(&path) {
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => Fail(
            format!("{} is open to other users", path.display()),
            format!(
                "run: chmod 600 {}; if others were on this machine, delete it: everybody signs in anew",
                path.display()
            ),
        ),
        Ok(_) => Fine(format!("in {}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Fine(format!("none yet: the first start of crm-api makes it in {}", path.display()))
        }
        Err(error) => Fail(format!("{}: {error}", path.display()), "set SECRET_KEY".into()),
    }
}

fn mail(settings: &Settings) -> Verdict {
    let Some(url) = &settings.smtp_url else {
        let dir = settings.data_dir.join("mail");
        return match (settings.environment, writable_folder(&dir)) {
            (Environment::Prod, Fine(found)) => {
                Warn(format!("becomes files: {found}"), "set SMTP_URL, so that people receive it".into())
            }
            (_, verdict) => verdict,
        };
    };
    let transport = Transport::Smtp { url: url.expose().to_owned() };
    // Made and dropped inside a runtime, where its connections live.
    let described =
        block_on(async { Ok(Mailer::new(&transport, &settings.default_from_email)?.describe()) }).flatten();
    match described {
        Err(error) => Fail(format!("{error:#}"), "correct SMTP_URL and DEFAULT_FROM_EMAIL".into()),
        Ok(place) => match greet(url.expose()) {
            Ok(()) => Fine(format!("{place} answers")),
            Err(error) => Fail(
                format!("{place}: {error:#}"),
                "correct SMTP_URL, or look whether a firewall is between".into(),
            ),
        },
    }
}

/// Opens and closes a connection to the mail server.
fn greet(url: &str) -> Result<()> {
    let (scheme, rest) = url.split_once("://").context("not a URL")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = match scheme {
        "smtps" => 465,
        _ if rest.contains("tls=") => 587,
        _ => 25,
    };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { host.to_owned() } else { format!("{host}:{port}") };
    let mut last = None;
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, SMTP_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("its name leads nowhere")?.into())
}

/// Tries a file in the folder, or, while that is not made yet, in the nearest one above it.
fn files(settings: &Settings) -> Verdict {
    let Some(bucket) = &settings.bucket else { return writable_folder(&settings.data_dir.join("files")) };
    let checked = Storage::bucket(bucket).map_err(anyhow::Error::from).and_then(|storage| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(storage.check())?)
    });
    match checked {
        Ok(()) => Fine(format!("the bucket {} can be read", bucket.name)),
        Err(error) => Fail(
            format!("the bucket {} can't be used: {error:#}", bucket.name),
            "correct the AWS_… variables, or the bucket's own rules".into(),
        ),
    }
}

fn writable_folder(dir: &Path) -> Verdict {
    let place = existing(dir);
    let trial = place.join(format!(".crm-doctor-{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).open(&trial);
    match written.and_then(|_| fs::remove_file(&trial)) {
        Ok(()) => Fine(format!("{} can be written", dir.display())),
        Err(error) => Fail(
            format!("{} can't be written: {error}", dir.display()),
            "give this user the right to, or set CRM_DATA_DIR to another folder".into(),
        ),
    }
}

fn version(database: &Database, client: &mut Client) -> Result<Verdict> {
    let row = client.query_one(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000",
        &[],
    )?;
    let (version, major): (String, i32) = (row.get(0), row.get(1));
    let found = format!("PostgreSQL {version}, {}", database.place);
    Ok(match major {
        ..POSTGRES_MIN => Warn(found, format!("the schema is tested with {POSTGRES_MIN} and newer")),
        _ => Fine(found),
    })
}

fn clock(client: &mut Client) -> Result<Verdict> {
    client.simple_query("")?; // so that the question alone is timed
    let asked = Utc::now();
    let told: DateTime<Utc> = client.query_one("SELECT clock_timestamp()", &[])?.get(0);
    let answered = Utc::now();
    let skew = (told - (asked + (answered - asked) / 2)).abs();
    let found = format!("program and database are {} ms apart", skew.num_milliseconds());
    let hint = "set both machines' clocks by the same time server";
    Ok(match skew {
        far if far > SKEW_FAIL => Fail(found, hint.into()),
        some if some > SKEW_WARN => Warn(found, hint.into()),
        _ => Fine(found),
    })
}

fn owner(database: &Database) -> Result<Verdict> {
    let Ok(url) = database.owner_url() else {
        let hint = "set DATABASE_OWNER_URL where migrations are to be applied";
        return Ok(Warn("not known here".into(), hint.into()));
    };
    let mut client = SyncPool::open(url, 1)?.get()?;
    let row = client.query_one(
        "SELECT session_user::text, has_schema_privilege('public', 'CREATE'), count(*) FILTER (WHERE
             NOT pg_has_role(session_user, c.relowner, 'MEMBER'))
         FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')",
        &[],
    )?;
    let (name, creates, foreign): (String, bool, i64) = (row.get(0), row.get(1), row.get(2));
    Ok(match (creates, foreign) {
        (true, 0) => Fine(format!("{name} may migrate")),
        (false, _) => Fail(
            format!("{name} may not create tables"),
            format!("as a superuser run: GRANT CREATE ON SCHEMA public TO \"{name}\""),
        ),
        (_, foreign) => Fail(
            format!("{foreign} tables do not belong to {name}"),
            "set DATABASE_OWNER_URL to the role that owns them".into(),
        ),
    })
}

fn role(database: &Database) -> Result<Verdict> {
    let faults = database.as_app(async |p| tenancy::check_role(p.conn()?).await)?;
    Ok(match faults.is_empty() {
        true => Fine("policies bind the application's role".into()),
        false => Fail(faults.join("; "), "crm-api refuses to start with it".into()),
    })
}

fn schema(database: &Database) -> Result<Verdict> {
    let state = database.as_app(async |p| tenancy::schema_state(p.conn()?).await)?;
    if !state.unknown.is_empty() {
        let found = format!("newer than this program, which does not know {}", state.unknown.join(", "));
        return Ok(Fail(found, "install the newer program".into()));
    }
    if !state.pending.is_empty() {
        return Ok(Fail(format!("lacks {}", state.pending.join(", ")), "run: crm-admin migrate".into()));
    }
    let mut client = SyncPool::open(&database.app_url, 1)?.get()?;
    Ok(match schema_rs::generate(&mut client)? == schema_rs::CHECKED_IN {
        true => Fine("current, and as the migrations leave it".into()),
        false => Fail(
            "somebody changed tables beside the migrations".into(),
            "compare crm-admin schema-rs with crates/crm-schema/src/lib.rs".into(),
        ),
    })
}

fn extensions(client: &mut Client) -> Result<Verdict> {
    let rows = client.query("SELECT extname::text FROM pg_extension", &[])?;
    let installed: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let missing: Vec<_> =
        EXTENSIONS.into_iter().filter(|name| !installed.iter().any(|i| i == name)).collect();
    Ok(match missing.as_slice() {
        [] => Fine(EXTENSIONS.join(", ")),
        missing => Fail(
            format!("{} missing", missing.join(", ")),
            "install postgresql-contrib on the server, then as a superuser run CREATE EXTENSION".into(),
        ),
    })
}

fn row_level_security(database: &Database) -> Result<Verdict> {
    let reports = manage_rls::reports(database)?;
    let faulty: Vec<_> = reports.iter().filter(|report| !report.faults.is_empty()).collect();
    Ok(match faulty.first() {
        None => Fine(format!("{} tables protected", manage_rls::protected(&reports).count())),
        Some(first) => Fail(
            format!("{} faulty, such as {}: {}", faulty.len(), first.table, first.faults.join(", ")),
            "see: crm-admin manage-rls --status".into(),
        ),
    })
}

/// The dead wait for somebody who looks at them, the overdue for a worker.
fn jobs(client: &mut Client) -> Result<Verdict> {
    let row =
        client.query_one("SELECT pending, dead, oldest_due_seconds::bigint FROM jobs_backlog()", &[])?;
    let (pending, dead, oldest_due): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let found = format!("{pending} to be done, {dead} dead");
    Ok(match (oldest_due, dead) {
        (OVERDUE_SECONDS.., _) => {
            Warn(format!("{found}, one due for {oldest_due} s"), "see that crm-api or crm-worker runs".into())
        }
        (_, 1..) => Warn(found, "look at them with crm-admin jobs list --dead".into()),
        _ => Fine(found),
    })
}

fn platform_admin(client: &mut Client) -> Result<Verdict> {
    let number: i64 =
        client.query_one("SELECT count(*) FROM platform_admins WHERE is_superuser", &[])?.get(0);
    Ok(match number {
        0 => Warn("none".into(), "to make one, run: crm-admin createsuperuser --email <address>".into()),
        number => Fine(number.to_string()),
    })
}
