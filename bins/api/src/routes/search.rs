use actix_web::web;
use crm_search::{Found, Question, Searchable};
use futures_util::FutureExt;

use crate::extract::{Ctx, Query};
use crate::operation::Permit::Member;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

/// The kinds of record that the search finds, in the order of its answer: a line for each module.
pub const SEARCHABLE: &[Searchable] = &[
    Searchable {
        target: crm_leads::LEADS,
        describe: |t, after, limit| crm_leads::describe(t, after, limit).boxed_local(),
    },
    Searchable {
        target: crm_accounts::ACCOUNTS,
        describe: |t, after, limit| crm_accounts::describe(t, after, limit).boxed_local(),
    },
    Searchable {
        target: crm_contacts::CONTACTS,
        describe: |t, after, limit| crm_contacts::describe(t, after, limit).boxed_local(),
    },
    Searchable {
        target: crm_opportunities::OPPORTUNITIES,
        describe: |t, after, limit| crm_opportunities::describe(t, after, limit).boxed_local(),
    },
    Searchable {
        target: crm_products::PRODUCTS,
        describe: |t, after, limit| crm_products::describe(t, after, limit).boxed_local(),
    },
    Searchable {
        target: crm_documents::DOCUMENTS,
        describe: |t, after, limit| crm_documents::describe(t, after, limit).boxed_local(),
    },
];

pub(super) fn routes(r: &mut Routes) {
    r.add(
        Op::get("/api/search/", "search", Member, "Search every kind of record that the caller may look at")
            .takes_query(Question::PARAMETERS)
            .answers::<Found>(200)
            .refuses(&[400]),
        search,
    );
}

async fn search(ctx: Ctx, query: Query) -> Result<web::Json<Found>, Problem> {
    let question = Question::read(&query.0, SEARCHABLE)?;
    Ok(web::Json(ctx.tenant(async |t| crm_search::search(t, SEARCHABLE, &question).await).await?))
}
