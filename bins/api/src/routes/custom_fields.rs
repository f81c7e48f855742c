use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_custom_fields::{self as custom_fields, CUSTOM_FIELDS, CustomField, CustomFieldFields};
use crm_records::list::{Page, Shaped};

use crate::extract::{Change, Ctx, IfMatch, Json, Pk, Query, View, created};
use crate::operation::Permit::{Member, Permission};
use crate::operation::{Op, Routes};
use crate::problem::Problem;

const INCLUDE_COUNTS: &[(&str, &str)] = &[(
    "include_counts",
    "Whether to count the records that have no value, for whoever has `custom_fields.view_custom_field`: reads all records.",
)];

pub(super) fn routes(r: &mut Routes) {
    let change = Permission("custom_fields.change_custom_field");
    r.add(
        Op::get(
            "/api/custom-fields/",
            "list_custom_fields",
            Member,
            "List the organization's own fields, those of modules that one may look at",
        )
        .lists(CUSTOM_FIELDS)
        .takes_query(INCLUDE_COUNTS)
        .answers_page::<CustomField>(),
        list,
    )
    .add(
        Op::post(
            "/api/custom-fields/",
            "create_custom_field",
            Permission("custom_fields.add_custom_field"),
            "Define a field",
        )
        .takes::<CustomFieldFields>()
        .answers::<CustomField>(201)
        .refuses(&[409]),
        create,
    )
    .add(
        Op::get("/api/custom-fields/{id}/", "get_custom_field", Member, "One definition")
            .shaped(CUSTOM_FIELDS)
            .takes_query(INCLUDE_COUNTS)
            .answers::<CustomField>(200),
        find,
    )
    .add(
        Op::put(
            "/api/custom-fields/{id}/",
            "replace_custom_field",
            change,
            "Replace a definition; target, key and field_type stay as they were made",
        )
        .takes::<CustomFieldFields>()
        .answers::<CustomField>(200)
        .refuses(&[409]),
        update,
    )
    .add(
        Op::patch("/api/custom-fields/{id}/", "change_custom_field", change, "Change a definition")
            .takes::<CustomFieldFields>()
            .answers::<CustomField>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::delete(
            "/api/custom-fields/{id}/",
            "delete_custom_field",
            Permission("custom_fields.delete_custom_field"),
            "Deactivate a field: its values are kept and shown again once it is active",
        ),
        deactivate,
    );
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<CustomField>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| custom_fields::list(t, &query.0).await).await?))
}

async fn create(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    let field = ctx.tenant(async |t| custom_fields::create(t, body::parse(json.0)?).await).await?;
    Ok(created("custom-fields", &field.base, &field))
}

async fn find(ctx: Ctx, id: Pk, query: Query, view: View) -> Result<HttpResponse, Problem> {
    let (base, field, counted) = ctx
        .tenant(async |t| {
            let field = custom_fields::find(t, id.0, &query.0).await?;
            let counted = field.records_missing_value.is_some();
            Ok((field.base.clone(), view.shape(t, &CUSTOM_FIELDS, field).await?, counted))
        })
        .await?;
    // A count changes without the definition.
    Ok(if counted { view.composed(&base, &field) } else { view.ok(&base, &field) })
}

async fn update(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let field = ctx.tenant(async |t| custom_fields::update(t, id.0, change.0).await).await?;
    Ok(view.ok(&field.base, &field))
}

async fn deactivate(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| custom_fields::deactivate(t, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}
