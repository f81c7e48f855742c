use crm_core::{Caller, MemberId, TenantTx};
use crm_jobs::{Failure, Job};
use crm_mail::{Message, Template};
use crm_records::Assigned;
use crm_schema::{memberships, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;

use crate::directory::OrgSummary;
use crate::members::MemberState;
use crate::{Identity, enqueue_mail};

impl Identity {
    /// Mails the members to whom a record was assigned, as far as they are active still.
    pub(crate) async fn mail_assigned(&self, job: &Job) -> Result<(), Failure> {
        let assigned: Assigned = job.payload()?;
        let org = job.org_id.ok_or_else(|| Failure::Final("assigned outside every organization".into()))?;
        let Some(org) = self.db.platform(async |p| OrgSummary::find(p, org).await).await? else {
            return Ok(());
        };
        let system = Caller::system(org.info());
        Ok(self.db.tenant(&system, async |t| self.tell(t, &org, &assigned).await).await?)
    }

    async fn tell(&self, t: &mut TenantTx, org: &OrgSummary, assigned: &Assigned) -> crm_core::Result<()> {
        let by = match assigned.by {
            Some(by) => named(t, &[by]).await?.pop().map(|(_, name)| name),
            None => None,
        };
        let link = self.settings.page(&format!("{}/{}", assigned.module, assigned.record_id));
        for (email, _) in named(t, &assigned.members).await? {
            let data = json!({
                "org_name": org.name,
                "assigned_by": by.as_deref().unwrap_or(&org.name),
                "kind": assigned.kind,
                "title": assigned.title,
                "link": link,
            });
            enqueue_mail(t, &Message::new(email, Template::Assigned, data)).await?;
        }
        Ok(())
    }
}

/// Address and name of active members.
async fn named(t: &mut TenantTx, members: &[MemberId]) -> crm_core::Result<Vec<(String, String)>> {
    let these = memberships::org_id.eq(t.org()).and(memberships::id.eq_any(members));
    let found = memberships::table
        .inner_join(users::table.on(memberships::user_id.eq(users::id.nullable())))
        .filter(these.and(memberships::state.eq(MemberState::Active)).and(users::is_active.eq(true)))
        .select((users::email, users::name))
        .load(t.conn()?)
        .await?;
    Ok(found)
}
