use std::collections::HashSet;

use crm_core::body::{Object, SERVER_OWNED};
use crm_core::{Error, MemberId, Result, TenantTx};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::Base;

mod sql {
    #![expect(clippy::too_many_arguments, reason = "they are columns")]

    use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};

    diesel::define_sql_function! {
        fn record_created(org_id: SqlUuid, id: SqlUuid, kind: Text, actor: Nullable<SqlUuid>, change: SqlUuid, at: Timestamptz,
            title: Nullable<Text>, subtitle: Nullable<Text>, text: Nullable<Text>) -> Nullable<Text>;
    }
    diesel::define_sql_function! {
        fn record_updated(org_id: SqlUuid, id: SqlUuid, kind: Text, version: Nullable<BigInt>, action: Text, actor: Nullable<SqlUuid>,
            change: SqlUuid, at: Timestamptz, fields: Jsonb, title: Nullable<Text>, subtitle: Nullable<Text>, text: Nullable<Text>) -> Nullable<Text>;
    }
    diesel::define_sql_function! {
        fn records_updated(org_id: SqlUuid, kind: Text, actor: Nullable<SqlUuid>, at: Timestamptz, ids: Array<SqlUuid>,
            versions: Array<Nullable<BigInt>>, changes: Array<SqlUuid>, fields: Array<Jsonb>) -> Nullable<Text>;
    }
    diesel::define_sql_function! {
        fn record_deleted(org_id: SqlUuid, id: SqlUuid, kind: Text, actor: Nullable<SqlUuid>, change: SqlUuid, at: Timestamptz)
            -> Nullable<Text>;
    }
}

/// How a record is found and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// What it is called.
    pub title: String,
    /// What tells it from others of that name; may be empty.
    pub subtitle: String,
    /// Every word that finds it.
    pub text: String,
}

impl Described {
    /// The three texts as they are handed on; nulls leave the search alone.
    fn parts(this: Option<&Self>) -> (Option<&str>, Option<&str>, Option<&str>) {
        let part = |of: fn(&Self) -> &String| this.map(|described| of(described).as_str());
        (part(|d| &d.title), part(|d| &d.subtitle), part(|d| &d.text))
    }
}

/// Registers a new record with its change log and how it is found, before its own row is inserted: one statement.
///
/// # Errors
/// Those of the database.
pub async fn created(t: &mut TenantTx, kind: &str, base: &Base, described: Option<&Described>) -> Result<()> {
    let (title, subtitle, text) = Described::parts(described);
    let (org, id, at) = (base.org_id, base.id, base.created_at);
    let call = sql::record_created(org, id, kind, t.actor(), Uuid::now_v7(), at, title, subtitle, text);
    diesel::select(call).execute(t.conn()?).await?;
    Ok(())
}

/// Writes what a change did to a record: the fields as [`diff`] finds them, and how it is found now, if that changed.
///
/// # Errors
/// Those of the database.
pub async fn updated(
    t: &mut TenantTx,
    kind: &str,
    base: &Base,
    fields: Object,
    described: Option<&Described>,
) -> Result<()> {
    logged(t, kind, base.id, Some(base.version), "updated", fields, described).await
}

/// Writes what else was done to a record, which leaves its fields as they are: `action` is one of those of a history, `fields` what is
/// to be told of it.
///
/// # Errors
/// Those of the database.
pub async fn acted(
    t: &mut TenantTx,
    kind: &str,
    base: &Base,
    action: &'static str,
    fields: Object,
) -> Result<()> {
    logged(t, kind, base.id, Some(base.version), action, fields, None).await
}

pub(crate) async fn logged(
    t: &mut TenantTx,
    kind: &str,
    id: Uuid,
    version: Option<i64>,
    action: &str,
    fields: Object,
    described: Option<&Described>,
) -> Result<()> {
    let (title, subtitle, text) = Described::parts(described);
    let (org, actor, now) = (t.org(), t.actor(), t.now());
    let call = sql::record_updated(
        org,
        id,
        kind,
        version,
        action,
        actor,
        Uuid::now_v7(),
        now,
        Value::Object(fields),
        title,
        subtitle,
        text,
    );
    diesel::select(call).execute(t.conn()?).await?;
    Ok(())
}

/// What a change did to one of many records.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The record.
    pub id: Uuid,
    /// Its new version; none where the record itself is as it was.
    pub version: Option<i64>,
    /// Field -> [old, new].
    pub fields: Object,
}

/// How many changes one statement writes.
const AT_ONCE: usize = 5_000;

/// Writes what changes did to many records of a kind, as [`updated`] does for each that is found as before. `actor` is who did it.
///
/// # Errors
/// Those of the database.
pub async fn updated_many(
    t: &mut TenantTx,
    kind: &str,
    actor: Option<MemberId>,
    mut updates: Vec<Update>,
) -> Result<()> {
    let (org, now) = (t.org(), t.now());
    while !updates.is_empty() {
        let rest = updates.split_off(updates.len().min(AT_ONCE));
        let (mut ids, mut versions, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        for update in std::mem::replace(&mut updates, rest) {
            ids.push(update.id);
            versions.push(update.version);
            fields.push(Value::Object(update.fields));
        }
        let changes: Vec<_> = ids.iter().map(|_| Uuid::now_v7()).collect();
        let call = sql::records_updated(org, kind, actor, now, ids, versions, changes, fields);
        diesel::select(call).execute(t.conn()?).await?;
    }
    Ok(())
}

/// Deletes a record with everything that hangs on it; its files leave the storage after the commit.
///
/// # Errors
/// Those of the database.
pub async fn deleted(t: &mut TenantTx, kind: &str, id: Uuid) -> Result<()> {
    crate::attachments::forget_files(t, id).await?;
    crate::merge::forget(t, id).await?;
    let (org, actor, now) = (t.org(), t.actor(), t.now());
    let call = sql::record_deleted(org, id, kind, actor, Uuid::now_v7(), now);
    diesel::select(call).execute(t.conn()?).await?;
    Ok(())
}

/// The fields in which two states of a record differ: field -> [old, new]; of its people those who went and those who came.
///
/// # Errors
/// `Internal` when a state has no JSON form.
pub fn diff(old: &impl Serialize, new: &impl Serialize) -> Result<Object> {
    let object = |value: Result<Value, serde_json::Error>| match value.map_err(Error::internal)? {
        Value::Object(object) => Ok(object),
        _ => Err(Error::internal("a record is a JSON object")),
    };
    let old = object(serde_json::to_value(old))?;
    let changed = object(serde_json::to_value(new))?.into_iter().filter_map(|(key, value)| {
        let before = old.get(&key).cloned().unwrap_or(Value::Null);
        (before != value && !SERVER_OWNED.contains(&key.as_str()))
            .then(|| (key, Value::Array(vec![before, value])))
    });
    let mut changed = changed.collect();
    crate::custom::by_key(&mut changed);
    for field in crate::contacts::FIELDS {
        if let Some(Value::Array(pair)) = changed.get_mut(field) {
            only_differences(pair);
        }
    }
    Ok(changed)
}

/// Leaves of two lists what is in one of them: the thousands who are in both are told of by nobody.
fn only_differences(pair: &mut [Value]) {
    let [Value::Array(old), Value::Array(new)] = pair else { return };
    let texts =
        |list: &[Value]| list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<HashSet<_>>();
    let (before, after) = (texts(old), texts(new));
    let among =
        |value: &Value, others: &HashSet<String>| value.as_str().is_some_and(|text| others.contains(text));
    old.retain(|value| !among(value, &after));
    new.retain(|value| !among(value, &before));
}
