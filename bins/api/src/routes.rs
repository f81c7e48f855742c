//! Every operation of the API, a file per module: path, permission, documentation and the few lines that call the service.

mod accounts;
mod audit;
mod auth;
mod changes;
mod contacts;
mod conversions;
mod custom_fields;
mod dashboard;
mod documents;
mod imports;
mod leads;
mod mail;
mod notifications;
mod opportunities;
mod orgs;
mod pipelines;
mod platform;
mod products;
mod records;
mod roles;
mod search;
mod service;
mod sign_in;
mod tags;
mod teams;
mod tokens;
mod transfer;
mod uploads;
mod users;
mod web_forms;
mod webhooks;

use std::sync::LazyLock;

use crm_identity::InTheNameOf;
use crm_records::Target;
use crm_transfer::Transferable;
pub use search::SEARCHABLE;
pub(crate) use tags::taggable;
pub use web_forms::SUBMIT;

use crate::operation::Routes;

/// The kinds of record whose files can be downloaded.
pub const TARGETS: &[Target] = &[
    crm_accounts::ACCOUNTS,
    crm_contacts::CONTACTS,
    crm_leads::LEADS,
    crm_opportunities::OPPORTUNITIES,
    crm_products::PRODUCTS,
    crm_transfer::IMPORTS,
    crm_documents::DOCUMENTS,
];

/// The modules that files come out of and go into: all that [`all`] declares by their usual routes.
pub static TRANSFERABLE: LazyLock<Vec<Transferable<InTheNameOf>>> = LazyLock::new(|| all().transferable);

/// All of them.
pub fn all() -> Routes {
    let mut routes = Routes::default();
    for declare in [
        service::routes,
        auth::routes,
        sign_in::routes,
        orgs::routes,
        users::routes,
        roles::routes,
        teams::routes,
        tags::routes,
        custom_fields::routes,
        accounts::routes,
        contacts::routes,
        leads::routes,
        conversions::routes,
        opportunities::routes,
        products::routes,
        pipelines::routes,
        imports::routes,
        documents::routes,
        web_forms::routes,
        records::routes,
        notifications::routes,
        search::routes,
        dashboard::routes,
        mail::routes,
        audit::routes,
        tokens::routes,
        changes::routes,
        webhooks::routes,
        platform::routes,
    ] {
        declare(&mut routes);
    }
    routes
}

/// The `ETag` of a version.
fn versioned(version: i64) -> (actix_web::http::header::HeaderName, String) {
    (actix_web::http::header::ETAG, format!("\"{version}\""))
}
