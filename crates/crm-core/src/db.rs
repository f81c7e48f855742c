use std::ops::AsyncFnOnce;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::deadpool::{Hook, HookError, Object, Pool, PoolError};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt;
use tokio::sync::broadcast;

use crate::signals::{Bell, Signal, Signals};
use crate::{Caller, CallerSource, Clock, Error, MemberId, OrgId, Result};

/// How long a connection is used.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// How to reach the database as the application role.
#[derive(Debug, Clone)]
pub struct DbSettings {
    /// `postgresql://…`. With `sslmode=require` the server's certificate is verified.
    pub url: String,
    /// Connections at most; two to four per core of the database server.
    pub pool_size: usize,
    /// How long a request waits for a free one before it is answered 503.
    pub wait: Duration,
}

/// The database. Cheap to clone; the only source of transactions.
#[derive(Clone)]
pub struct Db {
    pool: Pool<AsyncPgConnection>,
    clock: Clock,
    signals: Signals,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

impl Db {
    /// Prepares a pool; connections are opened when first needed.
    ///
    /// # Errors
    /// `Internal` when the pool can't be built.
    pub fn connect(settings: &DbSettings, clock: Clock) -> Result<Self> {
        let io = io_runtime();
        let mut config = ManagerConfig::default();
        // `Verified` would send SELECT 1 at every checkout; a stale connection shows at BEGIN and is replaced there.
        config.recycling_method = RecyclingMethod::Fast;
        // Opened on a runtime of its own, so that a busy web worker does not hold up the connections it happened to open.
        config.custom_setup = Box::new(move |url| {
            let url = url.to_owned();
            let opened = io.spawn(async move { open(&url).await });
            opened
                .map(|joined| joined.unwrap_or_else(|e| Err(ConnectionError::BadConnection(e.to_string()))))
                .boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config(settings.url.as_str(), config);
        let pool = Pool::builder(manager)
            .max_size(settings.pool_size)
            .wait_timeout(Some(settings.wait))
            .create_timeout(Some(settings.wait))
            .runtime(deadpool::Runtime::Tokio1)
            .pre_recycle(Hook::sync_fn(|_, metrics| {
                // A connection keeps every statement it has prepared, so it does not live for ever.
                if metrics.age() < MAX_AGE { Ok(()) } else { Err(HookError::message("old enough")) }
            }))
            .build()
            .map_err(Error::internal)?;
        let signals = Signals::new(settings.url.clone(), pool.clone());
        Ok(Self { pool, clock, signals })
    }

    /// The clock that every transaction takes its time from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What any process on this database signals from here on, as far as this one is connected: who depends on a signal looks for
    /// itself now and then.
    pub fn signals(&self) -> broadcast::Receiver<Signal> {
        self.signals.subscribe()
    }

    /// Connections in use and open, for the metrics.
    pub fn pool_status(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size.saturating_sub(status.available), status.size)
    }

    /// Runs `work` in one transaction of the caller's organization: commits on `Ok`, rolls back on `Err`.
    ///
    /// # Errors
    /// Those of `work`; `Unauthenticated` from `who`; `Unavailable` without a database.
    pub async fn tenant<T, E: From<Error>>(
        &self,
        who: &impl CallerSource,
        work: impl AsyncFnOnce(&mut TenantTx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tx = self.open(who).await?;
        match work(&mut tx).await {
            Ok(done) => tx.commit().await.map(|()| done).map_err(E::from),
            Err(refused) => {
                tx.rollback().await;
                Err(refused)
            }
        }
    }

    /// Opens a transaction of the caller's organization that somebody else ends: with [`TenantTx::commit`], or by dropping it.
    /// Where one closure can hold the work, [`Db::tenant`] is the way.
    ///
    /// # Errors
    /// `Unauthenticated` from `who`; `Unavailable` without a database.
    pub async fn open(&self, who: &impl CallerSource) -> Result<TenantTx> {
        let org = who.org();
        // A UUID's text cannot carry SQL, so it may be formatted in.
        let begin = format!("BEGIN; SET LOCAL app.current_org = '{org}'");
        let (open, caller) = self.begin(&begin, async |conn| who.caller(conn).await).await?;
        let rest = self.rest();
        match caller {
            Ok(caller) => Ok(TenantTx { open, org, caller, quiet: false, rest }),
            Err(refused) => {
                open.rollback().await;
                Err(refused)
            }
        }
    }

    /// Runs `work` in one transaction outside every organization: tenant tables look empty in it and refuse writes.
    ///
    /// # Errors
    /// Those of `work`; `Unavailable` without a database.
    pub async fn platform<T, E: From<Error>>(
        &self,
        work: impl AsyncFnOnce(&mut PlatformTx) -> Result<T, E>,
    ) -> Result<T, E> {
        let (open, ()) = self.begin("BEGIN", async |_| ()).await?;
        let mut tx = PlatformTx { open, rest: self.rest() };
        let result = work(&mut tx).await;
        let PlatformTx { open, rest } = tx;
        if result.is_err() {
            open.rollback().await;
            return result;
        }
        open.commit().await.map_err(Error::from)?;
        rest.tell();
        result
    }

    fn rest(&self) -> Rest {
        let bell = self.signals.bell();
        Rest { now: self.clock.now(), bell, signals: Vec::new() }
    }

    /// Sends BEGIN and the first query in one round trip, replacing connections that the server closed meanwhile.
    async fn begin<T>(&self, begin: &str, first: impl AsyncFn(&AsyncPgConnection) -> T) -> Result<(Open, T)> {
        let mut stale = self.pool.status().size;
        loop {
            let open = Open(Some(self.pool.get().await.map_err(unavailable)?));
            let conn = open.shared()?;
            let (began, first) = futures_util::join!(
                async {
                    let mut conn = conn;
                    conn.batch_execute(begin).await
                },
                first(conn)
            );
            match began {
                Ok(()) => return Ok((open, first)),
                Err(DieselError::DatabaseError(
                    DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                    _,
                )) if stale > 0 => stale -= 1,
                // Whatever the server made of a half-accepted batch goes with the connection.
                Err(other) => return Err(Error::Unavailable(Box::new(other))),
            }
        }
    }
}

/// What a transaction knows beside its connection.
struct Rest {
    now: DateTime<Utc>,
    bell: Bell,
    signals: Vec<Signal>,
}

impl Rest {
    /// Tells everybody, once the transaction has committed.
    fn tell(self) {
        self.bell.ring(self.signals);
    }

    fn signal(&mut self, channel: &'static str, payload: String) {
        self.signals.push(Signal { channel: channel.into(), payload });
    }
}

/// A connection with a transaction open on it. Dropped half-way (cancelled, panicked), the connection is closed, so that
/// the server rolls back at once and nobody inherits the context.
struct Open(Option<Object<AsyncPgConnection>>);

impl Open {
    fn conn(&mut self) -> Result<&mut AsyncPgConnection> {
        self.0.as_deref_mut().ok_or_else(|| Error::internal("transaction already ended"))
    }

    fn shared(&self) -> Result<&AsyncPgConnection> {
        self.0.as_deref().ok_or_else(|| Error::internal("transaction already ended"))
    }

    async fn commit(mut self) -> diesel::QueryResult<()> {
        if let Some(conn) = self.0.as_deref_mut() {
            // In an aborted transaction a bare COMMIT would silently roll back; the SET in front of it fails instead.
            conn.batch_execute("SET LOCAL app.current_org = ''; COMMIT").await?;
        }
        drop(self.0.take());
        Ok(())
    }

    async fn rollback(mut self) {
        if let Some(conn) = self.0.as_deref_mut()
            && conn.batch_execute("ROLLBACK").await.is_ok()
        {
            drop(self.0.take());
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(conn) = self.0.take() {
            drop(Object::take(conn));
        }
    }
}

/// An open transaction of one organization for one caller: the only way to that organization's rows.
pub struct TenantTx {
    open: Open,
    org: OrgId,
    caller: Caller,
    quiet: bool,
    rest: Rest,
}

impl TenantTx {
    /// Makes everything done in it true at once.
    ///
    /// # Errors
    /// `Conflict` or `Unavailable`, and then nothing was done, unless the connection broke just then.
    pub async fn commit(self) -> Result<()> {
        let Self { open, rest, .. } = self;
        open.commit().await?;
        rest.tell();
        Ok(())
    }

    /// Undoes everything done in it, and keeps the connection, which dropping it would not.
    pub async fn rollback(self) {
        self.open.rollback().await;
    }

    /// Runs `work` as a step of this transaction: where it is refused, what it did is undone, what it wanted to signal among it, and the
    /// transaction goes on without it.
    ///
    /// # Errors
    /// Those of `work`; `Unavailable` where the connection broke, and then nothing of the whole transaction stays.
    pub async fn savepoint<T, E: From<Error>>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        const SET: &str = "SAVEPOINT step";
        const KEEP: &str = "RELEASE SAVEPOINT step";
        const UNDO: &str = "ROLLBACK TO SAVEPOINT step; RELEASE SAVEPOINT step";
        let (told, caller) = (self.rest.signals.len(), self.caller.clone());
        self.step(SET).await?;
        match work(self).await {
            Ok(done) => self.step(KEEP).await.map(|()| done).map_err(E::from),
            Err(refused) => {
                self.step(UNDO).await?;
                self.rest.signals.truncate(told);
                self.caller = caller;
                Err(refused)
            }
        }
    }

    async fn step(&mut self, sql: &str) -> Result<()> {
        Ok(self.conn()?.batch_execute(sql).await?)
    }

    /// Has nobody told of what happens to them in this transaction: of a table of records that comes in, say, nobody wants a mail for
    /// each row.
    pub fn keep_quiet(&mut self) {
        self.quiet = true;
    }

    /// Whether nobody is to be told: see [`TenantTx::keep_quiet`].
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The organization: what every query filters by.
    pub fn org(&self) -> OrgId {
        self.org
    }

    /// Who acts.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The acting member; none for the program itself.
    pub fn actor(&self) -> Option<MemberId> {
        self.caller.member
    }

    /// The one instant of this transaction.
    pub fn now(&self) -> DateTime<Utc> {
        self.rest.now
    }

    /// The connection, with the organization set.
    ///
    /// # Errors
    /// `Internal` after the transaction ended, which no service can bring about.
    pub fn conn(&mut self) -> Result<&mut AsyncPgConnection> {
        self.open.conn()
    }

    /// The same for statements that do not depend on each other and may share a round trip.
    ///
    /// # Errors
    /// As [`TenantTx::conn`].
    pub fn shared(&self) -> Result<&AsyncPgConnection> {
        self.open.shared()
    }

    /// Acts as `caller` from here on, in the same organization: somebody who has just become a member.
    pub fn become_caller(&mut self, caller: Caller) {
        self.caller = Caller { org: crate::OrgInfo { id: self.org, ..caller.org }, ..caller };
    }

    /// Has `payload`, of 7,000 bytes at most, told on `channel` to every process after the commit. It may get lost, and it tells
    /// every listener of the database: an id at most, never contents.
    pub fn signal(&mut self, channel: &'static str, payload: String) {
        self.rest.signal(channel, payload);
    }
}

/// An open transaction outside every organization: accounts, sessions and the directory of organizations.
pub struct PlatformTx {
    open: Open,
    rest: Rest,
}

impl PlatformTx {
    /// The one instant of this transaction.
    pub fn now(&self) -> DateTime<Utc> {
        self.rest.now
    }

    /// The connection, with no organization set.
    ///
    /// # Errors
    /// As [`TenantTx::conn`].
    pub fn conn(&mut self) -> Result<&mut AsyncPgConnection> {
        self.open.conn()
    }

    /// Has `payload`, of 7,000 bytes at most, told on `channel` to every process after the commit. It may get lost, and it tells
    /// every listener of the database: an id at most, never contents.
    pub fn signal(&mut self, channel: &'static str, payload: String) {
        self.rest.signal(channel, payload);
    }
}

/// What identity writes from inside and from outside an organization: either transaction.
pub trait Tx {
    /// The connection.
    ///
    /// # Errors
    /// As [`TenantTx::conn`].
    fn conn(&mut self) -> Result<&mut AsyncPgConnection>;
    /// The one instant of this transaction.
    fn now(&self) -> DateTime<Utc>;
    /// The organization, inside one.
    fn org(&self) -> Option<OrgId>;
    /// Has a payload told to every process after the commit: see [`TenantTx::signal`].
    fn signal(&mut self, channel: &'static str, payload: String);
}

impl Tx for TenantTx {
    fn conn(&mut self) -> Result<&mut AsyncPgConnection> {
        Self::conn(self)
    }
    fn now(&self) -> DateTime<Utc> {
        self.rest.now
    }
    fn org(&self) -> Option<OrgId> {
        Some(self.org)
    }
    fn signal(&mut self, channel: &'static str, payload: String) {
        self.rest.signal(channel, payload);
    }
}

impl Tx for PlatformTx {
    fn conn(&mut self) -> Result<&mut AsyncPgConnection> {
        Self::conn(self)
    }
    fn now(&self) -> DateTime<Utc> {
        self.rest.now
    }
    fn org(&self) -> Option<OrgId> {
        None
    }
    fn signal(&mut self, channel: &'static str, payload: String) {
        self.rest.signal(channel, payload);
    }
}

fn unavailable(error: PoolError) -> Error {
    Error::Unavailable(Box::new(error))
}

/// One thread that drives every connection of this process.
pub(crate) fn io_runtime() -> tokio::runtime::Handle {
    static IO: OnceLock<tokio::runtime::Handle> = OnceLock::new();
    IO.get_or_init(|| {
        let (send, receive) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("crm-db-io".into()).spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                let _ = send.send(runtime.handle().clone());
                runtime.block_on(std::future::pending::<()>());
            }
        });
        drop(thread);
        // Without a thread of our own the caller's runtime serves.
        receive.recv().unwrap_or_else(|_| tokio::runtime::Handle::current())
    })
    .clone()
}

pub(crate) async fn open(url: &str) -> ConnectionResult<AsyncPgConnection> {
    let mut conn = connect(url).await?;
    // A client that is gone bounds nothing, so the server does.
    conn.batch_execute("SET DateStyle = 'ISO'; SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'")
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// Opens a connection; with TLS, and the server's certificate verified, where the URL requires it.
pub(crate) async fn connect(url: &str) -> ConnectionResult<AsyncPgConnection> {
    use tokio_postgres::config::SslMode;
    // What the driver says itself is only which step failed; the reason stands behind it.
    let bad = |e: &dyn std::error::Error| {
        let reason = e.source().map(|reason| format!(": {reason}")).unwrap_or_default();
        ConnectionError::BadConnection(format!("{e}{reason}"))
    };
    let config: tokio_postgres::Config = url.parse().map_err(|e: tokio_postgres::Error| bad(&e))?;
    if config.get_ssl_mode() == SslMode::Require {
        let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls_config(true).map_err(|e| bad(&e))?);
        let (client, connection) = config.connect(tls).await.map_err(|e| bad(&e))?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    } else {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(|e| bad(&e))?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }
}

/// How to speak TLS with a server whose certificate the system trusts; nobody is trusted where it is not `needed`.
///
/// # Errors
/// When the provider lacks the protocol's versions, which ours does not.
pub fn tls_config(needed: bool) -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    if needed {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
