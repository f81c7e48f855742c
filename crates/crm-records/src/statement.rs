//! Statements over tables that are known by name only.

use std::borrow::Cow;
use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use crm_core::{MemberId, Result, TenantTx};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

/// A statement over tables that are known by name only, which answers rows of `S`.
pub(crate) struct Statement<S> {
    parts: Vec<Part>,
    answers: PhantomData<S>,
}

enum Part {
    Sql(Cow<'static, str>),
    Name(Cow<'static, str>),
    Id(Uuid),
    Ids(Vec<Uuid>),
    Maybe(Option<Uuid>),
    Json(Value),
    Text(&'static str),
    Texts(Vec<String>),
    Time(DateTime<Utc>),
}

impl<S> Statement<S> {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { parts: vec![Part::Sql(text.into())], answers: PhantomData }
    }

    fn with(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    pub(crate) fn sql(self, text: &'static str) -> Self {
        self.with(Part::Sql(text.into()))
    }

    pub(crate) fn name(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(Part::Name(name.into()))
    }

    pub(crate) fn names(mut self, names: &[String]) -> Self {
        for (i, name) in names.iter().enumerate() {
            self = self.sql(if i == 0 { "" } else { ", " }).name(name.clone());
        }
        self
    }

    pub(crate) fn id(self, id: Uuid) -> Self {
        self.with(Part::Id(id))
    }

    pub(crate) fn ids(self, ids: &[Uuid]) -> Self {
        self.with(Part::Ids(ids.to_vec()))
    }

    pub(crate) fn maybe(self, id: Option<Uuid>) -> Self {
        self.with(Part::Maybe(id))
    }

    pub(crate) fn text(self, text: &'static str) -> Self {
        self.with(Part::Text(text))
    }

    pub(crate) fn texts(self, texts: &[String]) -> Self {
        self.with(Part::Texts(texts.to_vec()))
    }

    pub(crate) fn time(self, time: DateTime<Utc>) -> Self {
        self.with(Part::Time(time))
    }

    pub(crate) fn json(self, value: Value) -> Self {
        self.with(Part::Json(value))
    }
}

impl<S> Query for Statement<S> {
    type SqlType = S;
}

impl<S> QueryId for Statement<S> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S> QueryFragment<Pg> for Statement<S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for part in &self.parts {
            match part {
                Part::Sql(text) => out.push_sql(text),
                Part::Name(name) => out.push_identifier(name)?,
                Part::Id(id) => out.push_bind_param::<SqlUuid, _>(id)?,
                Part::Ids(ids) => out.push_bind_param::<Array<SqlUuid>, _>(ids)?,
                Part::Maybe(id) => out.push_bind_param::<Nullable<SqlUuid>, _>(id)?,
                Part::Text(text) => out.push_bind_param::<Text, _>(*text)?,
                Part::Texts(texts) => out.push_bind_param::<Array<Text>, _>(texts)?,
                Part::Time(time) => out.push_bind_param::<Timestamptz, _>(time)?,
                Part::Json(value) => out.push_bind_param::<Jsonb, _>(value)?,
            }
        }
        Ok(())
    }
}

/// Gives those of the records that stand in a table their next versions, which it answers; whoever else changes one of them waits.
pub(crate) async fn next_versions(
    t: &mut TenantTx,
    table: &'static str,
    ids: &[Uuid],
    actor: Option<MemberId>,
) -> Result<Vec<(Uuid, i64)>> {
    let (org, now) = (t.org().0, t.now());
    let update = Statement::<(SqlUuid, BigInt)>::new("WITH locked AS (SELECT id FROM ")
        .name(table)
        .sql(" WHERE org_id = ")
        .id(org)
        .sql(" AND id = ANY(")
        .ids(ids)
        // In one order, so that two who change the same ones do not wait for each other.
        .sql(") ORDER BY id FOR NO KEY UPDATE) UPDATE ")
        .name(table)
        .sql(" r SET version = r.version + 1, updated_at = ")
        .time(now)
        .sql(", updated_by = ")
        .maybe(actor.map(|actor| actor.0))
        .sql(" FROM locked WHERE r.org_id = ")
        .id(org)
        .sql(" AND r.id = locked.id RETURNING r.id, r.version");
    Ok(update.load(t.conn()?).await?)
}
