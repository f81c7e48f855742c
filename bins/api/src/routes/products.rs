use crm_products::Products;

use super::records::module_routes;
use crate::operation::Routes;

pub(super) fn routes(r: &mut Routes) {
    module_routes!(r, Products, "products", "product", list: "List products");
}
