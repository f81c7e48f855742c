pub(super) fn routes(_: &mut crate::operation::Routes) {}
