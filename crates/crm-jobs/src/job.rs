use std::sync::{Arc, OnceLock};

use crm_core::{Caller, CallerSource, Db, Error, OrgId, OrgInfo, PlatformTx, Result, TenantTx, Tx};
use crm_schema::organizations;
use diesel::backend::Backend;
use diesel::deserialize::QueryableByName;
use diesel::row::NamedRow;
use diesel::sql_types::{Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel::{ExpressionMethods, QueryDsl};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::sql;

/// A claimed job.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct Job {
    /// The same at every attempt.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The organization whose change caused it; none for a kind that begins with `platform.`.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub org_id: Option<OrgId>,
    /// Which handler it is for.
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Jsonb)]
    payload: serde_json::Value,
    /// 1 at the first.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    /// Of this attempt: whoever has another one has lost the job.
    #[diesel(sql_type = SqlUuid)]
    lease: Uuid,
    #[diesel(embed)]
    done: Done,
}

impl Job {
    /// What it was enqueued with.
    ///
    /// # Errors
    /// [`Failure::Final`]: a payload that can't be read will not get better.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_value(self.payload.clone()).map_err(|e| Failure::Final(format!("payload: {e}")))
    }

    /// Does `work` and finishes the job in one transaction of its organization, acting as the program itself: exactly once. Where
    /// another worker has taken the job over meanwhile, nothing of it stays.
    ///
    /// # Errors
    /// Those of `work`; [`Failure::Final`] for a job without an organization.
    pub async fn inside<E: From<Error>>(
        &self,
        db: &Db,
        work: impl AsyncFnOnce(&mut TenantTx) -> Result<(), E>,
    ) -> Result<(), Failure>
    where
        Failure: From<E>,
    {
        let org = self.org_id.ok_or_else(|| Failure::Final("the job has no organization".into()))?;
        let system = System(org);
        let worked = db.tenant(&system, async |t| {
            self.finish(t).await?;
            work(t).await
        });
        worked.await?;
        self.done.0.get_or_init(|| ());
        Ok(())
    }

    /// The same for a job of the platform, outside every organization.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn on_platform<E: From<Error>>(
        &self,
        db: &Db,
        work: impl AsyncFnOnce(&mut PlatformTx) -> Result<(), E>,
    ) -> Result<(), Failure>
    where
        Failure: From<E>,
    {
        let worked = db.platform(async |p| {
            self.finish(p).await?;
            work(p).await
        });
        worked.await?;
        self.done.0.get_or_init(|| ());
        Ok(())
    }

    /// First of all, so that the row is locked while the work is done and nobody takes the job over.
    async fn finish(&self, tx: &mut impl Tx) -> Result<()> {
        let finished = diesel::select(sql::jobs_done(self.id, self.lease)).get_result(tx.conn()?).await?;
        if finished { Ok(()) } else { Err(Error::internal("another worker has taken the job over")) }
    }

    pub(crate) fn lease(&self) -> Uuid {
        self.lease
    }

    /// Whether a transaction of its own has finished it.
    pub(crate) fn is_done(&self) -> bool {
        self.done.0.get().is_some()
    }

    /// Whose turn it took: as the table has it.
    pub(crate) fn lane(&self) -> Uuid {
        self.org_id.map_or(Uuid::max(), Uuid::from)
    }
}

/// What the worker learns from the handler beside its answer; no column.
#[derive(Debug, Clone, Default)]
struct Done(Arc<OnceLock<()>>);

impl<DB: Backend> QueryableByName<DB> for Done {
    fn build<'a>(_: &impl NamedRow<'a, DB>) -> diesel::deserialize::Result<Self> {
        Ok(Self::default())
    }
}

/// Why a job was not done. The text is for the operator and must not carry personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Try again later.
    Retry(String),
    /// Never try again.
    Final(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::Retry(format!("{error}{cause}"))
    }
}

/// The program itself in an organization, which is looked up when the transaction begins.
#[derive(Debug, Clone, Copy)]
pub struct System(pub OrgId);

impl CallerSource for System {
    fn org(&self) -> OrgId {
        self.0
    }

    async fn caller(&self, conn: &AsyncPgConnection) -> Result<Caller> {
        let columns = (organizations::name, organizations::currency, organizations::timezone);
        let row = organizations::table.filter(organizations::id.eq(self.0)).select(columns);
        let (name, currency, timezone): (String, String, String) = row.first(&mut &*conn).await?;
        let timezone = timezone.parse().unwrap_or_default();
        Ok(Caller::system(OrgInfo { id: self.0, name, currency, timezone }))
    }
}
