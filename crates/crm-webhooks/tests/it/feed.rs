use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crm_core::{Caller, Code, Db, Error, Grant, Principal, Result, Scope};
use crm_records::list::Params;
use crm_schema::{changes, deletions};
use crm_testkit::{fresh_database, shared_db};
use crm_webhooks::feed::{self, ChangeFeed, FeedChange};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures_util::future::{join, join_all};
use rand::Rng;
use uuid::Uuid;

use crate::support::{Bench, TARGETS, org, remove, tag, touch};

async fn read(db: &Db, org: &Caller, pairs: &[(&str, &str)]) -> Result<ChangeFeed> {
    db.tenant(org, async |t| feed::read(t, TARGETS, &Params::of(pairs)).await).await
}

/// The cursor in front of everything.
const BEGINNING: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whoever follows the feed.
struct Follower {
    next: String,
    seen: Vec<FeedChange>,
}

impl Follower {
    fn at(next: String) -> Self {
        Self { next, seen: Vec::new() }
    }

    /// Whoever reads an organization of which nothing is known: `count` changes.
    async fn of_all(db: &Db, org: &Caller, count: usize) -> Self {
        let mut follower = Self::at(BEGINNING.to_owned());
        follower.until(db, org, "100", count).await;
        follower
    }

    /// Reads until it has seen so many changes: other tests write in the same cluster and hold the feed up for a moment.
    async fn until(&mut self, db: &Db, org: &Caller, limit: &str, count: usize) {
        let reading = async {
            while self.seen.len() < count {
                self.catch_up(db, org, limit).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap();
        assert_eq!(self.seen.len(), count);
    }

    /// Reads until there is nothing more at present.
    async fn catch_up(&mut self, db: &Db, org: &Caller, limit: &str) {
        loop {
            let part = read(db, org, &[("after", &self.next), ("limit", limit)]).await.unwrap();
            self.next = part.next;
            self.seen.extend(part.results);
            if !part.more {
                return;
            }
        }
    }

    /// What happened to a record: action and version.
    fn of(&self, record: Uuid) -> Vec<(&str, Option<i64>)> {
        let changes = self.seen.iter().filter(|change| change.record_id == record);
        changes.map(|change| (change.action.as_str(), change.version)).collect()
    }
}

#[tokio::test]
async fn a_change_committed_late_is_not_missed_and_holds_up_what_came_after_it() {
    let db = shared_db().await;
    let org = org(&db).await;
    let [a, b] = [db.tenant(&org, tag).await.unwrap(), db.tenant(&org, tag).await.unwrap()];
    let mut follower = Follower::of_all(&db, &org, 2).await;

    let mut slow = db.open(&org).await.unwrap();
    touch(&mut slow, a).await.unwrap();
    db.tenant(&org, async |t| touch(t, b).await).await.unwrap();
    follower.catch_up(&db, &org, "100").await;
    assert_eq!(follower.of(b), [("created", Some(1))], "what may still be preceded is not shown");

    // The first to begin is the last to write.
    touch(&mut slow, b).await.unwrap();
    slow.commit().await.unwrap();
    follower.until(&db, &org, "1", 5).await;
    assert_eq!(follower.of(a), [("created", Some(1)), ("updated", Some(2))]);
    assert_eq!(follower.of(b), [("created", Some(1)), ("updated", Some(2)), ("updated", Some(3))]);

    db.tenant(&org, async |t| remove(t, a).await).await.unwrap();
    follower.until(&db, &org, "100", 6).await;
    assert_eq!(follower.of(a).last(), Some(&("deleted", None)));
    let late = Follower::of_all(&db, &org, 4).await;
    assert_eq!(late.of(a), [("deleted", None)], "whoever comes later sees the deletion alone");
    assert_eq!(late.of(b).len(), 3);
}

#[tokio::test]
async fn now_begins_with_what_is_yet_to_come() {
    let db = shared_db().await;
    let org = org(&db).await;
    let empty = read(&db, &org, &[]).await.unwrap();
    assert_eq!((empty.results.len(), empty.more), (0, false));
    let mut follower = Follower::at(empty.next);
    let first = db.tenant(&org, tag).await.unwrap();
    Follower::of_all(&db, &org, 1).await;
    let mut slow = db.open(&org).await.unwrap();
    let begun = tag(&mut slow).await.unwrap();
    let now = read(&db, &org, &[("after", "now")]).await.unwrap();
    assert_eq!((now.results.len(), now.more), (0, false));
    slow.commit().await.unwrap();
    let next = db.tenant(&org, tag).await.unwrap();
    let mut late = Follower::at(now.next);
    late.until(&db, &org, "100", 2).await;
    let ids = |follower: &Follower| follower.seen.iter().map(|c| c.record_id).collect::<Vec<_>>();
    assert_eq!(ids(&late), [begun, next], "what was under way is yet to come");
    follower.until(&db, &org, "2", 3).await;
    assert_eq!(ids(&follower), [first, begun, next]);
}

/// One transaction: some tags made, changed or removed, in an order that can't deadlock; rolled back now and then.
async fn write(db: &Db, org: &Caller, shared: &[Uuid]) {
    let (count, first, pause, refuse) = {
        let mut rng = rand::rng();
        (
            rng.random_range(1..4),
            rng.random_range(0..shared.len()),
            rng.random_range(0..4),
            rng.random_ratio(1, 5),
        )
    };
    let written = db.tenant(org, async |t| {
        let own = tag(t).await?;
        for id in shared.iter().skip(first).take(count) {
            touch(t, *id).await?;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if count == 1 {
            remove(t, own).await?;
        }
        if refuse { Err(Error::NotFound) } else { Ok(()) }
    });
    assert_eq!(written.await.is_err(), refuse);
}

/// Every change and deletion that is there, with its record.
async fn stored(db: &Db, org: &Caller) -> (Vec<(Uuid, Uuid)>, Vec<(Uuid, Uuid)>) {
    let load = db.tenant(org, async |t| -> Result<_> {
        let org = t.org();
        let logged = changes::table.filter(changes::org_id.eq(org));
        let logged = logged.select((changes::id, changes::record_id)).load(t.conn()?).await?;
        let deleted = deletions::table.filter(deletions::org_id.eq(org));
        let deleted = deleted.select((deletions::id, deletions::record_id)).load(t.conn()?).await?;
        Ok((logged, deleted))
    });
    load.await.unwrap()
}

#[tokio::test]
async fn whoever_follows_sees_every_committed_change_once_and_in_order() {
    let db = shared_db().await;
    let org = org(&db).await;
    let mut shared = Vec::new();
    for _ in 0..4 {
        shared.push(db.tenant(&org, tag).await.unwrap());
    }
    let done = Cell::new(false);
    let writers = join_all((0..6).map(|_| async {
        for _ in 0..25 {
            write(&db, &org, &shared).await;
        }
    }));
    let writing = async {
        writers.await;
        done.set(true);
    };
    let mut follower = Follower::at(BEGINNING.to_owned());
    let following = async {
        let mut polls = 0;
        while !done.get() {
            follower.catch_up(&db, &org, "7").await;
            polls += 1;
            tokio::task::yield_now().await;
        }
        polls
    };
    let ((), polls) = join(writing, following).await;
    assert!(polls > 20, "it followed while they wrote: {polls}");

    let (logged, deleted) = stored(&db, &org).await;
    let is_missed = |follower: &Follower, id: &Uuid| !follower.seen.iter().any(|change| change.id == *id);
    let rest = async {
        while logged.iter().chain(&deleted).any(|(id, _)| is_missed(&follower, id)) {
            follower.catch_up(&db, &org, "7").await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), rest).await.expect("nothing missed");
    assert!(logged.len() > 200 && !deleted.is_empty(), "{} {}", logged.len(), deleted.len());
    let seen: BTreeSet<Uuid> = follower.seen.iter().map(|change| change.id).collect();
    assert_eq!(seen.len(), follower.seen.len(), "nothing twice");
    let known: BTreeSet<Uuid> = logged.iter().chain(&deleted).map(|(id, _)| *id).collect();
    let gone: BTreeSet<Uuid> = deleted.iter().map(|(_, record)| *record).collect();
    let ghosts = follower.seen.iter().filter(|c| !known.contains(&c.id) && !gone.contains(&c.record_id));
    assert_eq!(ghosts.count(), 0, "nothing that was rolled back");
    let mut versions: BTreeMap<Uuid, i64> = BTreeMap::new();
    for change in &follower.seen {
        if let Some(version) = change.version
            && let Some(before) = versions.insert(change.record_id, version)
        {
            assert_eq!(version, before + 1, "the versions of a record ascend");
        }
    }
}

#[tokio::test]
async fn an_id_from_a_slow_clock_stands_in_its_place() {
    let bench = Bench::new().await;
    let (db, org) = (bench.db(), &bench.org);
    let id = bench.event().await;
    bench.inside(async |t| touch(t, id).await).await.unwrap();
    // As a machine would write it whose clock is behind.
    let (org_id, change) = (org.org.id, Uuid::from_u128(1));
    bench
        .as_owner(format!(
            "BEGIN; SET LOCAL app.current_org = '{org_id}'; \
             SELECT record_updated('{org_id}', '{id}', 'tag', 3, 'updated', NULL, '{change}', now(), '{{}}', NULL, NULL, NULL); COMMIT"
        ))
        .await;
    bench.event().await;
    let follower = Follower::of_all(db, org, 4).await;
    assert_eq!(follower.of(id), [("created", Some(1)), ("updated", Some(2)), ("updated", Some(3))]);
}

#[tokio::test]
async fn a_restored_database_goes_on_where_it_stopped() {
    let database = fresh_database().await;
    let (db, org) = (&database.db, org(&database.db).await);
    let old = [db.tenant(&org, tag).await.unwrap(), db.tenant(&org, tag).await.unwrap()];
    let settle = || db.platform(async |p| feed::settle(p).await);
    assert!(!settle().await.unwrap(), "it is where it was made");

    // As it comes from a cluster that was far ahead.
    let bench = Bench { webhooks: Bench::new().await.webhooks, database, org };
    let (db, org) = (bench.db(), &bench.org);
    bench
        .as_owner(format!(
            "BEGIN; SET LOCAL app.current_org = '{}'; UPDATE changes SET tx = tx + 1000000000000; \
             UPDATE feed_epoch SET place = 'another cluster'; COMMIT",
            org.org.id
        ))
        .await;
    let settle = || db.platform(async |p| feed::settle(p).await);
    let (first, second) = join(settle(), settle()).await;
    assert_eq!([first.unwrap(), second.unwrap()].iter().filter(|begun| **begun).count(), 1);
    assert!(!settle().await.unwrap());

    let mut follower = Follower::at(read(db, org, &[("limit", "2")]).await.unwrap().next);
    let new = db.tenant(org, tag).await.unwrap();
    db.tenant(org, async |t| touch(t, old[0]).await).await.unwrap();
    follower.until(db, org, "100", 2).await;
    let seen: Vec<_> = follower.seen.iter().map(|change| change.record_id).collect();
    assert_eq!(seen, [new, old[0]], "a cursor of before goes on");
    let all: Vec<_> = read(db, org, &[]).await.unwrap().results.iter().map(|c| c.record_id).collect();
    assert_eq!(all, [old[0], old[1], new, old[0]]);
}

#[tokio::test]
async fn another_organization_and_other_kinds_are_left_out() {
    let db = shared_db().await;
    let (ann, eve) = (org(&db).await, org(&db).await);
    let mine = db.tenant(&ann, tag).await.unwrap();
    for _ in 0..3 {
        db.tenant(&eve, tag).await.unwrap();
    }
    Follower::of_all(&db, &eve, 3).await;
    let all = read(&db, &ann, &[]).await.unwrap();
    assert_eq!(all.results.iter().map(|c| c.record_id).collect::<Vec<_>>(), [mine]);
    let theirs = read(&db, &eve, &[("after", &all.next)]).await.unwrap();
    assert_eq!(theirs.results.len(), 3, "a cursor is a place and opens nothing");
    let leads = read(&db, &ann, &[("kinds", "lead")]).await.unwrap();
    assert_eq!((leads.results.len(), leads.more), (0, false));
    assert_eq!(leads.next, all.next, "what was looked at is not looked at again");
    let both = read(&db, &ann, &[("kinds", "lead, tag")]).await.unwrap();
    assert_eq!(both.results.len(), 1);
}

#[tokio::test]
async fn only_whoever_sees_every_record_of_a_kind_follows_it() {
    let db = shared_db().await;
    let org = org(&db).await;
    db.tenant(&org, tag).await.unwrap();
    Follower::of_all(&db, &org, 1).await;
    let member = |grants: &[(&str, Scope)]| {
        let grant = |scope| Grant { actions: vec!["view".into()], scope };
        let grants = grants.iter().map(|(module, scope)| ((*module).to_owned(), grant(*scope))).collect();
        let principal =
            Principal::User { is_superuser: false, in_tenant: true, grants: Some(Arc::new(grants)) };
        Caller { principal, ..org.clone() }
    };
    let both = member(&[("tags", Scope::All), ("leads", Scope::Own)]);
    assert_eq!(read(&db, &both, &[]).await.unwrap().results.len(), 1);
    assert_eq!(read(&db, &both, &[("kinds", "tag")]).await.unwrap().results.len(), 1);
    let refused = |error: Error| (error.code(), error.to_string());
    let needs = (Code::Forbidden, "this needs the permission leads.view_lead with the scope all".to_owned());
    assert_eq!(refused(read(&db, &both, &[("kinds", "tag,lead")]).await.unwrap_err()), needs);
    let own = member(&[("leads", Scope::Own)]);
    assert_eq!(read(&db, &own, &[]).await.unwrap_err().code(), Code::Forbidden);
    assert_eq!(read(&db, &member(&[]), &[]).await.unwrap_err().code(), Code::Forbidden);
}

#[tokio::test]
async fn what_is_not_understood_is_refused() {
    let db = shared_db().await;
    let org = org(&db).await;
    for (pair, code, message) in [
        (("after", "yesterday"), Code::InvalidCursor, "after is no cursor: use next as it was given, or now"),
        (("limit", "0"), Code::InvalidParameter, "must be a whole number from 1 to 1000"),
        (("limit", "1001"), Code::InvalidParameter, "must be a whole number from 1 to 1000"),
        (("kinds", "tga"), Code::InvalidParameter, "there is no kind \"tga\"; did you mean tag?"),
        (("kinds", ","), Code::InvalidParameter, "at least one kind is needed"),
    ] {
        let error = read(&db, &org, &[pair]).await.unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, message), "{pair:?}");
    }
}
