//! What goes from one record to another, and back again.

use std::collections::{BTreeMap, HashSet};

use crm_core::body::Object;
use crm_core::{Error, Result, TenantTx};
use diesel::sql_types::{BigInt, Jsonb, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::contacts::{self, OWNERS, People};
use crate::statement::Statement;
use crate::{Update, updated_many};

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

/// Where [`Moved::links`] has the records that a contact came to.
const PEOPLE_OF: &str = "record_contacts.contact_id";

/// Who has an account as the primary one since is one of its people.
const NOT_PRIMARY: &str = " AND NOT EXISTS (SELECT FROM contacts c WHERE c.org_id = record_contacts.org_id \
    AND c.id = record_contacts.contact_id AND c.account_id = record_contacts.record_id)";

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
            let rows = pointer.turn(t, loser, Some(winner), None).await?;
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
        let none = Vec::new();
        let joined: HashSet<_> = moved.links.get(PEOPLE_OF).unwrap_or(&none).iter().collect();
        let people = moved.belonged.iter().map(|owner| People {
            owner: *owner,
            gone: vec![loser],
            came: if joined.contains(owner) { vec![winner] } else { Vec::new() },
        });
        contacts::changed(t, &OWNERS, people.collect()).await?;
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
            pointer.turn(t, winner, Some(loser), Some(rows)).await?;
        }
        let mut left = HashSet::new();
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
            let remove = if link.table == "record_contacts" { remove.sql(NOT_PRIMARY) } else { remove };
            let remove = remove.sql(" RETURNING ").name(link.linked);
            let removed: Vec<Uuid> = remove.load(t.conn()?).await?;
            if link.place() == PEOPLE_OF {
                left.extend(removed);
            }
        }
        let belong = Statement::<SqlUuid>::new(
            "INSERT INTO record_contacts (org_id, record_id, contact_id) SELECT org_id, id, ",
        )
        .id(loser)
        .sql(" FROM records WHERE org_id = ")
        .id(org)
        .sql(" AND id = ANY(")
        .ids(&self.belonged)
        .sql(") ON CONFLICT DO NOTHING RETURNING record_id");
        let back: HashSet<Uuid> = belong.load::<Uuid>(t.conn()?).await?.into_iter().collect();
        let whose = |owners: &HashSet<Uuid>, owner, contact| {
            if owners.contains(owner) { vec![contact] } else { Vec::new() }
        };
        let people = left.union(&back).map(|owner| People {
            owner: *owner,
            gone: whose(&left, owner, winner),
            came: whose(&back, owner, loser),
        });
        contacts::changed(t, &OWNERS, people.collect()).await
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

    /// Has the records among what points at a record point at nothing, before it is deleted: the database would do the same, and tell
    /// nobody.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn clear(t: &mut TenantTx, pointers: &[Self], record: Uuid) -> Result<()> {
        for pointer in pointers.iter().filter(|pointer| pointer.kind.is_some()) {
            pointer.turn(t, record, None, None).await?;
        }
        Ok(())
    }

    /// Has rows point at another record, all of them or only some; answers which.
    async fn turn(
        &self,
        t: &mut TenantTx,
        from: Uuid,
        to: Option<Uuid>,
        only: Option<&[Uuid]>,
    ) -> Result<Vec<Uuid>> {
        let org = t.org().0;
        let mut turn =
            Statement::<(SqlUuid, BigInt)>::new("UPDATE ").name(self.table).sql(" p SET ").name(self.column);
        turn = turn.sql(" = ").maybe(to);
        if self.kind.is_some() {
            turn = turn.sql(", version = p.version + 1, updated_at = ").time(t.now());
            turn = turn.sql(", updated_by = ").maybe(t.actor().map(|actor| actor.0));
        }
        turn = turn.sql(" WHERE p.org_id = ").id(org).sql(" AND p.").name(self.column).sql(" = ").id(from);
        if let Some(only) = only {
            turn = turn.sql(" AND p.").name(self.key).sql(" = ANY(").ids(only).sql(")");
        }
        if let Some(to) = to.filter(|_| self.pairs) {
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
            let fields: Object = [(self.column.to_owned(), json!([from, to]))].into_iter().collect();
            let update = |&(id, version)| Update { id, version: Some(version), fields: fields.clone() };
            updated_many(t, kind, t.actor(), rows.iter().map(update).collect()).await?;
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

/// Locks records in the order of their ids: their rows, and then what everything else hangs on, so that nothing is hung on one of them
/// until the merge has ended.
pub(super) async fn lock(t: &mut TenantTx, table: &'static str, ids: &[Uuid]) -> Result<()> {
    for table in [table, "records"] {
        let lock = Statement::<SqlUuid>::new("SELECT id FROM ").name(table).sql(" WHERE org_id = ");
        let lock = lock.id(t.org().0).sql(" AND id = ANY(").ids(ids).sql(") ORDER BY id FOR UPDATE");
        lock.load::<Uuid>(t.conn()?).await?;
    }
    Ok(())
}

/// Takes all links and filterable values from losers.
pub(super) async fn unlink(t: &mut TenantTx, losers: &[Uuid]) -> Result<()> {
    let owners = LINKS.iter().map(|link| (link.table, link.owner));
    for (table, owner) in owners.chain([("custom_values", "record_id")]) {
        let delete = Statement::<Text>::new("DELETE FROM ").name(table).sql(" WHERE org_id = ");
        let delete = delete.id(t.org().0).sql(" AND ").name(owner).sql(" = ANY(").ids(losers).sql(")");
        delete.execute(t.conn()?).await?;
    }
    Ok(())
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
