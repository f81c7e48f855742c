//! What hangs on one record and is shown at another too: the comments and files of a converted lead, at its account.

use crm_core::{Result, TenantTx};
use crm_schema::{record_sources, records};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Has what hangs on `source` shown at `record` too.
///
/// # Errors
/// Those of the database.
pub async fn add(t: &mut TenantTx, record: Uuid, source: Uuid) -> Result<()> {
    diesel::insert_into(record_sources::table)
        .values((
            record_sources::org_id.eq(t.org()),
            record_sources::record_id.eq(record),
            record_sources::source_id.eq(source),
        ))
        .on_conflict_do_nothing()
        .execute(t.conn()?)
        .await?;
    Ok(())
}

/// Ends that, wherever what hangs on `source` was shown.
///
/// # Errors
/// Those of the database.
pub async fn remove(t: &mut TenantTx, source: Uuid) -> Result<()> {
    let these = record_sources::org_id.eq(t.org()).and(record_sources::source_id.eq(source));
    diesel::delete(record_sources::table.filter(these)).execute(t.conn()?).await?;
    Ok(())
}

/// The record itself and those whose comments and files are shown at it.
pub(crate) async fn of(t: &mut TenantTx, record: Uuid) -> Result<Vec<Uuid>> {
    let these = record_sources::org_id.eq(t.org()).and(record_sources::record_id.eq(record));
    let mut ids: Vec<Uuid> =
        record_sources::table.filter(these).select(record_sources::source_id).load(t.conn()?).await?;
    ids.push(record);
    Ok(ids)
}

/// Where what hangs on a record is shown, itself first, each with its kind.
pub(crate) async fn shown_at(t: &mut TenantTx, source: Uuid) -> Result<Vec<(Uuid, String)>> {
    let elsewhere =
        record_sources::table
            .inner_join(records::table.on(
                records::org_id.eq(record_sources::org_id).and(records::id.eq(record_sources::record_id)),
            ))
            .filter(record_sources::org_id.eq(t.org()).and(record_sources::source_id.eq(source)))
            .select((records::id, records::kind));
    let own = records::table
        .filter(records::org_id.eq(t.org()).and(records::id.eq(source)))
        .select((records::id, records::kind));
    let mut places: Vec<(Uuid, String)> = own.load(t.conn()?).await?;
    places.extend(elsewhere.load::<(Uuid, String)>(t.conn()?).await?);
    Ok(places)
}
