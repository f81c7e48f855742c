//! Bringing the schema up to date, as the owner role and blocking: for the operator's commands and for a first start.

use diesel::connection::SimpleConnection;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::{Error, Result};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// A blocking connection over the same driver as the server's.
pub type OwnerConnection = AsyncConnectionWrapper<AsyncPgConnection>;

/// Blocking connections of the owner role.
pub type OwnerPool = r2d2::Pool<OwnerManager>;

/// Opens connections of the owner role as the server's are opened, with TLS where the URL asks for it.
#[derive(Debug)]
pub struct OwnerManager(String);

impl r2d2::ManageConnection for OwnerManager {
    type Connection = OwnerConnection;
    type Error = diesel::ConnectionError;

    fn connect(&self) -> Result<OwnerConnection, Self::Error> {
        connect(&self.0)
    }

    fn is_valid(&self, conn: &mut OwnerConnection) -> Result<(), Self::Error> {
        conn.batch_execute("SELECT 1").map_err(diesel::ConnectionError::CouldntSetupConfiguration)
    }

    fn has_broken(&self, _: &mut OwnerConnection) -> bool {
        false
    }
}

fn connect(url: &str) -> Result<OwnerConnection, diesel::ConnectionError> {
    let (send, opened) = std::sync::mpsc::channel();
    let url = url.to_owned();
    crate::db::io_runtime().spawn(async move {
        let _ = send.send(crate::db::connect(&url).await);
    });
    let gone = |e: std::sync::mpsc::RecvError| diesel::ConnectionError::BadConnection(e.to_string());
    opened.recv().map_err(gone)?.map(OwnerConnection::from)
}

/// Opens a small pool as the owner role. Not for a thread that runs async code.
///
/// # Errors
/// `Unavailable` when the database can't be reached.
pub fn owner_pool(url: &str) -> Result<OwnerPool> {
    r2d2::Pool::builder()
        .max_size(2)
        .min_idle(Some(0))
        .connection_timeout(std::time::Duration::from_secs(10))
        .build(OwnerManager(url.to_owned()))
        .map_err(|e| Error::Unavailable(Box::new(e)))
}

/// A connection from the owner's pool.
///
/// # Errors
/// `Unavailable` when the database can't be reached.
pub fn checkout(pool: &OwnerPool) -> Result<r2d2::PooledConnection<OwnerManager>> {
    pool.get().map_err(|e| Error::Unavailable(Box::new(e)))
}

/// How the database's schema relates to this program's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SchemaState {
    /// Migrations of this program that the database lacks.
    pub pending: Vec<String>,
    /// Migrations of the database that this program does not know: it is older than the schema.
    pub unknown: Vec<String>,
}

impl SchemaState {
    /// Whether program and database agree.
    pub fn is_current(&self) -> bool {
        self.pending.is_empty() && self.unknown.is_empty()
    }

    /// The state, from the versions that the database says it has.
    pub fn compare(applied: &[String]) -> Self {
        let known = versions();
        Self {
            pending: known.iter().filter(|v| !applied.contains(v)).cloned().collect(),
            unknown: applied.iter().filter(|v| !known.contains(v)).cloned().collect(),
        }
    }
}

/// The versions of every migration compiled in, oldest first.
pub fn versions() -> Vec<String> {
    use diesel::migration::{Migration, MigrationSource};
    let migrations: Vec<Box<dyn Migration<diesel::pg::Pg>>> = MIGRATIONS.migrations().unwrap_or_default();
    let mut versions: Vec<_> = migrations.iter().map(|m| m.name().version().to_string()).collect();
    versions.sort();
    versions
}

/// Applies what is pending; safe when two programs start at once. Answers the versions applied.
///
/// # Errors
/// `Internal` for a failed migration or a schema newer than this program, which is left alone.
pub fn run(conn: &mut OwnerConnection) -> Result<Vec<String>> {
    conn.batch_execute("SELECT pg_advisory_lock(4617315517961601)")?;
    let result = apply(conn);
    let unlocked = conn.batch_execute("SELECT pg_advisory_unlock(4617315517961601)");
    let applied = result?;
    unlocked?;
    Ok(applied)
}

fn apply(conn: &mut OwnerConnection) -> Result<Vec<String>> {
    let applied: Vec<String> =
        conn.applied_migrations().map_err(Error::Internal)?.iter().map(ToString::to_string).collect();
    let state = SchemaState::compare(&applied);
    if !state.unknown.is_empty() {
        let newer = state.unknown.join(", ");
        return Err(Error::internal(format!(
            "the database has migrations this program does not know: {newer}"
        )));
    }
    let run = conn.run_pending_migrations(MIGRATIONS).map_err(Error::Internal)?;
    Ok(run.iter().map(ToString::to_string).collect())
}

/// Opens one connection, applies what is pending, closes it.
///
/// # Errors
/// As [`run`]; `Unavailable` when the database can't be reached.
pub fn run_at(url: &str) -> Result<Vec<String>> {
    let mut conn = connect(url).map_err(|e| Error::Unavailable(Box::new(e)))?;
    run(&mut conn)
}
