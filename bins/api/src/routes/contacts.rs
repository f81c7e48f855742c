use crm_contacts::Contacts;

use super::records::{merge_routes, module_routes};
use crate::operation::Routes;

pub(super) fn routes(r: &mut Routes) {
    module_routes!(r, Contacts, "contacts", "contact", list: "List contacts");
    merge_routes!(r, Contacts, "contacts", "contact");
}
