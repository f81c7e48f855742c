//! Health, metrics and the API's own description.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};
use crm_core::{Error, FieldCode, tenancy};
use serde::{Deserialize, Serialize};

use crate::extract::{Anonymous, Query};
use crate::operation::Permit::Public;
use crate::operation::{Op, Routes};
use crate::problem::Problem;
use crate::{openapi, telemetry};

pub(super) fn routes(r: &mut Routes) {
    r.add(Op::get("/healthz/", "health", Public, "The process is up").answers::<Health>(200), health)
        .add(
            Op::get(
                "/readyz/",
                "readiness",
                Public,
                "The database is reachable, its schema current, the role safe",
            )
            .answers::<Readiness>(200),
            ready,
        )
        .add(
            Op::get("/metrics/", "metrics", Public, "Figures for Prometheus").answers_bytes("text/plain"),
            metrics,
        )
        .add(
            Op::get("/api/schema/", "schema", Public, "This document")
                .takes_query(&[("format", "`json`, unless `yaml` is asked for.")])
                .answers_bytes("application/json"),
            schema,
        );
}

/// The process answers.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct Health {
    /// Always `ok`.
    status: String,
}

/// What a load balancer asks before it sends requests here.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct Readiness {
    /// Whether the database answers.
    database: bool,
    /// Whether its schema is this program's.
    schema: bool,
    /// Whether the role is held by row-level security.
    role: bool,
}

async fn health(_: Anonymous) -> web::Json<Health> {
    web::Json(Health { status: "ok".into() })
}

async fn ready(call: Anonymous) -> Result<HttpResponse, Problem> {
    let checked = call
        .state
        .db
        .platform(async |p| {
            let schema = tenancy::schema_state(p.conn()?).await?.is_current();
            let role = tenancy::check_role(p.conn()?).await?.is_empty();
            Ok::<_, Error>(Readiness { database: true, schema, role })
        })
        .await?;
    if checked.schema && checked.role {
        return Ok(HttpResponse::Ok().json(checked));
    }
    let why = if checked.schema { "the database role is not safe" } else { "the schema is not current" };
    Err(Error::Unavailable(why.into()).into())
}

async fn metrics(call: Anonymous) -> HttpResponse {
    let (busy, open) = call.state.db.pool_status();
    telemetry::gauge("db_connections_busy", busy);
    telemetry::gauge("db_connections_open", open);
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4")).body(telemetry::render())
}

async fn schema(_: Anonymous, query: Query) -> Result<HttpResponse, Problem> {
    let document = openapi::document();
    match query.0.get("format") {
        None | Some("json") => Ok(HttpResponse::Ok().json(document)),
        Some("yaml") => {
            let yaml = document.to_yaml().map_err(Error::internal)?;
            Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/yaml")).body(yaml))
        }
        Some(_) => Err(Error::parameter("format", FieldCode::NotAChoice, "must be json or yaml").into()),
    }
}
