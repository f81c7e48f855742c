use crm_access::Require;
use crm_core::{Error, FieldCode, Result, TenantTx};
use crm_records::custom::CustomChange;
use crm_records::list::{Page, Params, Shaped, SortValues, Value, Where};
use crm_records::{
    Base, Described, Edit, LinkIds, Links, Module, Precondition, RecordInput, Update, base_changes,
    base_columns, base_values, created, deleted, diff, tell_assignees, updated, updated_many,
};
use crm_schema::{opportunity_lines as lines, products};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use crate::model::{PRODUCTS, Product, ProductFields, ProductRow};

/// The kind of record and its module.
const PRODUCT: (&str, &str) = (PRODUCTS.resource.kind, "products");

crm_records::module!(
    /// Products, for what serves every module alike.
    Products {
        name: PRODUCT.1,
        target: PRODUCTS,
        add: "products.add_product",
        delete: "products.delete_product",
        fields: ProductFields,
        record: Product
    }
);

/// What makes a product, to select into a [`ProductRow`], and what is wanted beside it.
macro_rules! product_columns {
    ($($beside:expr)?) => {
        (
            base_columns!(products),
            ProductFields::as_select(),
            products::is_sample,
            LinkIds::of("products"),
            $($beside,)?
        )
    };
}

/// Lists the products, newest first.
///
/// # Errors
/// `Forbidden` without `products.view_product`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Product>>> {
    let scope = t.require(PRODUCTS.view)?;
    let selection = PRODUCTS.select(t, params, scope).await?;
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, ProductFields, bool, Links, SortValues)> = products::table
                .filter(f.filter)
                .order_by(f.slice)
                .select(product_columns!(selection.keys()))
                .load(t.conn()?)
                .await?;
            rows.into_iter()
                .map(|(base, fields, is_sample, links, keys)| {
                    Ok((Product::stored((base, fields, is_sample, links))?, keys))
                })
                .collect()
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One product.
///
/// # Errors
/// `Forbidden` without `products.view_product`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Product> {
    let scope = t.require(PRODUCTS.view)?;
    let filter = PRODUCTS.one(t, scope, id);
    load(t, filter).await
}

/// Adds a product.
///
/// # Errors
/// `Forbidden` without `products.add_product`; `Duplicate` for an article number that another product has; 422.
pub async fn create(t: &mut TenantTx, input: RecordInput<ProductFields>) -> Result<Product> {
    t.require(Products::ADD)?;
    let fields = input.fields.settle(&t.caller().org.currency)?;
    refuse_custom(&input.custom)?;
    let product = Product { base: Base::new(t), fields, is_sample: false, links: input.links };
    created(t, PRODUCT.0, &product.base, Some(&product.fields.described())).await?;
    diesel::insert_into(products::table)
        .values((
            base_values!(products, product.base),
            &product.fields,
            products::currency.eq(product.fields.currency.as_deref().unwrap_or_default()),
            products::is_sample.eq(product.is_sample),
        ))
        .execute(t.conn()?)
        .await
        .map_err(sku_taken)?;
    let none = Links::default();
    product.links.store(t, product.base.id, &none).await?;
    let name = product.fields.name.clone();
    tell_assignees(t, PRODUCT, product.base.id, name, (&none, &product.links)).await?;
    Ok(product)
}

/// Changes a product. What the edit leaves as it is makes no new version; lines of deals keep what they were made with.
///
/// # Errors
/// `Forbidden` without `products.change_product`; `NotFound`; `Stale`; `Duplicate`; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<Product> {
    let old = locked(t, PRODUCTS.change, id).await?;
    let input: RecordInput<ProductFields> = edit.input(&old, &old.base, Product::READ_ONLY)?;
    let fields = input.fields.settle(&t.caller().org.currency)?;
    refuse_custom(&input.custom)?;
    if fields == old.fields && input.links == old.links {
        return Ok(old);
    }
    let new = Product { base: old.base.next(t), fields, links: input.links, ..old.clone() };
    diesel::update(products::table.filter(products::org_id.eq(t.org()).and(products::id.eq(id))))
        .set((
            base_changes!(products, new.base),
            &new.fields,
            products::currency.eq(new.fields.currency.as_deref().unwrap_or_default()),
        ))
        .execute(t.conn()?)
        .await
        .map_err(sku_taken)?;
    new.links.store(t, id, &old.links).await?;
    tell_assignees(t, PRODUCT, id, new.fields.name.clone(), (&old.links, &new.links)).await?;
    let described = new.fields.described();
    let described = (described != old.fields.described()).then_some(described);
    updated(t, PRODUCT.0, &new.base, diff(&old, &new)?, described.as_ref()).await?;
    Ok(new)
}

/// Deletes a product. Lines of deals stay, without it.
///
/// # Errors
/// `Forbidden` without `products.delete_product`; `NotFound`; `Stale`.
pub async fn delete(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    let old = locked(t, Products::DELETE, id).await?;
    precondition.check(&old.base)?;
    leave_lines(t, id).await?;
    deleted(t, PRODUCT.0, id).await
}

/// Takes a product from the lines of deals, each of which is another version then, as the histories of their deals say. A line is no
/// record that knows products by itself, so it is changed from here.
async fn leave_lines(t: &mut TenantTx, product: Uuid) -> Result<()> {
    let these = lines::org_id.eq(t.org()).and(lines::product_id.eq(product));
    let left: Vec<(Uuid, Uuid)> = diesel::update(lines::table.filter(these))
        .set((
            lines::product_id.eq(None::<Uuid>),
            lines::version.eq(lines::version + 1),
            lines::updated_at.eq(t.now()),
            lines::updated_by.eq(t.actor()),
        ))
        .returning((lines::opportunity_id, lines::id))
        .get_results(t.conn()?)
        .await?;
    let change = |(deal, line)| {
        let change = json!([{"id": line, "product_id": product}, {"id": line, "product_id": null}]);
        Update { id: deal, version: None, fields: [("lines".to_owned(), change)].into_iter().collect() }
    };
    updated_many(t, "opportunity", t.actor(), left.into_iter().map(change).collect()).await
}

/// At most `limit` products behind an id, by id, with how each is found; locked against changes until the transaction ends.
///
/// # Errors
/// Those of the database.
pub async fn describe(t: &mut TenantTx, after: Option<Uuid>, limit: i64) -> Result<Vec<(Uuid, Described)>> {
    let rows: Vec<(Uuid, ProductFields)> = products::table
        .filter(products::org_id.eq(t.org()).and(products::id.gt(after.unwrap_or_default())))
        .order_by(products::id)
        .limit(limit)
        .select((products::id, ProductFields::as_select()))
        .for_share()
        .load(t.conn()?)
        .await?;
    Ok(rows.into_iter().map(|(id, fields)| (id, fields.described())).collect())
}

async fn load(t: &mut TenantTx, filter: Where) -> Result<Product> {
    let row =
        products::table.filter(filter).select(product_columns!()).first::<ProductRow>(t.conn()?).await?;
    Product::stored(row)
}

/// The product with its row locked before the permission for it is judged.
async fn locked(t: &mut TenantTx, permission: &'static str, id: Uuid) -> Result<Product> {
    let row = products::table.filter(products::org_id.eq(t.org()).and(products::id.eq(id)));
    row.select(products::id).for_update().first::<Uuid>(t.conn()?).await?;
    PRODUCTS.check(t, permission, id).await?;
    let only = PRODUCTS.resource.compare("id", "=", Value::Uuid(id));
    load(t, Where(vec![PRODUCTS.resource.in_org(t.org()), only])).await
}

/// Products have no fields of an organization's own: any is unknown.
fn refuse_custom(change: &CustomChange) -> Result<()> {
    let (CustomChange::Merge(sent) | CustomChange::Replace(sent)) = change else { return Ok(()) };
    sent.keys().next().map_or(Ok(()), |key| {
        let message = "products have no custom fields";
        Err(Error::field(format!("custom_fields.{key}"), FieldCode::UnknownField, message))
    })
}

fn sku_taken(error: diesel::result::Error) -> Error {
    let message = "another product of the organization has this article number";
    Error::unique(error, "products_org_id_sku_key", "sku", message)
}
