use crm_core::{CallerSource, Db, Result, TenantTx};
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::Searchable;

/// Records of one transaction.
pub const BATCH: i64 = 1_000;

diesel::define_sql_function! {
    /// Stores how records of a kind are found; how many of them were found otherwise before.
    fn search_reindex(kind: Text, ids: Array<SqlUuid>, titles: Array<Text>, subtitles: Array<Text>, texts: Array<Text>) -> BigInt;
}

/// What a rebuilding came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Records that were looked at.
    pub records: usize,
    /// Those of which the search knew something else before, or nothing.
    pub repaired: i64,
}

/// Makes the search of one kind anew from its records, for the organization of `who`: in batches, each a transaction of its own that
/// holds changes of its records up. `progress` hears how many records are done, after each.
///
/// # Errors
/// Those of the database; what was done until then stays, and doing it again is safe.
pub async fn rebuild(
    db: &Db,
    who: &impl CallerSource,
    searchable: &Searchable,
    mut progress: impl FnMut(usize),
) -> Result<Rebuilt> {
    let mut sum = Rebuilt::default();
    let mut after = None;
    loop {
        let (last, done) = db.tenant(who, async |t| batch(t, searchable, after).await).await?;
        sum = Rebuilt { records: sum.records + done.records, repaired: sum.repaired + done.repaired };
        progress(sum.records);
        match last {
            Some(_) => after = last,
            None => return Ok(sum),
        }
    }
}

async fn batch(
    t: &mut TenantTx,
    searchable: &Searchable,
    after: Option<Uuid>,
) -> Result<(Option<Uuid>, Rebuilt)> {
    let described = (searchable.describe)(t, after, BATCH).await?;
    let (ids, texts): (Vec<Uuid>, Vec<_>) = described.into_iter().unzip();
    let titles: Vec<&str> = texts.iter().map(|described| described.title.as_str()).collect();
    let subtitles: Vec<&str> = texts.iter().map(|described| described.subtitle.as_str()).collect();
    let words: Vec<&str> = texts.iter().map(|described| described.text.as_str()).collect();
    let store = search_reindex(searchable.kind(), &ids, titles, subtitles, words);
    let repaired = diesel::select(store).get_result(t.conn()?).await?;
    Ok((ids.last().copied(), Rebuilt { records: ids.len(), repaired }))
}
