use crm_access::Require;
use crm_core::{Code, OrgId, Principal, Scope, TeamId};
use crm_identity::{MemberClaims, RefreshToken, members, platform};
use crm_schema::{platform_admins, records, team_members, teams, user_orgs, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;

use crate::support::{Person, World, body, client, refusal};

/// Whether the person is let into the organization of their token.
async fn let_in(world: &World, person: &Person) -> crm_core::Result<()> {
    world.tenant(person, async |_| Ok(())).await
}

#[tokio::test]
async fn a_caller_is_what_the_membership_says() {
    let world = World::shared().await;
    let ann = world.founder().await;
    world
        .tenant(&ann, async |t| {
            let caller = t.caller();
            assert_eq!((caller.org.id, caller.org.name.as_str()), (t.org(), "Acme"));
            assert_eq!((caller.org.currency.as_str(), caller.org.timezone.name()), ("USD", "UTC"));
            assert_eq!((caller.user, caller.session), (Some(ann.claims.user), Some(ann.claims.session)));
            assert!(matches!(caller.principal, Principal::User { is_superuser: true, in_tenant: true, .. }));
            assert_eq!(t.require("leads.delete_lead").unwrap(), Scope::All);
            Ok(())
        })
        .await
        .unwrap();
    for (role, leads, orders) in [
        ("USER", Some(Scope::Own), None),
        ("OWNER", None, Some(Scope::All)),
        ("COURIER", None, Some(Scope::All)),
    ] {
        let bob = world.joined(&ann, role).await;
        let member = world.membership(&bob).await;
        world
            .tenant(&bob, async |t| {
                assert_eq!(t.actor().map(|id| id.0), Some(member.base.id));
                assert_eq!(t.caller().role, Some(member.role_id));
                assert!(matches!(
                    t.caller().principal,
                    Principal::User { is_superuser: false, in_tenant: true, .. }
                ));
                assert_eq!(
                    (t.require("leads.view_lead").ok(), t.require("orders.view_order").ok()),
                    (leads, orders),
                    "{role}"
                );
                assert_eq!(refusal(t.require("users.view_user")), Code::Forbidden, "{role}");
                Ok(())
            })
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_custom_role_allows_what_its_row_says() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let fields = json!({"name": "Auditor", "grants": {"leads": {"actions": ["view"], "scope": "all"}}});
    world
        .tenant(&ann, async |t| crm_identity::roles::create(t, &client(), body(fields)?).await)
        .await
        .unwrap();
    let bob = world.joined(&ann, "auditor").await;
    world
        .tenant(&bob, async |t| {
            assert_eq!(t.require("leads.view_lead").unwrap(), Scope::All);
            assert_eq!(refusal(t.require("leads.change_lead")), Code::Forbidden);
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn the_teams_of_a_caller_are_known() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let team = TeamId::generate();
    world
        .tenant(&ann, async |t| {
            let (org, me, now) = (t.org(), t.actor().unwrap(), t.now());
            let record = (records::org_id.eq(org), records::id.eq(team), records::kind.eq("team"));
            diesel::insert_into(records::table).values(record).execute(t.conn()?).await?;
            let row = (
                (
                    teams::org_id.eq(org),
                    teams::id.eq(team),
                    teams::name.eq("North"),
                    teams::name_normalized.eq("north"),
                ),
                (teams::created_at.eq(now), teams::updated_at.eq(now)),
            );
            diesel::insert_into(teams::table).values(row).execute(t.conn()?).await?;
            let on = (
                team_members::org_id.eq(org),
                team_members::team_id.eq(team),
                team_members::membership_id.eq(me),
            );
            diesel::insert_into(team_members::table).values(on).execute(t.conn()?).await?;
            Ok(())
        })
        .await
        .unwrap();
    world
        .tenant(&ann, async |t| {
            assert_eq!(t.caller().teams, [team]);
            let roster = members::roster(t).await?;
            assert_eq!(
                (roster.teams[0].name.as_str(), &roster.teams[0].users),
                ("North", &vec![t.actor().unwrap()])
            );
            let profile = crm_identity::profile::find(t).await?;
            assert_eq!(profile.teams[0].name, "North");
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn whoever_is_shut_out_is_so_from_the_next_request_on() {
    let world = World::shared().await;
    let ann = world.founder().await;

    let bob = world.joined(&ann, "USER").await;
    let_in(world, &bob).await.unwrap();
    let id = world.membership(&bob).await.base.id;
    let status = async |status: &str| {
        let change = body(json!({"status": status})).unwrap();
        world.tenant(&ann, async |t| members::change_status(t, &client(), id, change).await).await.unwrap()
    };
    status("Inactive").await;
    assert_eq!(refusal(let_in(world, &bob).await), Code::Unauthenticated);
    status("active").await;
    let_in(world, &bob).await.unwrap();
    world.tenant(&ann, async |t| members::remove(t, &client(), id, &Default::default()).await).await.unwrap();
    assert_eq!(refusal(let_in(world, &bob).await), Code::Unauthenticated);

    let cid = world.joined(&ann, "USER").await;
    let shut_out = diesel::update(users::table.find(cid.claims.user)).set(users::is_active.eq(false));
    world
        .db
        .platform(async |p| shut_out.execute(p.conn()?).await.map_err(crm_core::Error::from))
        .await
        .unwrap();
    assert_eq!(refusal(let_in(world, &cid).await), Code::Unauthenticated);

    let dan = world.joined(&ann, "USER").await;
    let token: RefreshToken = body(json!({"refresh_token": dan.refresh_token})).unwrap();
    world.identity.logout(&client(), token).await.unwrap();
    assert_eq!(refusal(let_in(world, &dan).await), Code::Unauthenticated);
}

#[tokio::test]
async fn a_suspended_organization_lets_nobody_in() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let root = world.root().await;
    let root = world.identity.signed_in(&root.claims).await.unwrap();
    let org = ann.claims.org.unwrap();
    world.db.platform(async |p| platform::suspend_org(p, &client(), &root, org).await).await.unwrap();
    assert_eq!(refusal(let_in(world, &ann).await), Code::Unauthenticated);
    world.db.platform(async |p| platform::resume_org(p, &client(), &root, org).await).await.unwrap();
    let_in(world, &ann).await.unwrap();
}

#[tokio::test]
async fn claims_open_no_other_organization_and_no_other_session() {
    let world = World::shared().await;
    let (ann, bob) = (world.founder().await, world.founder().await);
    for forged in [
        crm_identity::AccessClaims { org: bob.claims.org, ..ann.claims },
        crm_identity::AccessClaims { org: Some(OrgId::generate()), ..ann.claims },
        crm_identity::AccessClaims { session: bob.claims.session, ..ann.claims },
        crm_identity::AccessClaims { user: bob.claims.user, ..ann.claims },
    ] {
        let claims: MemberClaims = forged.in_org().unwrap();
        assert_eq!(
            refusal(world.db.tenant(&claims, async |_| Ok(())).await),
            Code::Unauthenticated,
            "{forged:?}"
        );
    }
}

/// Nothing in the program makes somebody both; if it ever happened, the platform administrator would see no tenant.
#[tokio::test]
async fn a_platform_administrator_is_no_member_whatever_the_tables_say() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let (user, now) = (ann.claims.user, world.db.clock().now());
    let row = (
        platform_admins::user_id.eq(user),
        platform_admins::is_superuser.eq(true),
        platform_admins::granted_by.eq("test"),
        platform_admins::granted_at.eq(now),
    );
    let insert = diesel::insert_into(platform_admins::table).values(row);
    world
        .db
        .platform(async |p| insert.execute(p.conn()?).await.map_err(crm_core::Error::from))
        .await
        .unwrap();
    assert_eq!(refusal(let_in(world, &ann).await), Code::Unauthenticated);
    let listed = user_orgs::table.filter(user_orgs::user_id.eq(user)).count();
    let count: i64 = world
        .db
        .platform(async |p| listed.get_result(p.conn()?).await.map_err(crm_core::Error::from))
        .await
        .unwrap();
    assert_eq!(count, 1, "the membership was there");
}
