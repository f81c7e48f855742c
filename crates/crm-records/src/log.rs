use crm_core::body::{Object, SERVER_OWNED};
use crm_core::{Error, Result, TenantTx};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::Base;

mod sql {
    #![expect(clippy::too_many_arguments, reason = "they are columns")]

    use diesel::sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};

    diesel::define_sql_function! {
        fn record_created(org_id: SqlUuid, id: SqlUuid, kind: Text, actor: Nullable<SqlUuid>, change: SqlUuid, at: Timestamptz,
            title: Nullable<Text>, subtitle: Nullable<Text>, text: Nullable<Text>) -> Nullable<Text>;
    }
    diesel::define_sql_function! {
        fn record_updated(org_id: SqlUuid, id: SqlUuid, kind: Text, version: Nullable<BigInt>, action: Text, actor: Nullable<SqlUuid>,
            change: SqlUuid, at: Timestamptz, fields: Jsonb, title: Nullable<Text>, subtitle: Nullable<Text>, text: Nullable<Text>) -> Nullable<Text>;
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

/// The fields in which two states of a record differ: field -> [old, new].
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
    Ok(changed)
}
