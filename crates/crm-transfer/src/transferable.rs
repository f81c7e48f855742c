//! A module found by its name: for whoever learns only at work which one is meant.

use std::fs::File;
use std::pin::Pin;
use std::time::Duration;

use crm_core::{CallerSource, Db, Result, TenantTx};
use crm_records::Module;
use crm_records::list::Params;
use crm_storage::{Storage, Stored};
use uuid::Uuid;

use crate::model::{self, Examined, Import, ImportOptions};
use crate::preview::{Preview, examine, preview};
use crate::run::{Progress, STRETCH, run_for};
use crate::source::Source;
use crate::undo::undo_for;
use crate::{Cell, Export};

type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

type Run<W> =
    for<'a> fn(&'a Db, &'a Storage, &'a W, Uuid, (&'a dyn Fn(i32), Duration)) -> Pending<'a, Progress>;
type Start = for<'a> fn(&'a mut TenantTx, (Uuid, Stored), Asked<'a>, Option<i64>) -> Pending<'a, Import>;
type Asked<'a> = (&'a Examined, &'a ImportOptions);

/// What takes an export: what stands above the columns, rows, and how many rows there are in all.
pub type Sink<'a> = dyn FnMut(&[&str], &[Vec<Cell>], u64) -> Result<()> + 'a;

/// A module by its name, for callers of the kind `W`.
pub struct Transferable<W> {
    /// As in its path.
    pub name: &'static str,
    /// The permission to delete what was imported.
    pub delete: &'static str,
    run: Run<W>,
    undo: for<'a> fn(&'a Db, &'a W, Uuid, Duration) -> Pending<'a, Progress>,
    preview: for<'a> fn(&'a mut TenantTx, &'a mut Source, &'a ImportOptions) -> Pending<'a, Preview>,
    examine: for<'a> fn(&'a mut TenantTx, File, &'a ImportOptions) -> Pending<'a, Examined>,
    start: Start,
    export: for<'a> fn(&'a Db, &'a W, &'a Params, &'a mut Sink<'_>) -> Pending<'a, ()>,
}

impl<W> std::fmt::Debug for Transferable<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transferable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<W: CallerSource + 'static> Transferable<W> {
    /// The module `M`.
    pub const fn of<M: Module + 'static>() -> Self {
        Self {
            name: M::NAME,
            delete: M::DELETE,
            run: |db, storage, who, id, pace| Box::pin(run_for::<M>(db, storage, who, id, pace)),
            undo: |db, who, id, stretch| Box::pin(undo_for::<M>(db, who, id, stretch)),
            preview: |t, source, options| Box::pin(preview::<M>(t, source, options)),
            examine: |t, file, options| Box::pin(examine::<M>(t, file, options)),
            start: |t, (id, stored), asked, quota| Box::pin(model::start::<M>(t, id, stored, asked, quota)),
            export: |db, who, params, sink| Box::pin(export::<M, W>(db, who, params, sink)),
        }
    }

    /// Works on an import: see [`run`](crate::run).
    ///
    /// # Errors
    /// As [`run`](crate::run).
    pub async fn run(
        &self,
        db: &Db,
        storage: &Storage,
        who: &W,
        id: Uuid,
        shown: &dyn Fn(i32),
    ) -> Result<Progress> {
        (self.run)(db, storage, who, id, (shown, STRETCH)).await
    }

    /// The same for `stretch` at most, but for one batch at least: what is all or nothing is done as a whole.
    ///
    /// # Errors
    /// As [`run`](crate::run).
    pub async fn run_for(
        &self,
        db: &Db,
        storage: &Storage,
        who: &W,
        id: Uuid,
        (shown, stretch): (&dyn Fn(i32), Duration),
    ) -> Result<Progress> {
        (self.run)(db, storage, who, id, (shown, stretch)).await
    }

    /// Takes an import back: see [`undo`](crate::undo).
    ///
    /// # Errors
    /// As [`undo`](crate::undo).
    pub async fn undo(&self, db: &Db, who: &W, id: Uuid) -> Result<Progress> {
        (self.undo)(db, who, id, STRETCH).await
    }

    /// The same for `stretch` at most, but for one batch at least.
    ///
    /// # Errors
    /// As [`undo`](crate::undo).
    pub async fn undo_for(&self, db: &Db, who: &W, id: Uuid, stretch: Duration) -> Result<Progress> {
        (self.undo)(db, who, id, stretch).await
    }

    /// Finds out what an import would do: see [`preview`](crate::preview).
    ///
    /// # Errors
    /// As [`preview`](crate::preview).
    pub async fn preview(
        &self,
        t: &mut TenantTx,
        source: &mut Source,
        options: &ImportOptions,
    ) -> Result<Preview> {
        (self.preview)(t, source, options).await
    }

    /// Looks at a whole file: see [`examine`](crate::examine).
    ///
    /// # Errors
    /// As [`examine`](crate::examine).
    pub async fn examine(&self, t: &mut TenantTx, file: File, options: &ImportOptions) -> Result<Examined> {
        (self.examine)(t, file, options).await
    }

    /// Puts an import in: see [`start`](crate::start).
    ///
    /// # Errors
    /// As [`start`](crate::start).
    pub async fn start(
        &self,
        t: &mut TenantTx,
        file: (Uuid, Stored),
        asked: (&Examined, &ImportOptions),
        quota_bytes: Option<i64>,
    ) -> Result<Import> {
        (self.start)(t, file, asked, quota_bytes).await
    }

    /// Hands every row of the filtered list to `sink`, page by page.
    ///
    /// # Errors
    /// As [`Export::begin`] and [`Export::page`]; those of `sink`.
    pub async fn export(&self, db: &Db, who: &W, params: &Params, sink: &mut Sink<'_>) -> Result<()> {
        (self.export)(db, who, params, sink).await
    }
}

async fn export<M: Module, W: CallerSource>(
    db: &Db,
    who: &W,
    params: &Params,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let (mut export, total) = db
        .tenant(who, async |t| {
            let export = Export::<M>::begin(t, params).await?;
            let total = export.total(t).await?;
            Ok::<_, crm_core::Error>((export, total))
        })
        .await?;
    while let Some(rows) = db.tenant(who, async |t| export.page(t).await).await? {
        sink(&export.header(), &rows, total)?;
    }
    Ok(())
}
