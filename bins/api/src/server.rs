//! The HTTP server: routes and middleware put together.

use std::sync::Arc;

use actix_cors::Cors;
use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Compress, from_fn};
use actix_web::{App, HttpServer, web};

use crm_notifications::Live;

use crate::extract::State;
use crate::limits::Limits;
use crate::startup::Running;
use crate::{limits, middleware, openapi, routes};

/// The whole application: what the server runs, and what tests call without a port.
pub fn app(
    state: State,
    origins: &[String],
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<>>,
        Error = actix_web::Error,
        InitError = (),
    > + use<>,
> {
    App::new()
        .app_data(web::Data::new(state))
        .configure(|config| routes::all().configure(config))
        .configure(openapi::pages)
        .wrap(from_fn(limits::guard))
        .wrap(cors(origins))
        .wrap(Compress::default())
        .wrap(middleware::security_headers())
        .wrap(from_fn(middleware::observe))
        .wrap(from_fn(middleware::final_slash))
}

fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers([
            "authorization",
            "content-type",
            "idempotency-key",
            "if-match",
            "if-none-match",
            "last-event-id",
            "x-api-key",
            "x-request-id",
        ])
        .max_age(3600);
    match origins {
        [any] if any == "*" => cors.allow_any_origin(),
        some => {
            // A form says itself which pages may send it; nothing of the browser's travels with it, so that a page gains nothing.
            let cors = cors.allowed_origin_fn(|_, request| request.uri.path() == routes::SUBMIT);
            some.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
        }
    }
}

/// Binds the address and answers the server's future, which ends when told to, and the streams that would keep it from ending.
///
/// # Errors
/// When the address is taken.
pub fn run(running: &Running) -> std::io::Result<(Server, Live)> {
    let live = Live::new(&running.db);
    let state = State {
        db: running.db.clone(),
        identity: running.identity.clone(),
        storage: running.storage.clone(),
        storage_quota_bytes: running.settings.storage_quota_bytes,
        sealer: running.answers.clone(),
        limits: Arc::new(Limits::new(running.settings.rates)),
        live: live.clone(),
        webhooks: running.webhooks.clone(),
        trusted_proxies: running.settings.trusted_proxies,
    };
    let origins = running.settings.cors_allowed_origins.clone();
    let server = HttpServer::new(move || app(state.clone(), &origins))
        .bind(running.settings.bind)?
        .disable_signals()
        .shutdown_timeout(20)
        .run();
    Ok((server, live))
}
