//! Telling members: the rows, the mails and the wake-up call, in one transaction.

use std::collections::{BTreeSet, HashMap};

use crm_core::{MemberId, Result, TenantTx};
use crm_mail::Message;
use crm_records::followers::Reader;
use crm_schema::{memberships, notifications, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use crate::{Verb, preferences};

/// What is signalled when a member's notifications changed: the organization, a colon, and ids of members.
pub(crate) const CHANNEL: &str = "notifications";

/// How many members fit into one signal.
const SIGNALLED: usize = 100;

const TITLE: usize = 255;

/// What happened, as everybody is told.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) verb: Verb,
    /// The same however often it is told.
    pub(crate) id: Uuid,
    pub(crate) by: Option<MemberId>,
    pub(crate) kind: &'a str,
    pub(crate) record: Uuid,
    pub(crate) comment: Option<Uuid>,
    pub(crate) title: &'a str,
    pub(crate) link: &'a str,
    pub(crate) data: Value,
}

/// Tells the readers as their preferences say, each once.
pub(crate) async fn deliver(
    t: &mut TenantTx,
    event: &Event<'_>,
    readers: &[Reader],
    mail: impl Fn(&Reader) -> Message,
) -> Result<()> {
    let ids: Vec<_> = readers.iter().map(|reader| reader.id).collect();
    let preferences = preferences::of(t, &ids).await?;
    let channels = |id: &MemberId| preferences.get(id).copied().unwrap_or_default().channels(event.verb);
    let in_app: Vec<_> = ids.iter().filter(|id| channels(id).in_app).copied().collect();
    let told = insert(t, event, &in_app).await?;
    wake(t, &told);
    for reader in readers {
        let Reader { id, .. } = reader;
        // Whoever has the notification already has had the mail too.
        if channels(id).mail && (told.contains(id) || !in_app.contains(id)) {
            crm_mail::enqueue(t, &mail(reader).by(event.by)).await?;
        }
    }
    Ok(())
}

/// Writes the rows, and answers who did not have one of this event.
async fn insert(t: &mut TenantTx, event: &Event<'_>, members: &[MemberId]) -> Result<Vec<MemberId>> {
    if members.is_empty() {
        return Ok(Vec::new());
    }
    let locked = lock(t, members).await?;
    let newest = newest(t, &locked).await?;
    let rows: Vec<_> = newest
        .into_iter()
        .map(|(member, newest)| {
            (
                notifications::org_id.eq(t.org()),
                notifications::id.eq(after(newest)),
                notifications::created_at.eq(t.now()),
                notifications::created_by.eq(event.by),
                notifications::recipient_id.eq(member),
                notifications::verb.eq(event.verb),
                notifications::event_id.eq(event.id),
                notifications::kind.eq(event.kind),
                notifications::record_id.eq(event.record),
                notifications::comment_id.eq(event.comment),
                notifications::title.eq(event.title.chars().take(TITLE).collect::<String>()),
                notifications::link.eq(event.link),
                notifications::data.eq(&event.data),
            )
        })
        .collect();
    Ok(diesel::insert_into(notifications::table)
        .values(rows)
        .on_conflict((
            notifications::org_id,
            notifications::event_id,
            notifications::verb,
            notifications::recipient_id,
        ))
        .do_nothing()
        .returning(notifications::recipient_id)
        .get_results(t.conn()?)
        .await?)
}

/// Locks members until the end of the transaction, and answers them: whoever tells them something next makes a greater id and commits
/// later. Without that, a stream could have passed an id that is still to be committed.
pub(crate) async fn lock(t: &mut TenantTx, members: &[MemberId]) -> Result<Vec<MemberId>> {
    let these = memberships::org_id.eq(t.org()).and(memberships::id.eq_any(members));
    // In one order for everybody, so that two never wait for each other.
    let locked = memberships::table.filter(these).order_by(memberships::id).for_no_key_update();
    Ok(locked.select(memberships::id).load(t.conn()?).await?)
}

/// The newest notification of each member, nil where there is none. A statement after the lock and not part of it: one that had to wait
/// looks at the rows as they were before.
async fn newest(t: &mut TenantTx, members: &[MemberId]) -> Result<HashMap<MemberId, Uuid>> {
    let newest = notifications::table
        .filter(notifications::org_id.eq(memberships::org_id))
        .filter(notifications::recipient_id.eq(memberships::id))
        .order_by(notifications::id.desc())
        .limit(1)
        .select(notifications::id)
        .single_value();
    let these = memberships::org_id.eq(t.org()).and(memberships::id.eq_any(members));
    let found: Vec<(MemberId, Option<Uuid>)> =
        memberships::table.filter(these).select((memberships::id, newest)).load(t.conn()?).await?;
    Ok(found.into_iter().map(|(member, newest)| (member, newest.unwrap_or_default())).collect())
}

/// What members are called, also those who have left.
pub(crate) async fn names(t: &mut TenantTx, members: &[MemberId]) -> Result<HashMap<MemberId, String>> {
    let found: Vec<(MemberId, String)> = memberships::table
        .inner_join(users::table.on(memberships::user_id.eq(users::id.nullable())))
        .filter(memberships::org_id.eq(t.org()).and(memberships::id.eq_any(members)))
        .select((memberships::id, users::name))
        .load(t.conn()?)
        .await?;
    Ok(found.into_iter().collect())
}

/// A new id that is greater than `newest`, also where another machine's clock was ahead when it made that one.
fn after(newest: Uuid) -> Uuid {
    Uuid::now_v7().max(Uuid::from_u128(newest.as_u128().wrapping_add(1)))
}

/// Wakes whoever waits for these members' notifications, after the commit.
pub(crate) fn wake(t: &mut TenantTx, members: &[MemberId]) {
    let org = t.org();
    let members: Vec<_> = members.iter().collect::<BTreeSet<_>>().into_iter().collect();
    for some in members.chunks(SIGNALLED) {
        let ids = some.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        t.signal(CHANNEL, format!("{org}:{ids}"));
    }
}

/// Whom a signal is for.
pub(crate) fn woken(payload: &str) -> impl Iterator<Item = (crm_core::OrgId, MemberId)> {
    let (org, members) = payload.split_once(':').unwrap_or_default();
    let org = org.parse().ok();
    members.split(',').filter_map(move |member| Some((org?, member.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_greater_than_the_newest_one_whatever_the_clocks_say() {
        let ahead = Uuid::from_u128(Uuid::now_v7().as_u128() + (1 << 90));
        assert!(after(ahead) > ahead);
        let behind = Uuid::now_v7();
        assert!(after(behind) > behind);
        assert_eq!(after(behind).get_version_num(), 7);
    }

    #[test]
    fn a_signal_names_its_members() {
        let org = crm_core::OrgId::generate();
        let (a, b) = (MemberId::generate(), MemberId::generate());
        assert_eq!(woken(&format!("{org}:{a},{b}")).collect::<Vec<_>>(), [(org, a), (org, b)]);
        for nonsense in ["", ":", "x:y", &format!("{org}:"), &format!("x:{a}")] {
            assert_eq!(woken(nonsense).count(), 0, "{nonsense}");
        }
    }
}
