use crate::find_programs;
use crate::lock::Holder;
use crate::programs::version_of;

use super::{percent_encoded, upgraded_to};

#[test]
fn an_upgrade_under_the_server_is_noticed() {
    let bin_dir = find_programs().unwrap();
    let installed = version_of(&bin_dir).unwrap();
    assert_eq!(upgraded_to(&Holder { version: installed.clone(), bin_dir: bin_dir.clone() }), None);
    assert_eq!(upgraded_to(&Holder { version: "9.0.1".into(), bin_dir }), Some(installed.clone()));
    let removed = Holder { version: installed, bin_dir: "/nowhere".into() };
    assert_eq!(upgraded_to(&removed), Some("none".into()));
}

#[test]
fn percent_encoding_leaves_only_plain_characters() {
    assert_eq!(percent_encoded("/a b/é%:@-._~Z9".as_bytes()), "%2Fa%20b%2F%C3%A9%25%3A%40-._~Z9");
}
