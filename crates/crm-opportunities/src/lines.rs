//! Line items: what a deal consists of. While there are any, their sum is the deal's amount.

mod figures;
mod model;

use crm_access::Require;
use crm_core::body::{self, Object};
use crm_core::{Code, Error, FieldCode, Money, Result, Scope, TenantTx};
use crm_records::custom::Filtered;
use crm_records::list::{Page, Params, Rel, Shaped, SortValues, Value, check_related};
use crm_records::{Base, Edit, Precondition, base_changes, base_columns, base_values};
use crm_schema::{opportunities, opportunity_lines as lines, products};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use iso_currency::Currency;
use serde_json::json;
use uuid::Uuid;

pub use model::{DiscountType, LINES, Line, LineFields};
use model::{LineRow, Product};

use crate::model::{AmountSource, OPPORTUNITIES, Opportunity, currency};
use crate::service::{locked, write};
use crate::stage::{Said, settle_stage};

/// How many lines a deal may have.
const MOST: usize = 500;

/// Lists the lines of an opportunity that the caller may see, in their order.
///
/// # Errors
/// `Forbidden` without `opportunities.view_opportunity`; `NotFound`; 400 for parameters.
pub async fn list(t: &mut TenantTx, deal: Uuid, params: &Params) -> Result<Page<Shaped<Line>>> {
    OPPORTUNITIES.check_view(t, deal).await?;
    let mut params = params.clone();
    if params.get("ordering").is_none() {
        params.pairs.push(("ordering".into(), "sort_order".into()));
    }
    let mut selection = LINES.select(&params, t.caller(), Scope::All)?;
    selection.and(LINES.compare("opportunity_id", "=", Value::Uuid(deal)));
    let currency = currency_of(t, deal).await?;
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, LineRow, SortValues)> = lines::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((base_columns!(lines), LineRow::as_select(), selection.keys()))
                .load(t.conn()?)
                .await?;
            rows.into_iter().map(|(base, row, keys)| Ok((Line::stored(base, row, currency)?, keys))).collect()
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One line of an opportunity that the caller may see.
///
/// # Errors
/// `Forbidden` without `opportunities.view_opportunity`; `NotFound`.
pub async fn find(t: &mut TenantTx, deal: Uuid, id: Uuid) -> Result<Line> {
    OPPORTUNITIES.check_view(t, deal).await?;
    load(t, deal, id).await
}

/// Adds a line to an opportunity.
///
/// # Errors
/// `Forbidden` without `opportunities.change_opportunity` or beyond its scope; `NotFound`; 400 and 422 for the body.
pub async fn create(t: &mut TenantTx, deal: Uuid, body: Object) -> Result<Line> {
    let old = locked(t, OPPORTUNITIES.change, deal).await?;
    let fields: LineFields = body::parse(body)?;
    let product = product(t, None, fields.product_id).await?;
    let code = old.fields.currency.clone();
    let code = code.or_else(|| product.as_ref().map(|product| product.currency.clone()));
    let code = code.unwrap_or_else(|| t.caller().org.currency.clone());
    let currency = currency(&code)?;
    if let Some(product) = &product {
        product.check(&code)?;
    }
    let row = fields.settle(deal, product.as_ref(), currency)?;
    let base = Base::new(t);
    diesel::insert_into(lines::table).values((base_values!(lines, base), &row)).execute(t.conn()?).await?;
    let line = Line::stored(base, row, currency)?;
    count(t, old, currency, (None, Some(&line))).await?;
    Ok(line)
}

/// Changes a line. What the edit leaves as it is makes no new version.
///
/// # Errors
/// `Forbidden` without `opportunities.change_opportunity` or beyond its scope; `NotFound`; `Stale`; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, deal: Uuid, id: Uuid, edit: Edit) -> Result<Line> {
    t.require(OPPORTUNITIES.change)?;
    let deal = locked(t, OPPORTUNITIES.change, deal).await?;
    let old = load(t, deal.base.id, id).await?;
    let fields: LineFields = edit.fields(&old, &old.base, Line::READ_ONLY)?;
    let product = product(t, old.product_id, fields.product_id).await?;
    let currency = currency(&old.currency)?;
    if let Some(product) = product.as_ref().filter(|_| fields.product_id != old.product_id) {
        product.check(&old.currency)?;
    }
    let row = fields.settle(deal.base.id, product.as_ref(), currency)?;
    let mut line = Line::stored(old.base.clone(), row.clone(), currency)?;
    if line == old {
        return Ok(old);
    }
    line.base = old.base.next(t);
    diesel::update(lines::table.filter(lines::org_id.eq(t.org()).and(lines::id.eq(id))))
        .set((base_changes!(lines, line.base), &row))
        .execute(t.conn()?)
        .await?;
    count(t, deal, currency, (Some(&old), Some(&line))).await?;
    Ok(line)
}

/// Takes a line from its opportunity.
///
/// # Errors
/// `Forbidden` without `opportunities.change_opportunity` or beyond its scope; `NotFound`; `Stale`; 422 for the last line of a won deal.
pub async fn delete(t: &mut TenantTx, deal: Uuid, id: Uuid, precondition: &Precondition) -> Result<()> {
    t.require(OPPORTUNITIES.change)?;
    let deal = locked(t, OPPORTUNITIES.change, deal).await?;
    let old = load(t, deal.base.id, id).await?;
    precondition.check(&old.base)?;
    diesel::delete(lines::table.filter(lines::org_id.eq(t.org()).and(lines::id.eq(id))))
        .execute(t.conn()?)
        .await?;
    count(t, deal, currency(&old.currency)?, (Some(&old), None)).await
}

/// Makes the deal's amount the sum of its lines, and tells its history of the line. The deal's row is locked.
async fn count(
    t: &mut TenantTx,
    deal: Opportunity,
    currency: Currency,
    line: (Option<&Line>, Option<&Line>),
) -> Result<()> {
    let totals: Vec<i64> = lines::table
        .filter(lines::org_id.eq(t.org()).and(lines::opportunity_id.eq(deal.base.id)))
        .select(lines::total)
        .load(t.conn()?)
        .await?;
    if totals.len() > MOST {
        let message = format!("an opportunity may have {MOST} line items at most");
        return Err(Error::Refused(Code::Conflict, message.into()));
    }
    let sum = totals.iter().try_fold(0_i64, |sum, total| sum.checked_add(*total));
    let sum = sum.filter(|sum| *sum <= Money::MAX_MINOR).ok_or_else(|| {
        Error::field(
            "quantity",
            FieldCode::OutOfRange,
            "all lines together are worth too much: twelve digits at most",
        )
    })?;
    let amount = Money::Stored(sum).settle(currency).map_err(Error::internal)?;
    let (mut fields, mut kept) = (deal.fields.clone(), deal.kept.clone());
    fields.amount = Some(amount);
    fields.currency = Some(currency.code().to_owned());
    kept.amount_source = if totals.is_empty() { AmountSource::Manual } else { AmountSource::Calculated };
    settle_stage(t, Some((&deal.fields, &deal.kept)), &mut fields, &mut kept, Said::default())?;
    let shown = |line: Option<&Line>| {
        line.map(|line| {
            json!({"id": line.base.id, "name": line.name, "quantity": line.quantity, "unit_price": line.unit_price,
                "total": line.total})
        })
    };
    let further = Object::from_iter([("lines".to_owned(), json!([shown(line.0), shown(line.1)]))]);
    let new = Opportunity { fields, kept, ..deal.clone() };
    write(t, &deal, new, Filtered::default(), further).await.map(drop)
}

/// The product that a line is to have, once the caller may look at it; one that the line has already is looked up without that.
async fn product(t: &mut TenantTx, old: Option<Uuid>, new: Option<Uuid>) -> Result<Option<Product>> {
    let Some(id) = new else { return Ok(None) };
    if old != new {
        check_related(t, Rel::Product, "product_id", &[id]).await?;
    }
    let row = products::table.filter(products::org_id.eq(t.org()).and(products::id.eq(id)));
    Ok(Some(row.select(Product::as_select()).first(t.conn()?).await?))
}

async fn currency_of(t: &mut TenantTx, deal: Uuid) -> Result<Currency> {
    let row = opportunities::table.filter(opportunities::org_id.eq(t.org()).and(opportunities::id.eq(deal)));
    let code: Option<String> = row.select(opportunities::currency).first(t.conn()?).await?;
    // None where there has never been a line.
    currency(&code.unwrap_or_else(|| t.caller().org.currency.clone()))
}

/// A line of a deal.
async fn load(t: &mut TenantTx, deal: Uuid, id: Uuid) -> Result<Line> {
    let (base, row): (Base, LineRow) = lines::table
        .filter(lines::org_id.eq(t.org()).and(lines::id.eq(id)).and(lines::opportunity_id.eq(deal)))
        .select((base_columns!(lines), LineRow::as_select()))
        .first(t.conn()?)
        .await?;
    let currency = currency_of(t, deal).await?;
    Line::stored(base, row, currency)
}
