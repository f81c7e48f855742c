//! The OpenAPI document, made from the declared operations, and the pages that show it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::web::ServiceConfig;
use actix_web::{HttpResponse, web};
use crm_records::custom::CustomTarget;
use crm_records::list::{Field, Kind, Resource};
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
    PathItem, PathsBuilder, Ref, RefOr, Required, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use crate::operation::{Body, Op, Permit};
use crate::problem::ProblemDocument;
use crate::routes;

const DESCRIPTION: &str = "A multi-tenant CRM. The organization comes from the signed token alone: sign in, then \
    choose or create an organization, then use its records. Errors are problem documents (RFC 9457); lists page by \
    opaque cursors; single records carry a version and an ETag.";

/// The document of every declared operation, made when first asked for.
pub fn document() -> &'static OpenApi {
    static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(make);
    &DOCUMENT
}

fn make() -> OpenApi {
    let routes = routes::all();
    let mut components = ComponentsBuilder::new();
    let mut problem = Vec::new();
    ProblemDocument::schemas(&mut problem);
    problem.push((ProblemDocument::name().into_owned(), ProblemDocument::schema()));
    for (name, schema) in problem {
        components = components.schema(name, schema);
    }
    let mut items: BTreeMap<&str, PathItem> = BTreeMap::new();
    for op in routes.operations() {
        for body in op.body.iter().chain(&op.answer.1) {
            for (name, schema) in &body.components {
                components = components.schema(name, schema.clone());
            }
        }
        let method = match op.method.as_str() {
            "POST" => HttpMethod::Post,
            "PUT" => HttpMethod::Put,
            "PATCH" => HttpMethod::Patch,
            "DELETE" => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        items.entry(op.path).or_default().merge_operations(PathItem::new(method, operation(op)));
    }
    let paths = items.into_iter().fold(PathsBuilder::new(), |paths, (path, item)| paths.path(path, item));
    let bearer = Http::builder_bearer();
    components = components.security_scheme("bearer", bearer);
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Amphora")
                .version("1")
                .description(Some(DESCRIPTION))
                .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()))
                .build(),
        )
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

trait BuilderBearer {
    fn builder_bearer() -> SecurityScheme;
}

impl BuilderBearer for Http {
    fn builder_bearer() -> SecurityScheme {
        SecurityScheme::Http(Self::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build())
    }
}

fn operation(op: &Op) -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(op.id))
        .tag(op.tag())
        .summary(Some(op.summary))
        .description(Some(format!("{}{}", permission(op.permit), custom_filters(op))));
    for parameter in parameters(op) {
        operation = operation.parameter(parameter);
    }
    if let Some(body) = &op.body {
        let mut schema = body.schema.clone();
        if op.method == actix_web::http::Method::PATCH {
            schema = all_optional(body);
        }
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let request =
            RequestBodyBuilder::new().content(body.media_type, content).required(Some(Required::True));
        operation = operation.request_body(Some(request.build()));
    }
    let (status, answer) = &op.answer;
    let mut success = ResponseBuilder::new().description(success(*status));
    if let Some(body) = answer {
        success =
            success.content(body.media_type, ContentBuilder::new().schema(Some(body.schema.clone())).build());
    }
    operation = operation.response(status.to_string(), success);
    if *status == 200 && op.shape.is_some() && op.method == actix_web::http::Method::GET {
        operation = operation.response(
            "304",
            ResponseBuilder::new().description("Not changed since the version in If-None-Match"),
        );
    }
    for status in refusals(op) {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDocument"))).build();
        let refusal =
            ResponseBuilder::new().description(refusal(status)).content("application/problem+json", content);
        operation = operation.response(status.to_string(), refusal);
    }
    if op.permit != Permit::Public {
        operation = operation.security(SecurityRequirement::new("bearer", Vec::<String>::new()));
    }
    operation
}

fn permission(permit: Permit) -> String {
    match permit {
        Permit::Public => "No credential needed.".into(),
        Permit::SignedIn => "For whoever is signed in, with or without an organization.".into(),
        Permit::Member => "For every member of the organization.".into(),
        Permit::Permission(permission) => format!("Needs the permission `{permission}`."),
        Permit::Platform(permission) => format!("For platform administrators (`{permission}`)."),
    }
}

/// A list of records takes filters that only the organization knows.
fn custom_filters(op: &Op) -> &'static str {
    let kind = op.list.or(op.narrows).map(|resource| resource.kind);
    match kind.and_then(CustomTarget::of) {
        Some(_) => {
            " Filterable custom fields of the organization are further parameters: `cf_<key>=value`, \
             `cf_<key>__<operator>=value` with the operators of other fields of that type."
        }
        None => "",
    }
}

fn refusals(op: &Op) -> Vec<u16> {
    let mut all = op.refusals.clone();
    if op.permit != Permit::Public {
        all.push(401);
    }
    if matches!(op.permit, Permit::Member | Permit::Permission(_) | Permit::Platform(_)) {
        all.push(403);
    }
    if op.path.contains('{') {
        all.push(404);
    }
    all.extend([400, 405, 429, 503]);
    if op.body.is_some() {
        all.extend([413, 415, 422]);
    }
    if op.if_match {
        all.push(412);
    }
    if op.method == actix_web::http::Method::POST {
        // What an Idempotency-Key may run into.
        all.extend([409, 422]);
    }
    all.sort_unstable();
    all.dedup();
    all
}

const fn success(status: u16) -> &'static str {
    match status {
        201 => "Made",
        202 => "Accepted",
        204 => "Done",
        _ => "The answer",
    }
}

const fn refusal(status: u16) -> &'static str {
    match status {
        400 => "Malformed request or unknown parameter",
        401 => "No valid credential",
        403 => "Not allowed",
        404 => "Not there, or not for this caller",
        405 => "Method not allowed",
        409 => "Conflict with what is stored",
        412 => "Changed meanwhile",
        413 => "Too large",
        415 => "Unsupported media type",
        422 => "Well-formed but invalid",
        429 => "Tried too often",
        503 => "Temporarily unavailable",
        _ => "Refused",
    }
}

/// A merge patch: the same fields, none of them required.
fn all_optional(body: &Body) -> RefOr<Schema> {
    fn loosen(schema: RefOr<Schema>, components: &[(String, RefOr<Schema>)]) -> RefOr<Schema> {
        match schema {
            RefOr::Ref(reference) => {
                let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
                match components.iter().find(|(known, _)| known == name) {
                    Some((_, RefOr::T(schema))) => loosen(RefOr::T(schema.clone()), components),
                    _ => RefOr::Ref(reference),
                }
            }
            RefOr::T(Schema::Object(mut object)) => {
                object.required.clear();
                RefOr::T(Schema::Object(object))
            }
            RefOr::T(Schema::AllOf(mut all)) => {
                all.items = all.items.into_iter().map(|item| loosen(item, components)).collect();
                RefOr::T(Schema::AllOf(all))
            }
            other => other,
        }
    }
    loosen(body.schema.clone(), &body.components)
}

fn parameters(op: &Op) -> Vec<Parameter> {
    let mut all = Vec::new();
    for name in op.path.split(['{', '}']).skip(1).step_by(2) {
        let id = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
        all.push(id.schema(Some(typed(Kind::Id))).build());
    }
    if op.if_match {
        let tag = header("If-Match", "The version that the change is meant for, as its ETag: `\"3\"`.");
        all.push(tag);
    }
    if op.method == actix_web::http::Method::POST {
        all.push(header(
            "Idempotency-Key",
            "A name of the client's own for this request, such as a UUID: sent again with the same body it has its effect once, and is \
             answered as the first time with `Idempotent-Replayed: true`.",
        ));
    }
    if let Some(resource) = &op.list {
        all.extend(page_parameters(resource, !op.exports));
    }
    if let Some(resource) = op.list.as_ref().or(op.narrows.as_ref()) {
        all.extend(filter_parameters(resource));
    }
    if op.exports {
        all.push(query("fields", "Only these columns, in this order, separated by commas.", text()));
        let format = "`csv`, as which it is documented here, or `xlsx`; `csv` unless told.";
        all.push(query("format", format, text()));
    } else if let Some(resource) = op.reshaped() {
        all.push(query("fields", "Only these fields, separated by commas.", text()));
        let relations: Vec<_> =
            resource.all_fields().filter(|f| f.rel().is_some()).map(Field::expanded).collect();
        all.push(query(
            "expand",
            &format!("Small objects instead of ids: {}.", relations.join(", ")),
            text(),
        ));
        if op.shape.is_some() && op.method == actix_web::http::Method::GET {
            all.push(header(
                "If-None-Match",
                "The version that the client has: answered 304 if it is still the current one.",
            ));
        }
    }
    all.extend(op.query.iter().map(|(name, meaning)| query(name, meaning, text())));
    all
}

fn page_parameters(resource: &Resource, paged: bool) -> Vec<Parameter> {
    let whole = |min: f64, max: f64| {
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(min)).maximum(Some(max)).into()
    };
    let mut all = Vec::new();
    if paged {
        all.extend([
            query("limit", "Rows per page; 50 unless told.", whole(1.0, 200.0)),
            query("cursor", "Where the page begins: taken from `next` or `previous`.", text()),
            query("offset", "Rows to skip.", whole(0.0, 10_000.0)),
            query("count", "Whether to count all rows of the query.", typed(Kind::Bool)),
        ]);
    }
    let orderable: Vec<_> = resource.all_fields().filter(|f| f.is_orderable()).map(Field::name).collect();
    let ordering = format!(
        "Fields separated by commas, `-` for descending; newest first unless told. Fields: {}.",
        orderable.join(", ")
    );
    all.push(query("ordering", &ordering, text()));
    all
}

fn filter_parameters(resource: &Resource) -> Vec<Parameter> {
    let mut all = Vec::new();
    if resource.searchable {
        all.push(query(
            "search",
            "Words that the record's text contains, ignoring case and accents.",
            text(),
        ));
    }
    for field in resource.all_fields() {
        all.push(query(field.name(), "Equal to.", typed(field.kind())));
        for operator in field.operators() {
            let schema = match *operator {
                "isnull" => typed(Kind::Bool),
                "in" | "icontains" | "istartswith" => text(),
                _ => typed(field.kind()),
            };
            all.push(query(&format!("{}__{operator}", field.name()), meaning(operator), schema));
        }
    }
    all
}

fn meaning(operator: &str) -> &'static str {
    match operator {
        "ne" => "Not equal to; rows without a value count.",
        "lt" => "Less than.",
        "lte" => "Less than or equal to.",
        "gt" => "Greater than.",
        "gte" => "Greater than or equal to.",
        "in" => "One of these, separated by commas.",
        "isnull" => "Whether there is no value.",
        "icontains" => "Contains, ignoring case.",
        _ => "Starts with, ignoring case.",
    }
}

fn query(name: &str, description: &str, schema: RefOr<Schema>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn header(name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(text()))
        .build()
}

fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

fn typed(kind: Kind) -> RefOr<Schema> {
    let string = ObjectBuilder::new().schema_type(Type::String);
    let format = |format| Some(SchemaFormat::KnownFormat(format));
    match kind {
        Kind::Text => string.into(),
        Kind::Email => string.format(format(KnownFormat::Email)).into(),
        Kind::Choice(words) => string.enum_values(Some(words.iter().copied())).into(),
        Kind::Integer => {
            ObjectBuilder::new().schema_type(Type::Integer).format(format(KnownFormat::Int32)).into()
        }
        Kind::BigInt => {
            ObjectBuilder::new().schema_type(Type::Integer).format(format(KnownFormat::Int64)).into()
        }
        Kind::Number => ObjectBuilder::new().schema_type(Type::Number).into(),
        Kind::Money => string.pattern(Some(r"^\d+(\.\d+)?$")).into(),
        Kind::Bool => ObjectBuilder::new().schema_type(Type::Boolean).into(),
        Kind::Date => string.format(format(KnownFormat::Date)).into(),
        Kind::Timestamp => string.format(format(KnownFormat::DateTime)).into(),
        Kind::Id => string.format(format(KnownFormat::Uuid)).into(),
        Kind::Link(..) => ArrayBuilder::new().items(typed(Kind::Id)).into(),
    }
}

const REDOC_PAGE: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Amphora API</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>body{margin:0}</style></head>
<body><redoc spec-url="/api/schema/" disable-telemetry="true"></redoc>
<script type="module" src="/api/schema/redoc/redoc.standalone.js"></script></body></html>
"#;

/// Scripts and styles from this server only; ReDoc makes its styles and its search worker itself.
const PAGE_POLICY: &str = "default-src 'self'; img-src 'self' data:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; \
    worker-src 'self' blob:; frame-ancestors 'none'";

/// Swagger UI and ReDoc, served from the binary.
pub fn pages(config: &mut ServiceConfig) {
    let swagger =
        utoipa_swagger_ui::Config::new(["/api/schema/"]).try_it_out_enabled(true).persist_authorization(true);
    let swagger = std::sync::Arc::new(swagger);
    config
        .route(
            "/swagger-ui/",
            web::get().to({
                let swagger = swagger.clone();
                move || {
                    let swagger = swagger.clone();
                    async move { asset("", &swagger) }
                }
            }),
        )
        .route(
            "/swagger-ui/{file:.*}",
            web::get().to(move |file: web::Path<String>| {
                let swagger = swagger.clone();
                async move { asset(&file, &swagger) }
            }),
        )
        .route("/api/schema/redoc/", web::get().to(async || page("text/html; charset=utf-8", REDOC_PAGE)))
        .route(
            "/api/schema/redoc/redoc.standalone.js",
            web::get().to(async || page("text/javascript", include_str!("../assets/redoc.standalone.js"))),
        );
}

fn asset(file: &str, swagger: &std::sync::Arc<utoipa_swagger_ui::Config<'static>>) -> HttpResponse {
    match utoipa_swagger_ui::serve(file, swagger.clone()) {
        Ok(Some(found)) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, found.content_type))
            .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
            .body(found.bytes.into_owned()),
        _ => HttpResponse::NotFound().finish(),
    }
}

fn page(content_type: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .insert_header((CACHE_CONTROL, "public, max-age=3600"))
        .body(text)
}
