use std::marker::PhantomData;

use chrono::{DateTime, NaiveDate, Utc};
use crm_records::list::Where;
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Date, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

/// A statement put together from fixed text and bound values, whose rows are of the SQL types `S`. Words that an index is made for stand
/// in the text: a bound value would hide from the planner that the index serves.
pub(crate) struct Statement<S> {
    parts: Vec<Part>,
    rows: PhantomData<fn() -> S>,
}

/// A part of a statement that is not text.
pub(crate) enum Part {
    Text(&'static str),
    Where(Where),
    Id(Uuid),
    Ids(Vec<Uuid>),
    Day(NaiveDate),
    Time(DateTime<Utc>),
    Times(Vec<DateTime<Utc>>),
    Words(Vec<&'static str>),
}

macro_rules! parts {
    ($($name:ident($of:ty))*) => {
        $(impl From<$of> for Part {
            fn from(value: $of) -> Self {
                Self::$name(value)
            }
        })*
    };
}
parts!(Text(&'static str) Where(Where) Id(Uuid) Ids(Vec<Uuid>) Day(NaiveDate) Time(DateTime<Utc>) Times(Vec<DateTime<Utc>>)
    Words(Vec<&'static str>));

impl<S> Statement<S> {
    pub(crate) const fn new() -> Self {
        Self { parts: Vec::new(), rows: PhantomData }
    }

    /// Goes on with text, a condition, or a value to bind.
    pub(crate) fn push(&mut self, part: impl Into<Part>) -> &mut Self {
        self.parts.push(part.into());
        self
    }
}

impl<S> Query for Statement<S> {
    type SqlType = S;
}

// The text depends on the parts, so statements are cached by their text.
impl<S> QueryId for Statement<S> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S> QueryFragment<Pg> for Statement<S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_sql(text),
                Part::Where(condition) => condition.walk_ast(out.reborrow())?,
                Part::Id(id) => out.push_bind_param::<SqlUuid, _>(id)?,
                Part::Ids(ids) => out.push_bind_param::<Array<SqlUuid>, _>(ids)?,
                Part::Day(day) => out.push_bind_param::<Date, _>(day)?,
                Part::Time(at) => out.push_bind_param::<Timestamptz, _>(at)?,
                Part::Times(times) => out.push_bind_param::<Array<Timestamptz>, _>(times)?,
                Part::Words(words) => out.push_bind_param::<Array<Text>, _>(words)?,
            }
        }
        Ok(())
    }
}
