//! Organizations and members, for tests of a service alone.

use std::sync::Arc;

use crm_access::BuiltinRole;
use crm_core::{Caller, Db, MemberId, OrgId, OrgInfo, Principal, Result, UserId};
use crm_schema::{memberships, organizations, records, roles, users};
use diesel::ExpressionMethods;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A new organization at home in Berlin, in which the program itself acts.
pub async fn org(db: &Db, currency: &str) -> Caller {
    let info = OrgInfo {
        id: OrgId::generate(),
        name: "Test".into(),
        currency: currency.into(),
        timezone: chrono_tz::Europe::Berlin,
    };
    let row =
        (organizations::id.eq(info.id), organizations::name.eq("Test"), organizations::currency.eq(currency));
    db.platform(async |p| -> Result<()> {
        diesel::insert_into(organizations::table).values(row).execute(p.conn()?).await?;
        Ok(())
    })
    .await
    .expect("the rows of a fixture");
    Caller::system(info)
}

/// A member of that organization with a built-in role.
pub async fn member(db: &Db, system: &Caller, role: BuiltinRole) -> Caller {
    let (id, role_id, user) = (Uuid::now_v7(), Uuid::now_v7(), UserId::generate());
    let email = format!("{id}@example.com");
    db.tenant(system, async |t| -> Result<()> {
        let (org, now) = (t.org(), t.now());
        diesel::insert_into(users::table)
            .values((users::id.eq(user), users::email.eq(&email), users::email_normalized.eq(&email)))
            .execute(t.conn()?)
            .await?;
        for (id, kind) in [(role_id, "role"), (id, "member")] {
            diesel::insert_into(records::table)
                .values((records::org_id.eq(org), records::id.eq(id), records::kind.eq(kind)))
                .execute(t.conn()?)
                .await?;
        }
        diesel::insert_into(roles::table)
            .values((
                roles::org_id.eq(org),
                roles::id.eq(role_id),
                roles::created_at.eq(now),
                roles::updated_at.eq(now),
                roles::name.eq(role_id.to_string()),
                roles::name_normalized.eq(role_id.to_string()),
            ))
            .execute(t.conn()?)
            .await?;
        diesel::insert_into(memberships::table)
            .values((
                memberships::org_id.eq(org),
                memberships::id.eq(id),
                memberships::created_at.eq(now),
                memberships::updated_at.eq(now),
                memberships::user_id.eq(user),
                memberships::email.eq(&email),
                memberships::email_normalized.eq(&email),
                memberships::role_id.eq(role_id),
                memberships::state.eq("active"),
            ))
            .execute(t.conn()?)
            .await?;
        Ok(())
    })
    .await
    .expect("the rows of a fixture");
    let grants = Some(Arc::new(role.grants()));
    let principal = Principal::User { is_superuser: role.is_superuser(), in_tenant: true, grants };
    Caller { principal, user: Some(user), member: Some(MemberId(id)), ..system.clone() }
}
