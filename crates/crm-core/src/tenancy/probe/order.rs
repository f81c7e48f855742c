//! Which table comes first when every row needs those it refers to.

use std::collections::BTreeSet;

use crate::tenancy::catalog::{ForeignKey, Relation};

/// The tenant tables and what their rows can't do without, each after the tables it refers to: without fail where it must
/// refer, and otherwise unless they go in a circle.
pub(super) fn parents_first(all: &[Relation]) -> Vec<&Relation> {
    let mut left = needed(all);
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let still_left = |targets: BTreeSet<&str>| {
            left.iter().filter(|table| targets.contains(table.name.as_str())).count()
        };
        let cost =
            |(_, table): &(usize, &&Relation)| (still_left(must_refer(table)), still_left(may_refer(table)));
        let next = left.iter().enumerate().min_by_key(cost).map_or(0, |(position, _)| position);
        ordered.push(left.remove(next));
    }
    ordered
}

/// The tenant tables, and every table that a row of theirs must refer to, directly or not.
fn needed(all: &[Relation]) -> Vec<&Relation> {
    let mut found: Vec<&Relation> = all.iter().filter(|table| table.is_tenant()).collect();
    let mut seen = 0;
    while let Some(table) = found.get(seen).copied() {
        let parents = must_refer(table);
        let is_new = |other: &&Relation| !found.iter().any(|table| table.name == other.name);
        let new: Vec<_> =
            all.iter().filter(|other| parents.contains(other.name.as_str())).filter(is_new).collect();
        found.extend(new);
        seen += 1;
    }
    found
}

/// The other tables that a row of `table` must refer to.
fn must_refer(table: &Relation) -> BTreeSet<&str> {
    let is_required = |(here, _): &(String, String)| table.column(here).is_some_and(|column| column.not_null);
    targets(table, |key| key.columns.iter().all(is_required))
}

/// The other tables that a row of `table` may refer to.
fn may_refer(table: &Relation) -> BTreeSet<&str> {
    targets(table, |_| true)
}

fn targets(table: &Relation, which: impl Fn(&ForeignKey) -> bool) -> BTreeSet<&str> {
    let keys = table.foreign_keys.iter().filter(|key| key.target != table.name && which(key));
    keys.map(|key| key.target.as_str()).collect()
}
