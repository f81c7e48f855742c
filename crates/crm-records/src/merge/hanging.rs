//! What goes from one record to another, and back again.

use std::collections::BTreeMap;

use crm_core::body::Object;
use crm_core::{Error, Result, TenantTx};
use diesel::sql_types::{BigInt, Jsonb, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::statement::Statement;
use crate::log::logged;

/// A column of another table that points at a record of a module, declared by whoever owns the table.
#[derive(Debug, Clone, Copy)]
pub struct Pointer {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The column that tells its rows apart.
    pub key: &'static str,
    /// The kind of its rows where they are records themselves, with a version and a history of their own.
    pub kind: Option<&'static str>,
    /// Whether a row may point at both records, and would then point at one of them twice.
    pub pairs: bool,
}

/// Links of a record that the winner gets too; the loser's own wait for the merge to be undone.
struct Link {
    table: &'static str,
    owner: &'static str,
    linked: &'static str,
    /// A column that is copied with it.
    with: Option<&'static str>,
}

const fn link(table: &'static str, owner: &'static str, linked: &'static str) -> Link {
    Link { table, owner, linked, with: None }
}

const LINKS: [Link; 8] = [
    link("record_assignees", "record_id", "membership_id"),
    link("record_teams", "record_id", "team_id"),
    link("record_tags", "record_id", "tag_id"),
    Link { with: Some("state"), ..link("record_followers", "record_id", "membership_id") },
    link("record_contacts", "record_id", "contact_id"),
    link("record_contacts", "contact_id", "record_id"),
    link("record_sources", "record_id", "source_id"),
    link("record_sources", "source_id", "record_id"),
];

/// What hangs on one record and none other.
const PARTS: [&str; 2] = ["comments", "attachments"];

/// What went from the loser to the winner: everything that undoing it needs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Moved {
    /// `table.column` -> the rows that point at the winner now.
    pub(super) pointers: BTreeMap<String, Vec<Uuid>>,
    /// `table.column` -> what the winner is linked to since.
    pub(super) links: BTreeMap<String, Vec<Uuid>>,
    /// What a contact as the loser was linked to: its links go with its row.
    pub(super) belonged: Vec<Uuid>,
    /// Field -> the value that the winner took over.
    pub(super) given: Object,
    /// The same of its custom fields.
    pub(super) given_custom: Object,
}

impl Moved {
    /// Moves everything that hangs on `loser`.
    pub(super) async fn carry(
        t: &mut TenantTx,
        pointers: &[Pointer],
        winner: Uuid,
        loser: Uuid,
    ) -> Result<Self> {
        let mut moved = Self::default();
        let org = t.org().0;
        for table in PARTS {
            let rows = Statement::<SqlUuid>::new("UPDATE ")
                .name(table)
                .sql(" SET record_id = ")
                .id(winner)
                .sql(" WHERE org_id = ")
                .id(org)
                .sql(" AND record_id = ")
                .id(loser)
                .sql(" RETURNING id");
            moved.pointers.insert(table.to_owned(), rows.load(t.conn()?).await?);
        }
        for pointer in pointers {
            let rows = pointer.turn(t, loser, winner, None).await?;
            moved.pointers.insert(pointer.place(), rows);
        }
        for link in &LINKS {
            let added = link.copy(t, loser, winner).await?;
            moved.links.insert(link.place(), added);
        }
        let belonged = Statement::<SqlUuid>::new("SELECT record_id FROM record_contacts WHERE org_id = ")
            .id(org)
            .sql(" AND contact_id = ")
            .id(loser);
        moved.belonged = belonged.load(t.conn()?).await?;
        Ok(moved)
    }

    /// Moves it back, once the loser's row is there again; what went elsewhere meanwhile stays there.
    pub(super) async fn bring_back(
        &self,
        t: &mut TenantTx,
        pointers: &[Pointer],
        winner: Uuid,
        loser: Uuid,
    ) -> Result<()> {
        let org = t.org().0;
        let none = Vec::new();
        for table in PARTS {
            let rows = Statement::<SqlUuid>::new("UPDATE ")
                .name(table)
                .sql(" SET record_id = ")
                .id(loser)
                .sql(" WHERE org_id = ")
                .id(org)
                .sql(" AND record_id = ")
                .id(winner)
                .sql(" AND id = ANY(")
                .ids(self.pointers.get(table).unwrap_or(&none))
                .sql(")");
            rows.execute(t.conn()?).await?;
        }
        for pointer in pointers {
            let rows = self.pointers.get(&pointer.place()).unwrap_or(&none);
            pointer.turn(t, winner, loser, Some(rows)).await?;
        }
        for link in &LINKS {
            let remove = Statement::<SqlUuid>::new("DELETE FROM ")
                .name(link.table)
                .sql(" WHERE org_id = ")
                .id(org)
                .sql(" AND ")
                .name(link.owner)
                .sql(" = ")
                .id(winner)
                .sql(" AND ")
                .name(link.linked)
                .sql(" = ANY(")
                .ids(self.links.get(&link.place()).unwrap_or(&none))
                .sql(")");
            remove.execute(t.conn()?).await?;
        }
        let belong = Statement::<SqlUuid>::new(
            "INSERT INTO record_contacts (org_id, record_id, contact_id) SELECT org_id, id, ",
        )
        .id(loser)
        .sql(" FROM records WHERE org_id = ")
        .id(org)
        .sql(" AND id = ANY(")
        .ids(&self.belonged)
        .sql(") ON CONFLICT DO NOTHING");
        belong.execute(t.conn()?).await?;
        Ok(())
    }
}

impl Link {
    fn place(&self) -> String {
        format!("{}.{}", self.table, self.owner)
    }

    /// Links the winner to what the loser is linked to; answers what it was not linked to before.
    async fn copy(&self, t: &mut TenantTx, loser: Uuid, winner: Uuid) -> Result<Vec<Uuid>> {
        let with = |statement: Statement<SqlUuid>| match self.with {
            Some(column) => statement.sql(", ").name(column),
            None => statement,
        };
        let insert = Statement::<SqlUuid>::new("INSERT INTO ")
            .name(self.table)
            .sql(" (org_id, ")
            .name(self.owner)
            .sql(", ")
            .name(self.linked);
        let insert = with(insert).sql(") SELECT org_id, ").id(winner).sql(", ").name(self.linked);
        let insert = with(insert)
            .sql(" FROM ")
            .name(self.table)
            .sql(" WHERE org_id = ")
            .id(t.org().0)
            .sql(" AND ")
            .name(self.owner)
            .sql(" = ")
            .id(loser)
            .sql(" AND ")
            .name(self.linked)
            .sql(" <> ")
            .id(winner)
            .sql(" ON CONFLICT DO NOTHING RETURNING ")
            .name(self.linked);
        Ok(insert.load(t.conn()?).await?)
    }
}

impl Pointer {
    fn place(&self) -> String {
        format!("{}.{}", self.table, self.column)
    }

    /// Has rows point at another record, all of them or only some; answers which.
    async fn turn(&self, t: &mut TenantTx, from: Uuid, to: Uuid, only: Option<&[Uuid]>) -> Result<Vec<Uuid>> {
        let org = t.org().0;
        let mut turn =
            Statement::<(SqlUuid, BigInt)>::new("UPDATE ").name(self.table).sql(" p SET ").name(self.column);
        turn = turn.sql(" = ").id(to);
        if self.kind.is_some() {
            turn = turn.sql(", version = p.version + 1, updated_at = ").time(t.now());
            turn = turn.sql(", updated_by = ").maybe(t.actor().map(|actor| actor.0));
        }
        turn = turn.sql(" WHERE p.org_id = ").id(org).sql(" AND p.").name(self.column).sql(" = ").id(from);
        if let Some(only) = only {
            turn = turn.sql(" AND p.").name(self.key).sql(" = ANY(").ids(only).sql(")");
        }
        if self.pairs {
            turn = turn
                .sql(" AND NOT EXISTS (SELECT FROM ")
                .name(self.table)
                .sql(" o WHERE o.org_id = p.org_id AND o.")
                .name(self.key)
                .sql(" = p.")
                .name(self.key)
                .sql(" AND o.")
                .name(self.column)
                .sql(" = ")
                .id(to)
                .sql(")");
        }
        let version = if self.kind.is_some() { ", p.version" } else { ", 0::bigint" };
        let rows: Vec<(Uuid, i64)> =
            turn.sql(" RETURNING p.").name(self.key).sql(version).load(t.conn()?).await?;
        if let Some(kind) = self.kind {
            let change = json!([from, to]);
            for (row, version) in &rows {
                let fields = [(self.column.to_owned(), change.clone())].into_iter().collect();
                logged(t, kind, *row, Some(*version), "updated", fields, None).await?;
            }
        }
        Ok(rows.into_iter().map(|(row, _)| row).collect())
    }
}

/// The row of a record, as it stands in its table.
pub(super) async fn row(t: &mut TenantTx, table: &'static str, id: Uuid) -> Result<Value> {
    let row = Statement::<Jsonb>::new("SELECT to_jsonb(r) FROM ").name(table).sql(" r WHERE r.org_id = ");
    let row = row.id(t.org().0).sql(" AND r.id = ").id(id);
    Ok(row.get_result(t.conn()?).await?)
}

/// Takes the row away and leaves the record.
pub(super) async fn take_row(t: &mut TenantTx, table: &'static str, id: Uuid) -> Result<()> {
    let delete = Statement::<Text>::new("DELETE FROM ").name(table).sql(" WHERE org_id = ");
    delete.id(t.org().0).sql(" AND id = ").id(id).execute(t.conn()?).await?;
    Ok(())
}

/// Puts the row back; columns that came to the table since have their defaults.
pub(super) async fn put_row(
    t: &mut TenantTx,
    table: &'static str,
    row: Object,
    taken: fn(diesel::result::Error) -> Error,
) -> Result<()> {
    let columns: Vec<String> = row.keys().cloned().collect();
    let insert =
        Statement::<Text>::new("INSERT INTO ").name(table).sql(" (").names(&columns).sql(") SELECT ");
    let insert = insert.names(&columns).sql(" FROM jsonb_populate_record(NULL::").name(table).sql(", ");
    let insert = insert.json(Value::Object(row)).sql(")");
    insert.execute(t.conn()?).await.map(drop).map_err(taken)
}

/// Locks rows in the order of their ids; answers those that are there.
pub(super) async fn lock(t: &mut TenantTx, table: &'static str, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let lock = Statement::<SqlUuid>::new("SELECT id FROM ").name(table).sql(" WHERE org_id = ").id(t.org().0);
    let lock = lock.sql(" AND id = ANY(").ids(ids).sql(") ORDER BY id FOR UPDATE");
    Ok(lock.load(t.conn()?).await?)
}

/// Has the winner found by the custom values that it took over.
pub(super) async fn copy_values(t: &mut TenantTx, loser: Uuid, winner: Uuid) -> Result<()> {
    let insert = Statement::<Text>::new(
        "INSERT INTO custom_values (org_id, definition_id, record_id, text_value, number_rank, date_value, bool_value) \
         SELECT org_id, definition_id, ",
    )
    .id(winner)
    .sql(", text_value, number_rank, date_value, bool_value FROM custom_values WHERE org_id = ")
    .id(t.org().0)
    .sql(" AND record_id = ")
    .id(loser)
    .sql(" ON CONFLICT DO NOTHING");
    insert.execute(t.conn()?).await?;
    Ok(())
}

/// The reverse, for these keys of a module.
pub(super) async fn drop_values(
    t: &mut TenantTx,
    winner: Uuid,
    module: &'static str,
    keys: &[String],
) -> Result<()> {
    let delete =
        Statement::<Text>::new("DELETE FROM custom_values v USING custom_fields c WHERE v.org_id = ")
            .id(t.org().0)
            .sql(" AND v.record_id = ")
            .id(winner)
            .sql(" AND c.org_id = v.org_id AND c.id = v.definition_id AND c.target = ")
            .text(module)
            .sql(" AND c.key = ANY(")
            .texts(keys)
            .sql(")");
    delete.execute(t.conn()?).await?;
    Ok(())
}
