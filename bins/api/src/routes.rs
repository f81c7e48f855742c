//! Every operation of the API, a file per module: path, permission, documentation and the few lines that call the service.

mod auth;
mod leads;
mod orgs;
mod platform;
mod records;
mod roles;
mod service;
mod tags;
mod teams;
mod users;

use crm_records::Target;

use crate::operation::Routes;

/// The kinds of record whose files can be downloaded.
pub const TARGETS: &[Target] = &[crm_leads::LEADS];

/// All of them.
pub fn all() -> Routes {
    let mut routes = Routes::default();
    for declare in [
        service::routes,
        auth::routes,
        orgs::routes,
        users::routes,
        roles::routes,
        teams::routes,
        tags::routes,
        leads::routes,
        records::routes,
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
