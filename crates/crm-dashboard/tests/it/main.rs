//! What the service itself answers for: how often it asks the database, and what it tells whom.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crm_access::BuiltinRole;
use crm_core::{Caller, Db, Result, TenantTx};
use crm_leads::LEADS;
use crm_records::Target;
use crm_records::list::{Neighbours, Params, Resource};
use crm_schema::{changes, leads, records};
use crm_testkit::{member, org};
use diesel::ExpressionMethods;
use diesel::connection::InstrumentationEvent;
use diesel_async::AsyncConnection;
use uuid::Uuid;

const fn target(
    kind: &'static str,
    table: &'static str,
    neighbours: Option<Neighbours>,
    view: &'static str,
) -> Target {
    let resource = Resource { kind, table, fields: &[], searchable: false, mutable: true, neighbours };
    Target { resource, view, change: view }
}

/// Every kind of record that there are figures about.
const TARGETS: &[Target] = &[
    LEADS,
    target("account", "accounts", None, "accounts.view_account"),
    target("contact", "contacts", Some(Neighbours::OF_ACCOUNTS), "contacts.view_contact"),
    target("opportunity", "opportunities", None, "opportunities.view_opportunity"),
];

/// What one request may ask of the database, the look-up of the caller, which comes before, among it.
const MOST_STATEMENTS: usize = 8;

/// Does `work` as `who` and answers how many statements it took.
async fn statements<T>(
    db: &Db,
    who: &Caller,
    work: impl AsyncFnOnce(&mut TenantTx) -> Result<T>,
) -> (T, usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let done = db.tenant(who, async |t| {
        let counted = count.clone();
        t.conn()?.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { .. } = event {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let done = work(t).await;
        t.conn()?.set_instrumentation(|_: InstrumentationEvent<'_>| {});
        done
    });
    (done.await.unwrap(), count.load(Ordering::Relaxed) + 1)
}

#[tokio::test]
async fn a_dashboard_takes_eight_statements_at_most_whoever_asks() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    for role in [BuiltinRole::Admin, BuiltinRole::User, BuiltinRole::Courier] {
        let who = member(&db, &system, role).await;
        let (dashboard, figures) =
            statements(&db, &who, async |t| crm_dashboard::overview(t, TARGETS).await).await;
        let params = Params::default();
        let (_, today) =
            statements(&db, &who, async |t| crm_dashboard::today(t, TARGETS, &params).await).await;
        let (_, lately) =
            statements(&db, &who, async |t| crm_dashboard::activities(t, TARGETS, &params).await).await;
        for (what, count) in [("overview", figures), ("today", today), ("activities", lately)] {
            assert!(count <= MOST_STATEMENTS, "{what} took {count} as {role:?}");
        }
        let seen = [
            dashboard.accounts.is_some(),
            dashboard.contacts.is_some(),
            dashboard.leads.is_some(),
            dashboard.opportunities.is_some(),
        ];
        assert_eq!(seen, [role != BuiltinRole::Courier; 4], "{role:?}");
        assert!(figures >= 3 || role == BuiltinRole::Courier, "the counter counts: {figures}");
    }
}

/// More leads than are looked at one by one.
const MANY: i64 = 1_050;

#[tokio::test]
async fn whoever_owns_very_many_records_is_answered_by_a_walk_with_the_same_truth() {
    use diesel_async::RunQueryDsl;
    let db = crm_testkit::shared_db().await;
    let system = org(&db, "EUR").await;
    let who = member(&db, &system, BuiltinRole::User).await;
    let other = member(&db, &system, BuiltinRole::User).await;
    let mut ids: Vec<Uuid> = (0..=MANY).map(|_| Uuid::now_v7()).collect();
    ids.sort();
    let made = db.tenant(&system, async |t| -> Result<()> {
        let (org, now) = (t.org(), t.now());
        let yesterday = now.with_timezone(&t.caller().org.timezone).date_naive().pred_opt();
        // The newest is somebody else's.
        let owner = |id: &Uuid| if Some(id) == ids.last() { other.member } else { who.member };
        let record = |id: &Uuid| (records::org_id.eq(org), records::id.eq(*id), records::kind.eq("lead"));
        let lead = |id: &Uuid| {
            (
                leads::org_id.eq(org),
                leads::id.eq(*id),
                leads::created_at.eq(now),
                leads::updated_at.eq(now),
                leads::created_by.eq(owner(id)),
                leads::status.eq("assigned"),
                leads::rating.eq("HOT"),
                leads::next_follow_up.eq(yesterday),
                leads::position.eq("8"),
            )
        };
        let change = |id: &Uuid| {
            (
                changes::org_id.eq(org),
                changes::id.eq(*id),
                changes::record_id.eq(*id),
                changes::action.eq("created"),
                changes::created_at.eq(now),
            )
        };
        let rows: Vec<_> = ids.iter().map(record).collect();
        diesel::insert_into(records::table).values(rows).execute(t.conn()?).await?;
        let rows: Vec<_> = ids.iter().map(lead).collect();
        diesel::insert_into(leads::table).values(rows).execute(t.conn()?).await?;
        let rows: Vec<_> = ids.iter().map(change).collect();
        diesel::insert_into(changes::table).values(rows).execute(t.conn()?).await?;
        Ok(())
    });
    made.await.unwrap();
    let params = Params::default();
    let told = db.tenant(&who, async |t| -> Result<_> {
        let overview = crm_dashboard::overview(t, TARGETS).await?;
        let today = crm_dashboard::today(t, TARGETS, &params).await?;
        Ok((overview, today, crm_dashboard::activities(t, TARGETS, &params).await?))
    });
    let (overview, today, lately) = told.await.unwrap();
    let figures = overview.leads.unwrap();
    assert_eq!(
        (figures.hot.count, figures.follow_ups.overdue.count, today.summary.count),
        (MANY, MANY, MANY)
    );
    let newest: Vec<Uuid> = ids.iter().rev().skip(1).take(10).copied().collect();
    assert_eq!(figures.hot.newest.iter().map(|lead| lead.id).collect::<Vec<_>>(), newest);
    assert_eq!(lately.results.iter().map(|activity| activity.record_id).collect::<Vec<_>>(), newest);
    let oldest: Vec<Uuid> = ids.iter().take(8).copied().collect();
    assert_eq!(today.queue.iter().map(|item| item.record_id).collect::<Vec<_>>(), oldest);
}
