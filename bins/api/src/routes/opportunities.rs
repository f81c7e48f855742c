use crm_opportunities::Opportunities;

use super::records::module_routes;
use crate::operation::Routes;

pub(super) fn routes(r: &mut Routes) {
    module_routes!(
        r,
        Opportunities,
        "opportunities",
        "opportunity",
        list: "List opportunities",
        filters: crm_opportunities::FILTERS
    );
}
