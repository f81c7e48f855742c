use crm_leads::Leads;

use super::records::module_routes;
use crate::operation::Routes;

pub(super) fn routes(r: &mut Routes) {
    module_routes!(r, Leads, "leads", "lead", list: "List leads, without converted ones unless status is given");
}
