//! Brings up what the server and the workers stand on, and tells the operator's commands where the database is.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, thread};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use crm_core::migrate::SchemaState;
use crm_core::{Clock, Db, DbSettings, Sealer, migrate, tenancy};
use crm_identity::{Identity, IdentitySettings, OidcProvider, OidcSettings, TokenSettings};
use crm_mail::{Mailer, Transport};
use crm_pg::{Cluster, Role};
use crm_storage::Storage;
use crm_webhooks::{WebhookSettings, Webhooks, feed};
use rand::RngCore as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use uuid::Uuid;

use crate::routes;
use crate::settings::{DatabaseSettings, Secret, Settings, place_in};

#[cfg(test)]
mod tests;

/// The database of the built-in server.
const EMBEDDED_NAME: &str = "crm";

/// How long a request waits for a database connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// How long an operator's command that runs the built-in database is waited for.
const HOLDER_WAIT: Duration = Duration::from_secs(3);

/// How long a program that runs beside crm-api waits for that to start the built-in database.
const SERVER_WAIT: Duration = Duration::from_secs(15);

/// How long one request to a provider of identities may take; a sign-in makes three at most.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(8);

/// How a program comes by the built-in database.
#[derive(Clone, Copy)]
enum Part {
    /// Runs the built-in database.
    Server,
    /// Uses the one that the server runs.
    Beside,
    /// Uses it, or runs it for as long as needed.
    Command,
}

/// What the server and the workers stand on. Dropping it blocks while the built-in database stops: see [`Running::stop`].
pub struct Running {
    /// How to run, with the secret key and an absolute data folder filled in.
    pub settings: Arc<Settings>,
    /// The database, as the application role.
    pub db: Db,
    /// Accounts, sessions, organizations.
    pub identity: Identity,
    /// Files.
    pub storage: Storage,
    /// Mail.
    pub mailer: Mailer,
    /// Keeps answers that may hold secrets.
    pub answers: Sealer,
    /// What is sent to other programs.
    pub webhooks: Webhooks,
    /// Where the database is, fit to be shown.
    pub database: DatabasePlace,
    /// The built-in database, if that is used.
    pub cluster: Option<Cluster>,
}

/// How to log in to the database.
#[derive(Debug)]
pub struct Database {
    /// Where it is, fit to be shown.
    pub place: DatabasePlace,
    /// For the application role.
    pub app_url: Secret,
    /// For the role that owns the tables, if this program may use it.
    pub owner_url: Option<Secret>,
    /// The built-in database; an operator's command that had to start it stops it by dropping this.
    pub cluster: Option<Cluster>,
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabasePlace {
    /// Built in.
    Embedded {
        /// Its folder.
        dir: PathBuf,
    },
    /// On a server that somebody else runs.
    External {
        /// Host and port, as far as they are given.
        host: String,
        /// The database.
        name: String,
    },
}

impl fmt::Display for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { dir } => write!(f, "built in, under {}", dir.display()),
            Self::External { host, name } if host.is_empty() => write!(f, "{name} on this machine"),
            Self::External { host, name } => write!(f, "{name} on {host}"),
        }
    }
}

/// Brings everything up for the server, which runs the built-in database.
///
/// # Errors
/// What is in the way, with what to do about it.
pub async fn start(settings: Settings) -> anyhow::Result<Running> {
    bring_up(settings, Part::Server).await
}

/// Brings everything up for a program beside the server, which joins the built-in database once the server runs it.
///
/// # Errors
/// As [`start`].
pub async fn start_beside(settings: Settings) -> anyhow::Result<Running> {
    bring_up(settings, Part::Beside).await
}

/// Finds the database for an operator's command, and runs the built-in one if nobody does. It migrates and checks nothing,
/// and blocks.
///
/// # Errors
/// As [`start`].
pub fn connect_for_cli(settings: &Settings) -> anyhow::Result<Database> {
    find_database(settings, Part::Command)
}

impl Running {
    /// Stops the built-in database, if this program runs it.
    pub async fn stop(self) {
        let Self { cluster, .. } = self;
        // It fails only if stopping panicked, which has been reported by then.
        let _ = tokio::task::spawn_blocking(move || drop(cluster)).await;
    }
}

async fn bring_up(settings: Settings, part: Part) -> anyhow::Result<Running> {
    let (settings, Database { place, app_url, cluster, .. }) =
        tokio::task::spawn_blocking(move || prepare(settings, part))
            .await
            .context("the start-up broke off")??;
    let db_settings =
        DbSettings { url: app_url.expose().to_owned(), pool_size: settings.pool_size, wait: CONNECTION_WAIT };
    let db = Db::connect(&db_settings, Clock::default()).map_err(cause)?;
    check(&db, &place).await?;
    settle(&db).await?;
    let identity = Identity::new(db.clone(), identity_settings(&settings)?).map_err(cause)?;
    let identity = identity.with_oidc(oidc_settings(&settings)).map_err(cause)?;
    let storage = storage(&settings).await?;
    let transport = match &settings.smtp_url {
        Some(url) => Transport::Smtp { url: url.expose().to_owned() },
        None => Transport::Files { dir: settings.data_dir.join("mail") },
    };
    let mailer = Mailer::new(&transport, &settings.default_from_email)?;
    let answers = Sealer::new(secret_key(&settings)?.expose(), "idempotency").map_err(cause)?;
    let webhooks = webhooks(&settings, &db).map_err(cause)?;
    Ok(Running {
        settings: Arc::new(settings),
        db,
        identity,
        storage,
        mailer,
        answers,
        webhooks,
        database: place,
        cluster,
    })
}

/// Where files lie, once that is known to work.
pub async fn storage(settings: &Settings) -> anyhow::Result<Storage> {
    let Some(bucket) = &settings.bucket else {
        let files = settings.data_dir.join("files");
        return Storage::local(&files).with_context(|| format!("can't keep files in {}", files.display()));
    };
    let storage = Storage::bucket(bucket)?;
    let checked = storage.check().await;
    checked.with_context(|| format!("can't use the bucket {} (AWS_BUCKET_NAME)", bucket.name))?;
    Ok(storage)
}

/// Lets the change feed go on where the database has moved or gone back in time.
async fn settle(db: &Db) -> anyhow::Result<()> {
    let moved = db.platform(async |p| feed::settle(p).await).await;
    if moved.map_err(cause).context("can't look where the database is")? {
        tracing::info!("the database has moved or gone back in time: the change feed goes on from here");
    }
    Ok(())
}

fn webhooks(settings: &Settings, db: &Db) -> crm_core::Result<Webhooks> {
    let secret = secret_key(settings).map_err(crm_core::Error::internal)?;
    let sending = WebhookSettings::new(secret.expose(), settings.webhooks_allow_private)?;
    Webhooks::new(db.clone(), sending, routes::TARGETS)
}

/// The blocking part: the data folder, the database up to date, the secret key.
fn prepare(mut settings: Settings, part: Part) -> anyhow::Result<(Settings, Database)> {
    let database = find_database(&settings, part)?;
    if let Some(owner_url) = &database.owner_url {
        let migrated = migrate::run_at(owner_url.expose()).map_err(cause);
        let applied = migrated.with_context(|| {
            format!("can't bring the schema of the database up to date ({})", database.place)
        })?;
        if !applied.is_empty() {
            tracing::info!(migrations = applied.len(), "the schema was brought up to date");
        }
    }
    settings.data_dir = private_dir(&settings.data_dir)?;
    if settings.secret_key.is_none() {
        settings.secret_key = Some(kept_secret(&settings.data_dir)?);
    }
    Ok((settings, database))
}

fn find_database(settings: &Settings, part: Part) -> anyhow::Result<Database> {
    let (url, owner_url) = match &settings.database {
        DatabaseSettings::Embedded => return embedded(&settings.data_dir.join("pg"), part),
        DatabaseSettings::External { url, owner_url } => (url, owner_url),
    };
    let (host, name) = place_in(url.expose()).unwrap_or_default();
    Ok(Database {
        place: DatabasePlace::External { host: host.to_owned(), name: name.to_owned() },
        app_url: url.clone(),
        owner_url: owner_url.clone(),
        cluster: None,
    })
}

fn embedded(dir: &Path, part: Part) -> anyhow::Result<Database> {
    let options = crm_pg::Options { dir: dir.to_owned(), durable: true, owner_may_create_databases: false };
    let cluster = match part {
        Part::Server => run_cluster(&options)?,
        Part::Beside => join_cluster(dir)?,
        Part::Command => Cluster::start_or_attach(&options)?,
    };
    let url = |role| Secret::new(cluster.url(role, EMBEDDED_NAME));
    Ok(Database {
        place: DatabasePlace::Embedded { dir: dir.canonicalize().unwrap_or_else(|_| dir.to_owned()) },
        app_url: url(Role::App),
        owner_url: Some(url(Role::Owner)),
        cluster: Some(cluster),
    })
}

/// Runs the server, after whoever runs it for a moment.
fn run_cluster(options: &crm_pg::Options) -> anyhow::Result<Cluster> {
    let started = Instant::now();
    loop {
        match Cluster::start(options) {
            Err(crm_pg::Error::Held { by_pid, .. })
                if is_brief(by_pid) && started.elapsed() < HOLDER_WAIT =>
            {
                thread::sleep(Duration::from_millis(20));
            }
            Err(crm_pg::Error::Held { by_pid, dir }) => {
                let program = program_name(&by_pid.to_string()).unwrap_or_else(|| "another program".into());
                bail!(
                    "the built-in database in {} is run by {program} (process {by_pid}): stop that, or give this \
                     program another folder by CRM_DATA_DIR or a database server by DATABASE_URL",
                    dir.display()
                );
            }
            ended => return Ok(ended?),
        }
    }
}

/// Joins the server once it is there.
fn join_cluster(dir: &Path) -> anyhow::Result<Cluster> {
    let started = Instant::now();
    loop {
        match Cluster::attach(dir) {
            Err(crm_pg::Error::NotRunning { .. }) if started.elapsed() < SERVER_WAIT => {
                thread::sleep(Duration::from_millis(50));
            }
            Err(error @ crm_pg::Error::NotRunning { .. }) => {
                return Err(error).context(
                    "the built-in database is run by crm-api: start that first, or set DATABASE_URL for both",
                );
            }
            ended => return Ok(ended?),
        }
    }
}

/// Whether a holder may be gone soon: an operator's command, but not another one of ourselves.
fn is_brief(holder: u32) -> bool {
    program_name(&holder.to_string()).is_none_or(|name| program_name("self").as_ref() != Some(&name))
}

/// The name of a running program, where the system tells it.
fn program_name(process: &str) -> Option<String> {
    let name = fs::read_to_string(Path::new("/proc").join(process).join("comm")).ok()?;
    Some(name.trim().to_owned())
}

/// Refuses a database that this program must not serve from.
async fn check(db: &Db, place: &DatabasePlace) -> anyhow::Result<()> {
    let looked = db
        .platform(async |p| {
            let mut faults = tenancy::check_role(p.conn()?).await?;
            for table in tenancy::inspect(p.conn()?).await? {
                faults.extend(table.faults.iter().map(|fault| format!("{}: {fault}", table.table)));
            }
            Ok::<_, crm_core::Error>((faults, tenancy::schema_state(p.conn()?).await?))
        })
        .await;
    let (faults, schema) =
        looked.map_err(cause).with_context(|| format!("can't use the database ({place})"))?;
    let refusals = refusals(faults, &schema);
    if !refusals.is_empty() {
        bail!("this program must not use the database ({place}):\n  {}", refusals.join("\n  "));
    }
    Ok(())
}

fn refusals(faults: Vec<String>, SchemaState { pending, unknown }: &SchemaState) -> Vec<String> {
    let mut refusals = faults;
    if !unknown.is_empty() {
        refusals.push(format!(
            "its schema is newer than this program, which does not know {}: run the newer one",
            unknown.join(", ")
        ));
    }
    if !pending.is_empty() {
        refusals.push(format!(
            "its schema lacks {}: run `crm-admin migrate` with DATABASE_OWNER_URL set",
            pending.join(", ")
        ));
    }
    refusals
}

/// The secret key, which the start-up has made if it was not set.
fn secret_key(settings: &Settings) -> anyhow::Result<&Secret> {
    settings.secret_key.as_ref().context("there is no secret key")
}

fn identity_settings(settings: &Settings) -> anyhow::Result<IdentitySettings> {
    let secret = secret_key(settings)?;
    Ok(IdentitySettings {
        tokens: TokenSettings {
            access_ttl: TimeDelta::from_std(settings.access_token_lifetime)?,
            refresh_ttl: TimeDelta::from_std(settings.refresh_token_lifetime)?,
            ..TokenSettings::new(secret.expose(), "amphora")
        },
        frontend_url: settings.frontend_url.clone(),
        platform_admin_domains: settings.platform_admin_domains.clone(),
    })
}

fn oidc_settings(settings: &Settings) -> OidcSettings {
    let provider = |set: &crate::settings::OidcSettings| OidcProvider {
        name: set.name.clone(),
        label: set.label.clone(),
        issuer: set.issuer.clone(),
        client_id: set.client_id.clone(),
        client_secret: set.client_secret.expose().to_owned(),
    };
    OidcSettings {
        providers: settings.oidc_providers.iter().map(provider).collect(),
        timeout: PROVIDER_TIMEOUT,
    }
}

/// Makes the data folder for this user alone if the built-in database has not made it, and answers its absolute path.
fn private_dir(dir: &Path) -> anyhow::Result<PathBuf> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| dir.canonicalize())
        .with_context(|| format!("can't use the data folder {}", dir.display()))
}

/// The secret key kept in the data folder, made if there is none.
fn kept_secret(data_dir: &Path) -> anyhow::Result<Secret> {
    let path = data_dir.join("secret_key");
    let read = || match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_secret(&path).and_then(|()| fs::read_to_string(&path))
        }
        read => read,
    };
    let text = read().with_context(|| format!("can't keep the secret key in {}", path.display()))?;
    Ok(Secret::new(text.trim()))
}

/// Writes a new key under a name of its own and then links it, so that of two programs one wins and both read it whole.
fn make_secret(path: &Path) -> io::Result<()> {
    let mut bytes = [0; 48];
    rand::rng().fill_bytes(&mut bytes);
    let staged = path.with_extension(Uuid::now_v7().to_string());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
    let written = file.write_all(STANDARD.encode(bytes).as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&staged, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let _ = fs::remove_file(&staged); // a left-over harms nobody
    linked
}

/// What lies behind an error whose own words are for strangers.
pub(crate) fn cause(error: crm_core::Error) -> anyhow::Error {
    match error {
        crm_core::Error::Internal(source) | crm_core::Error::Unavailable(source) => {
            anyhow::Error::from_boxed(source)
        }
        told => told.into(),
    }
}

/// The ways in which a person or the system asks a program to end.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Takes them over from here on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn install() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for Ctrl-C or SIGTERM.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
