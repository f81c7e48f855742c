use crm_core::{Result, TenantTx};
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use super::clause::{Clause, Value, Where};
use super::cursor::Cursor;
use super::order::Slice;
use super::own::OwnRecords;
use super::select::Selection;

/// The most matches of a search that are looked at when the list is not ordered newest first.
const SEARCH_CAP: usize = 10_000;

/// One page of a list.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// All rows of the query, when `count=true` asked for it.
    pub count: Option<i64>,
    /// The next page, as a path with its query.
    pub next: Option<String>,
    /// The previous page, as a path with its query.
    pub previous: Option<String>,
    /// The rows.
    pub results: Vec<T>,
}

impl<T> Page<T> {
    /// The same page of something made from the rows.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        let Self { count, next, previous, results } = self;
        Page { count, next, previous, results: results.into_iter().map(make).collect() }
    }
}

/// What a module's query is given.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Which rows: for `filter`.
    pub filter: Where,
    /// In which order, and how many: for `order_by`, last. More rows than were asked for may come back.
    pub slice: Slice,
}

/// The values a row is sorted by, as [`Selection::keys`] selects them.
pub type SortValues = Vec<Option<String>>;

/// A row with the values it is sorted by.
type Keyed<T> = (T, SortValues);

impl Selection {
    /// Fetches the page with the module's query, which selects [`Selection::keys`] beside each row.
    ///
    /// # Errors
    /// Those of the query; `InvalidCursor`.
    pub async fn run<T>(
        &self,
        t: &mut TenantTx,
        fetch: impl AsyncFn(&mut TenantTx, Fetch) -> Result<Vec<Keyed<T>>>,
    ) -> Result<Page<T>> {
        let wanted = self.limit + 1;
        let mut rows = if self.terms.is_empty() {
            fetch(t, self.fetch(self.condition()?, wanted, self.offset)).await?
        } else {
            self.search(t, wanted, &fetch).await?
        };
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let backward = self.backward();
        if backward {
            rows.reverse();
        }
        let link = |edge: Option<&Keyed<T>>, backward| {
            edge.map(|(_, keys)| Cursor::at(&self.params, backward, keys.clone()).link(&self.params))
        };
        let next = if more || backward { link(rows.last(), false) } else { None };
        let behind = if backward { more } else { self.cursor.is_some() || self.offset > 0 };
        let previous = if behind { link(rows.as_slice().first(), true) } else { None };
        let count = if self.count { Some(self.total(t).await?) } else { None };
        Ok(Page { count, next, previous, results: rows.into_iter().map(|(row, _)| row).collect() })
    }

    fn fetch(&self, filter: Where, limit: usize, offset: usize) -> Fetch {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        Fetch { filter, slice: Slice { order: self.reading_order(), limit, offset } }
    }

    /// Newest first the matches are taken in batches until the page is full, so nothing is cut off; in any other order the
    /// newest [`SEARCH_CAP`] matches are put in order.
    async fn search<T>(
        &self,
        t: &mut TenantTx,
        wanted: usize,
        fetch: &impl AsyncFn(&mut TenantTx, Fetch) -> Result<Vec<Keyed<T>>>,
    ) -> Result<Vec<Keyed<T>>> {
        let mut filter = self.condition()?;
        let among = self.few(t).await?;
        if !self.newest_first() || self.backward() {
            let ids = self.matches(t, among.as_deref(), None, SEARCH_CAP).await?;
            filter.0.push(self.among(ids));
            return fetch(t, self.fetch(filter, wanted, self.offset)).await;
        }
        let full = self.offset + wanted;
        // More than are wanted, because filters take some out and looking again costs as much as looking once.
        let mut batch = full * 4;
        let mut before =
            self.cursor.as_ref().and_then(|c| c.keys.as_slice().first()?.as_deref()?.parse().ok());
        let mut rows = Vec::new();
        loop {
            let ids = self.matches(t, among.as_deref(), before, batch).await?;
            let exhausted = ids.len() < batch;
            before = ids.last().copied();
            let mut filter = Where(self.conditions.clone());
            filter.0.push(self.among(ids));
            rows.extend(fetch(t, self.fetch(filter, full - rows.len(), 0)).await?);
            if exhausted || rows.len() >= full {
                return Ok(rows.split_off(self.offset.min(rows.len())));
            }
            batch = (batch * 4).min(SEARCH_CAP);
        }
    }

    /// All that a member may see of a resource, where it is little: the search looks at nothing else then.
    async fn few(&self, t: &mut TenantTx) -> Result<Option<Vec<Uuid>>> {
        let own = OwnRecords::newest(t, &self.conditions).await?;
        Ok(own.filter(|own| own.all).map(|own| own.ids))
    }

    fn among(&self, ids: Vec<Uuid>) -> Clause {
        Clause::Any(self.resource.table, "id", Value::Uuids(ids))
    }

    async fn matches(
        &self,
        t: &mut TenantTx,
        among: Option<&[Uuid]>,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Uuid>> {
        diesel::define_sql_function! {
            /// The newest records of a kind whose text contains every word.
            fn search_records(
                kind: sql_types::Text,
                words: sql_types::Array<sql_types::Text>,
                among: sql_types::Nullable<sql_types::Array<sql_types::Uuid>>,
                before: sql_types::Nullable<sql_types::Uuid>,
                limit: sql_types::Integer,
            ) -> sql_types::Uuid;
        }
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let found = diesel::select(search_records(self.resource.kind, &self.terms, among, before, limit));
        Ok(found.load(t.conn()?).await?)
    }

    /// Every row of the query, whichever page was asked for; of a search, the newest 10,000 matches.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn everything(&self, t: &mut TenantTx) -> Result<Where> {
        let mut filter = Where(self.conditions.clone());
        if !self.terms.is_empty() {
            let among = self.few(t).await?;
            filter.0.push(self.among(self.matches(t, among.as_deref(), None, SEARCH_CAP).await?));
        }
        Ok(filter)
    }

    async fn total(&self, t: &mut TenantTx) -> Result<i64> {
        let filter = self.everything(t).await?;
        Ok(Count { table: self.resource.table, filter }.get_result(t.conn()?).await?)
    }
}

/// `SELECT count(*) FROM table WHERE filter`.
pub(crate) struct Count {
    pub(crate) table: &'static str,
    pub(crate) filter: Where,
}

impl diesel::query_builder::Query for Count {
    type SqlType = sql_types::BigInt;
}

impl diesel::query_builder::QueryId for Count {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for Count {
    fn walk_ast<'b>(
        &'b self,
        mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
    ) -> diesel::QueryResult<()> {
        out.push_sql("SELECT count(*) FROM ");
        out.push_identifier(self.table)?;
        out.push_sql(" WHERE ");
        self.filter.walk_ast(out)
    }
}
