//! The search on organizations that are large enough for its short cuts, and its rebuilding.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::sync::Arc;

use crm_access::BuiltinRole;
use crm_core::{Caller, Db, MemberId, OrgId, OrgInfo, Principal, Result, UserId};
use crm_records::list::Params;
use crm_schema::{leads, memberships, organizations, records, roles, users};
use crm_search::{Question, Rebuilt, Searchable, rebuild, search};
use diesel::prelude::*;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;
use uuid::Uuid;

const LEADS: Searchable = Searchable {
    target: crm_leads::LEADS,
    describe: |t, after, limit| crm_leads::describe(t, after, limit).boxed_local(),
};

async fn org(db: &Db) -> Caller {
    let info = OrgInfo {
        id: OrgId::generate(),
        name: "Test".into(),
        currency: "EUR".into(),
        timezone: chrono_tz::UTC,
    };
    let row =
        (organizations::id.eq(info.id), organizations::name.eq("Test"), organizations::currency.eq("EUR"));
    db.platform(async |p| -> Result<()> {
        diesel::insert_into(organizations::table).values(row).execute(p.conn()?).await?;
        Ok(())
    })
    .await
    .unwrap();
    Caller::system(info)
}

/// A member of that organization who sees what is theirs.
async fn member(db: &Db, system: &Caller) -> Caller {
    let (id, role, user) = (Uuid::now_v7(), Uuid::now_v7(), UserId::generate());
    let email = format!("{id}@example.com");
    db.tenant(system, async |t| -> Result<()> {
        let (org, now) = (t.org(), t.now());
        diesel::insert_into(users::table)
            .values((users::id.eq(user), users::email.eq(&email), users::email_normalized.eq(&email)))
            .execute(t.conn()?)
            .await?;
        let record = |id: Uuid, kind| (records::org_id.eq(org), records::id.eq(id), records::kind.eq(kind));
        diesel::insert_into(records::table)
            .values(vec![record(role, "role"), record(id, "member")])
            .execute(t.conn()?)
            .await?;
        diesel::insert_into(roles::table)
            .values((
                (
                    roles::org_id.eq(org),
                    roles::id.eq(role),
                    roles::created_at.eq(now),
                    roles::updated_at.eq(now),
                ),
                (roles::name.eq(role.to_string()), roles::name_normalized.eq(role.to_string())),
            ))
            .execute(t.conn()?)
            .await?;
        diesel::insert_into(memberships::table)
            .values((
                (memberships::org_id.eq(org), memberships::id.eq(id), memberships::user_id.eq(user)),
                (
                    memberships::created_at.eq(now),
                    memberships::updated_at.eq(now),
                    memberships::role_id.eq(role),
                ),
                (memberships::email.eq(&email), memberships::email_normalized.eq(&email)),
                memberships::state.eq("active"),
            ))
            .execute(t.conn()?)
            .await?;
        Ok(())
    })
    .await
    .unwrap();
    let grants = Some(Arc::new(BuiltinRole::User.grants()));
    let principal = Principal::User { is_superuser: false, in_tenant: true, grants };
    Caller { principal, user: Some(user), member: Some(MemberId(id)), ..system.clone() }
}

/// Leads that the search does not know yet, the last one the newest: title, company, creator.
async fn leads(db: &Db, system: &Caller, all: Vec<(String, &str, Option<MemberId>)>) -> Vec<Uuid> {
    let ids: Vec<Uuid> = all.iter().map(|_| Uuid::now_v7()).collect();
    db.tenant(system, async |t| -> Result<()> {
        let (org, now) = (t.org(), t.now());
        let record = |id: &Uuid| (records::org_id.eq(org), records::id.eq(*id), records::kind.eq("lead"));
        diesel::insert_into(records::table)
            .values(ids.iter().map(record).collect::<Vec<_>>())
            .execute(t.conn()?)
            .await?;
        let lead = |(id, (title, company, by)): (&Uuid, (String, &str, Option<MemberId>))| {
            (
                (
                    leads::org_id.eq(org),
                    leads::id.eq(*id),
                    leads::created_at.eq(now),
                    leads::updated_at.eq(now),
                ),
                (
                    leads::title.eq(title),
                    leads::company_name.eq(company.to_owned()),
                    leads::created_by.eq(by),
                    leads::position.eq("8"),
                ),
            )
        };
        diesel::insert_into(leads::table)
            .values(ids.iter().zip(all).map(lead).collect::<Vec<_>>())
            .execute(t.conn()?)
            .await?;
        Ok(())
    })
    .await
    .unwrap();
    ids
}

async fn rebuilt(db: &Db, who: &Caller) -> Rebuilt {
    rebuild(db, who, &LEADS, |_| {}).await.unwrap()
}

async fn found(db: &Db, who: &Caller, words: &str) -> Vec<(String, i32)> {
    let question = Question::read(&Params::of(&[("q", words), ("limit", "3")]), &[LEADS]).unwrap();
    let found = db.tenant(who, async |t| search(t, &[LEADS], &question).await).await.unwrap();
    found.results.into_iter().map(|hit| (hit.title, hit.rank)).collect()
}

fn ranked<const N: usize>(all: [(&str, i32); N]) -> Vec<(String, i32)> {
    all.map(|(title, rank)| (title.to_owned(), rank)).to_vec()
}

/// Old leads that stand out, and many newer ones that do not: more than the search looks at one by one.
async fn crowd(db: &Db, system: &Caller, by: Option<MemberId>) {
    let old =
        [("Gem", "Ommen"), ("Common", "Elm"), ("Old gem", "Common")].map(|(t, c)| (t.to_owned(), c, by));
    let crowd = (0..1_100).map(|number| (format!("A common lead {number}"), "Crowd", by));
    leads(db, system, old.into_iter().chain(crowd).collect()).await;
    assert_eq!(rebuilt(db, system).await, Rebuilt { records: 1_103, repaired: 1_103 });
}

#[tokio::test]
async fn old_records_are_found_behind_a_crowd_of_new_ones() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db).await;
    let ann = member(&db, &system).await;
    crowd(&db, &system, ann.member).await;
    let newest = ranked([("A common lead 1099", 2), ("A common lead 1098", 2)]);
    for who in [&system, &ann] {
        assert_eq!(found(&db, who, "gem").await, ranked([("Gem", 0), ("Old gem", 2)]), "rare words");
        assert_eq!(found(&db, who, "ommen").await, ranked([("Gem", 3)]));
        assert_eq!(found(&db, who, "old elm").await, []);
        let common = found(&db, who, "common").await;
        assert_eq!(
            common,
            [&ranked([("Common", 0)])[..], &newest].concat(),
            "the title first, then the newest"
        );
        let parts = found(&db, who, "omm").await;
        assert_eq!(parts[0], ("Gem".to_owned(), 3), "a rare word before a frequent part of words");
        assert_eq!(parts[1], ("A common lead 1099".to_owned(), 4));
        assert_eq!(found(&db, who, "common lead 7").await[0], ("A common lead 799".to_owned(), 2));
        assert_eq!(found(&db, who, "a common lead 17").await[0], ("A common lead 17".to_owned(), 0));
        assert_eq!(found(&db, who, "a common lead").await[0], ("A common lead 1099".to_owned(), 1));
        for nothing in ["@@", "r&d", "lost", "common lost"] {
            assert_eq!(found(&db, who, nothing).await, [], "{nothing}");
        }
    }
}

#[tokio::test]
async fn whoever_sees_few_of_many_finds_all_of_these() {
    let db = crm_testkit::shared_db().await;
    let system = org(&db).await;
    let (ann, bob) = (member(&db, &system).await, member(&db, &system).await);
    leads(&db, &system, vec![("Common start".into(), "Bob's", bob.member)]).await;
    rebuilt(&db, &system).await;
    let crowd = (0..1_100).map(|number| (format!("Common {number}"), "Crowd", ann.member)).collect();
    leads(&db, &system, crowd).await;
    rebuilt(&db, &system).await;
    assert_eq!(found(&db, &bob, "common").await, ranked([("Common start", 1)]));
    assert_eq!(found(&db, &bob, "ommo").await, ranked([("Common start", 4)]));
    assert_eq!(found(&db, &bob, "common 1").await, []);
    assert_eq!(found(&db, &ann, "common start").await, []);
    assert_eq!(found(&db, &member(&db, &system).await, "common").await, []);
    for (who, want) in [(&bob, 1), (&ann, 50), (&system, 50)] {
        let params = Params::of(&[("search", "omm")]);
        let page = db.tenant(who, async |t| crm_leads::list(t, &params).await).await.unwrap();
        assert_eq!(page.results.len(), want, "a list's search keeps to the same records");
    }
}

#[tokio::test]
async fn rebuilding_mends_what_is_damaged_and_leaves_the_rest() {
    diesel::define_sql_function! {
        fn search_index(id: SqlUuid, kind: Text, title: Text, subtitle: Text, words: Text) -> Bool;
    }
    let db = crm_testkit::shared_db().await;
    let (system, other) = (org(&db).await, org(&db).await);
    let three = || ["Oak", "Elm", "Ash"].map(|title| (title.to_owned(), "Wood", None)).to_vec();
    let ids = leads(&db, &system, three()).await;
    leads(&db, &other, three()).await;
    assert_eq!(found(&db, &system, "wood").await, [], "nothing is known yet");
    let mut heard = Vec::new();
    let first = rebuild(&db, &system, &LEADS, |records| heard.push(records)).await.unwrap();
    assert_eq!((first, heard), (Rebuilt { records: 3, repaired: 3 }, vec![3, 3]));
    assert_eq!(found(&db, &system, "wood").await, ranked([("Ash", 3), ("Elm", 3), ("Oak", 3)]));
    assert_eq!(found(&db, &other, "wood").await, [], "one organization at a time");
    assert_eq!(rebuilt(&db, &system).await, Rebuilt { records: 3, repaired: 0 });

    let damage = search_index(ids[1], "lead", "Not elm", "", "nothing of it");
    let damaged: bool = db
        .tenant(&system, async |t| -> Result<bool> {
            Ok(diesel::select(damage).get_result(t.conn()?).await?)
        })
        .await
        .unwrap();
    assert!(damaged);
    assert_eq!(found(&db, &system, "elm").await, ranked([("Not elm", 2)]));
    assert_eq!(rebuilt(&db, &system).await, Rebuilt { records: 3, repaired: 1 });
    assert_eq!(found(&db, &system, "elm").await, ranked([("Elm", 0)]));
    assert_eq!(found(&db, &system, "nothing").await, []);
}
