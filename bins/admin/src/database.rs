//! Ways to the database: as the application role, asynchronous, through the tenant transaction like everybody else; and
//! blocking, through a pool of `r2d2`, for what only an operator does.

use std::ops::AsyncFnOnce;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crm_api::settings::{DatabaseSettings, Settings};
use crm_api::startup::{self, DatabasePlace};
use crm_core::{Clock, Db, DbSettings, PlatformTx};
use postgres::Config;
use postgres::config::SslMode;
use r2d2_postgres::PostgresConnectionManager;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a connection is waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The database that the settings name, running.
pub(crate) struct Database {
    pub(crate) settings: Settings,
    pub(crate) app_url: String,
    /// Where it is, fit to be shown.
    pub(crate) place: DatabasePlace,
    found: startup::Database,
}

impl Database {
    /// Reads the settings and finds the database, starting the built-in one if nobody else runs it.
    pub(crate) fn connect() -> Result<Self> {
        let settings = Settings::load()?;
        if !exists(&settings) {
            let dir = settings.data_dir.display();
            bail!("there is no database in {dir} yet: start crm-api, or run crm-admin migrate");
        }
        Self::find_or_make(settings)
    }

    /// The same, but the built-in one is made if it is not there.
    pub(crate) fn find_or_make(settings: Settings) -> Result<Self> {
        let found = startup::connect_for_cli(&settings)?;
        Ok(Self { settings, app_url: found.app_url.expose().to_owned(), place: found.place.clone(), found })
    }

    /// Where the role that owns the tables connects.
    pub(crate) fn owner_url(&self) -> Result<&str> {
        let url = self.found.owner_url.as_ref().context(
            "this needs the role that owns the tables: set DATABASE_OWNER_URL, such as \
             postgresql://crm_owner:password@localhost:5432/crm",
        )?;
        Ok(url.expose())
    }

    /// Where the superuser of the built-in database connects.
    pub(crate) fn superuser_url(&self) -> Result<Option<String>> {
        let name = self.name()?;
        Ok(self.found.cluster.as_ref().map(|cluster| cluster.url(crm_pg::Role::Super, &name)))
    }

    /// The name of the database on its server.
    pub(crate) fn name(&self) -> Result<String> {
        let config: Config = self.app_url.parse()?;
        let name = config.get_dbname().or(config.get_user());
        Ok(name.context("DATABASE_URL names no database")?.to_owned())
    }

    /// The database as the application role.
    pub(crate) fn app(&self) -> Result<Db> {
        let settings = DbSettings { url: self.app_url.clone(), pool_size: 2, wait: CONNECT_TIMEOUT };
        Db::connect(&settings, Clock::default()).map_err(told)
    }

    /// Runs `work` in one transaction of the application role, outside every organization.
    pub(crate) fn as_app<T>(
        &self,
        work: impl AsyncFnOnce(&mut PlatformTx) -> crm_core::Result<T>,
    ) -> Result<T> {
        let db = self.app()?;
        block_on(db.platform(work))?
            .map_err(told)
            .with_context(|| format!("can't use the database ({})", self.place))
    }
}

/// Whether there is a database to look at: one of somebody else, or a built-in one that was made before.
pub(crate) fn exists(settings: &Settings) -> bool {
    settings.database != DatabaseSettings::Embedded || settings.data_dir.join("pg/data").exists()
}

/// An error of a service in words for an operator, who may see what lies behind it.
pub(crate) fn told(error: crm_core::Error) -> anyhow::Error {
    match error {
        crm_core::Error::Internal(source) | crm_core::Error::Unavailable(source) => {
            anyhow::Error::from_boxed(source)
        }
        crm_core::Error::Fields(_, fields) => {
            let fields: Vec<_> =
                fields.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
            anyhow::Error::msg(fields.join("; "))
        }
        refused => refused.into(),
    }
}

/// Runs a future to its end. Not for a thread that runs async code.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

type Manager = PostgresConnectionManager<MakeRustlsConnect>;

/// A blocking connection.
pub(crate) type SyncConnection = r2d2::PooledConnection<Manager>;

/// Blocking connections of one role.
#[derive(Clone)]
pub(crate) struct SyncPool(r2d2::Pool<Manager>);

impl SyncPool {
    /// Prepares a pool of `size` connections, which are opened when first needed.
    pub(crate) fn open(url: &str, size: u32) -> Result<Self> {
        let mut config: Config = url.parse()?;
        config.connect_timeout(CONNECT_TIMEOUT).application_name("crm-admin");
        // As in the server: encrypted and verified when the URL asks for it, otherwise not.
        let encrypted = config.get_ssl_mode() == SslMode::Require;
        if !encrypted {
            config.ssl_mode(SslMode::Disable);
        }
        let manager = Manager::new(config, MakeRustlsConnect::new(crm_core::tls_config(encrypted)?));
        let pool = r2d2::Pool::builder().max_size(size).min_idle(Some(0)).connection_timeout(CONNECT_TIMEOUT);
        Ok(Self(pool.build(manager)?))
    }

    /// A connection.
    pub(crate) fn get(&self) -> Result<SyncConnection> {
        self.0.get().context("can't connect to the database")
    }
}
