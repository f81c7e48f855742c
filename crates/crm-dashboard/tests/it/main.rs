//! What the service itself answers for: how often it asks the database, and what it tells whom.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crm_access::BuiltinRole;
use crm_core::{Caller, Db, Result, TenantTx};
use crm_leads::LEADS;
use crm_records::Target;
use crm_records::list::{Neighbours, Params, Resource};
use crm_testkit::{member, org};
use diesel::connection::InstrumentationEvent;
use diesel_async::AsyncConnection;

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
        assert!(figures > 3 || role == BuiltinRole::Courier, "the counter counts: {figures}");
    }
}
