//! Custom fields as services use them, on a real database as the application role: leads are the records.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unexpected fails")]

use crm_core::{Caller, Code, Db, Error, OrgId, OrgInfo, Result, body};
use crm_custom_fields::{Backfill, CustomField, backfill, create, deactivate, find, update};
use crm_leads::Lead;
use crm_records::list::{Params, Shaped};
use crm_records::{Edit, Precondition, RecordInput};
use crm_schema::{custom_fields, custom_values, leads, organizations, records};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

/// An organization in which the program itself acts.
struct Org {
    db: Db,
    caller: Caller,
}

impl Org {
    async fn new() -> Self {
        let db = crm_testkit::shared_db().await;
        let (id, name) = (OrgId::generate(), "Test".to_owned());
        let info = OrgInfo { id, name, currency: "EUR".into(), timezone: chrono_tz::Europe::Berlin };
        let row = (organizations::id.eq(info.id), organizations::name.eq("Test"));
        db.platform(async |p| -> Result<()> {
            diesel::insert_into(organizations::table).values(row).execute(p.conn()?).await?;
            Ok(())
        })
        .await
        .unwrap();
        Self { db, caller: Caller::system(info) }
    }

    async fn define(&self, key: &str, field_type: &str, more: Value) -> CustomField {
        let mut fields = json!({"target": "leads", "key": key, "label": key, "field_type": field_type});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let fields = fields.as_object().unwrap().clone();
        self.db.tenant(&self.caller, async |t| create(t, body::parse(fields)?).await).await.unwrap()
    }

    async fn redefine(&self, field: &CustomField, change: Value) -> Result<CustomField> {
        let (id, edit) = (field.base.id, Edit::patch(change.as_object().unwrap().clone()));
        self.db.tenant(&self.caller, async |t| update(t, id, edit).await).await
    }

    async fn add(&self, body: Value) -> Result<Lead> {
        let body = body.as_object().unwrap().clone();
        self.db.tenant(&self.caller, async |t| crm_leads::create(t, RecordInput::parse(body)?).await).await
    }

    async fn lead(&self, custom: Value) -> Lead {
        self.add(json!({"custom_fields": custom})).await.unwrap()
    }

    async fn write(&self, lead: &Lead, partial: bool, body: Value) -> Result<Lead> {
        let body = body.as_object().unwrap().clone();
        let edit = Edit { body, partial, precondition: Precondition::default() };
        self.db.tenant(&self.caller, async |t| crm_leads::update(t, lead.base.id, edit).await).await
    }

    async fn patch(&self, lead: &Lead, custom: Value) -> Result<Lead> {
        self.write(lead, true, json!({"custom_fields": custom})).await
    }

    async fn shown(&self, lead: &Lead) -> Value {
        shown(&self.db.tenant(&self.caller, async |t| crm_leads::find(t, lead.base.id).await).await.unwrap())
    }

    /// The ids that a list answers, oldest first.
    async fn found(&self, params: &[(&str, &str)]) -> Result<Vec<Uuid>> {
        let params = Params::of(&[params, &[("ordering", "created_at"), ("limit", "200")]].concat());
        let page = self.db.tenant(&self.caller, async |t| crm_leads::list(t, &params).await).await?;
        let id = |lead| match lead {
            Shaped::Plain(Lead { base, .. }) => base.id,
            Shaped::Value(_) => panic!("no shape was asked for"),
        };
        Ok(page.results.into_iter().map(id).collect())
    }

    /// Which turning on of a field's filter is under way.
    async fn backfill_id(&self, field: &CustomField) -> Option<Uuid> {
        let id = async |t: &mut crm_core::TenantTx| -> Result<Option<Uuid>> {
            let this = custom_fields::org_id.eq(t.org()).and(custom_fields::id.eq(field.base.id));
            Ok(custom_fields::table.filter(this).select(custom_fields::backfill_id).first(t.conn()?).await?)
        };
        self.db.tenant(&self.caller, id).await.unwrap()
    }

    /// Does one job of turning a filter on.
    async fn fill(&self, field: &CustomField, backfill_id: Uuid, after: Option<Uuid>) {
        let job = Backfill { definition_id: field.base.id, backfill_id, after };
        self.db.tenant(&self.caller, async |t| backfill(t, job).await).await.unwrap();
    }

    /// The values that filters look at.
    async fn indexed(&self) -> i64 {
        let count = async |t: &mut crm_core::TenantTx| -> Result<i64> {
            let mine = custom_values::table.filter(custom_values::org_id.eq(t.org()));
            Ok(mine.count().get_result(t.conn()?).await?)
        };
        self.db.tenant(&self.caller, count).await.unwrap()
    }
}

fn shown(lead: &Lead) -> Value {
    serde_json::to_value(&lead.custom_fields).unwrap()
}

/// The code of a refusal, and its fields with theirs.
#[track_caller]
fn refusal<T>(result: Result<T>) -> (Code, Vec<(String, &'static str)>) {
    match result {
        Err(Error::Fields(code, fields)) => {
            (code, fields.into_iter().map(|fault| (fault.field, fault.code.as_str())).collect())
        }
        Err(other) => (other.code(), Vec::new()),
        Ok(_) => panic!("this was to be refused"),
    }
}

fn fault(field: &str, code: &'static str) -> (Code, Vec<(String, &'static str)>) {
    (Code::ValidationFailed, vec![(field.to_owned(), code)])
}

fn choices(words: &[&str]) -> Value {
    json!({"options": words.iter().map(|word| json!({"value": word, "label": word})).collect::<Vec<_>>()})
}

#[tokio::test]
async fn every_type_takes_what_it_says_and_nothing_else() {
    let org = Org::new().await;
    for field_type in ["text", "textarea", "number", "date", "checkbox"] {
        org.define(field_type, field_type, json!({})).await;
    }
    org.define("dropdown", "dropdown", choices(&["small", "large"])).await;
    for (key, value, want) in [
        ("text", json!(" Oak "), Ok(json!("Oak"))),
        ("text", json!("ö".repeat(255)), Ok(json!("ö".repeat(255)))),
        ("text", json!("x".repeat(256)), Err("too_long")),
        ("text", json!("two\nlines"), Err("invalid_value")),
        ("text", json!("a\u{0}b"), Err("invalid_value")),
        ("text", json!(5), Err("wrong_type")),
        ("text", json!(["a"]), Err("wrong_type")),
        ("textarea", json!("two\nlines"), Ok(json!("two\nlines"))),
        ("textarea", json!("x".repeat(10_000)), Ok(json!("x".repeat(10_000)))),
        ("textarea", json!("x".repeat(10_001)), Err("too_long")),
        ("textarea", json!("a\u{0}b"), Err("invalid_value")),
        ("number", json!(12.5), Ok(json!(12.5))),
        ("number", json!(5.0), Ok(json!(5))),
        ("number", json!(-0.0), Ok(json!(0))),
        ("number", json!(-999_999_999_999_999_i64), Ok(json!(-999_999_999_999_999_i64))),
        ("number", json!(1e300), Ok(json!(1e300))),
        ("number", json!(1e16), Ok(json!(10_000_000_000_000_000_i64))),
        ("number", json!(0.000_000_1), Ok(json!(0.000_000_1))),
        ("number", json!(1_234_567_890_123_456_i64), Err("out_of_range")),
        ("number", json!(u64::MAX), Err("out_of_range")),
        ("number", json!(0.123_456_789_012_345_6), Err("out_of_range")),
        ("number", json!("12"), Err("wrong_type")),
        ("number", json!("NaN"), Err("wrong_type")),
        ("number", json!(true), Err("wrong_type")),
        ("checkbox", json!(false), Ok(json!(false))),
        ("checkbox", json!("true"), Err("wrong_type")),
        ("checkbox", json!(1), Err("wrong_type")),
        ("date", json!("2027-01-31"), Ok(json!("2027-01-31"))),
        ("date", json!("2027-02-30"), Err("invalid_value")),
        ("date", json!("31.1.2027"), Err("invalid_value")),
        ("date", json!("12027-01-31"), Err("invalid_value")),
        ("date", json!(20_270_131), Err("wrong_type")),
        ("dropdown", json!("small"), Ok(json!("small"))),
        ("dropdown", json!("Small"), Err("not_a_choice")),
        ("dropdown", json!(["small"]), Err("wrong_type")),
    ] {
        let result = org.add(json!({"custom_fields": {key: value}})).await;
        match want {
            Ok(kept) => {
                let lead = result.unwrap();
                assert_eq!(shown(&lead), json!({key: kept}), "{value}");
                assert_eq!(org.shown(&lead).await, json!({key: kept}), "{value} as it is read back");
                let same = org.patch(&lead, json!({key: value})).await.unwrap();
                assert_eq!(same.base.version, 1, "{value} written again is no change");
            }
            Err(code) => assert_eq!(refusal(result), fault(&format!("custom_fields.{key}"), code), "{value}"),
        }
    }
    for nothing in [json!(null), json!(""), json!("  ")] {
        for key in ["text", "textarea", "number", "date", "checkbox", "dropdown"] {
            assert_eq!(shown(&org.lead(json!({key: nothing})).await), json!({}), "{key} {nothing}");
        }
    }
}

#[tokio::test]
async fn every_fault_of_a_body_is_named_at_once() {
    let org = Org::new().await;
    org.define("budget", "number", json!({"is_required": true})).await;
    let old = org.define("wood", "text", json!({})).await;
    org.db
        .tenant(&org.caller, async |t| deactivate(t, old.base.id, &Precondition::default()).await)
        .await
        .unwrap();
    let (code, fields) = refusal(org.add(json!({"custom_fields": {"bugdet": 1, "wood": "oak"}})).await);
    let want = [("bugdet", "unknown_field"), ("wood", "inactive"), ("budget", "required")];
    let want: Vec<_> = want.map(|(key, code)| (format!("custom_fields.{key}"), code)).into();
    assert_eq!((code, fields), (Code::ValidationFailed, want));
    match org.add(json!({"custom_fields": {"bugdet": null, "budget": 1}})).await {
        Err(Error::Fields(_, faults)) => {
            assert!(faults[0].message.ends_with("did you mean budget?"), "{faults:?}")
        }
        other => panic!("{other:?}"),
    }
    let many: serde_json::Map<_, _> = (0..200).map(|i| (format!("key{i}"), json!(i))).collect();
    assert_eq!(
        refusal(org.add(json!({"custom_fields": many})).await).1[0],
        ("custom_fields".into(), "too_long")
    );
    let long = org.add(json!({"custom_fields": {"x".repeat(10_000): 1, "budget": 1}})).await;
    assert!(refusal(long).1[0].0.len() < 200, "what is echoed is cut");
    let malformed = |field: &str| (Code::MalformedRequest, vec![(field.to_owned(), "wrong_type")]);
    for wrong in [json!([]), json!("{}"), json!(5)] {
        assert_eq!(refusal(org.add(json!({"custom_fields": wrong})).await), malformed("custom_fields"));
    }
    let (code, fields) = refusal(org.add(json!({"title": 5, "custom_fields": 5})).await);
    assert_eq!((code, fields.len()), (Code::MalformedRequest, 2), "together with those of other fields");
}

#[tokio::test]
async fn a_patch_merges_and_a_put_replaces() {
    let org = Org::new().await;
    for key in ["a", "b", "c"] {
        org.define(key, "text", json!({})).await;
    }
    let lead = org.lead(json!({"a": "1", "b": "2"})).await;
    let lead = org.patch(&lead, json!({"b": null, "c": "3"})).await.unwrap();
    assert_eq!(shown(&lead), json!({"a": "1", "c": "3"}));
    let lead = org.write(&lead, true, json!({"title": "Untouched"})).await.unwrap();
    assert_eq!(shown(&lead), json!({"a": "1", "c": "3"}));
    assert_eq!(
        refusal(org.patch(&lead, json!({"d": null})).await),
        fault("custom_fields.d", "unknown_field")
    );
    let lead = org.write(&lead, false, json!({"custom_fields": {"b": "4"}})).await.unwrap();
    assert_eq!(shown(&lead), json!({"b": "4"}));
    let lead = org.write(&lead, false, json!({"title": "Nothing else"})).await.unwrap();
    assert_eq!(shown(&lead), json!({}), "PUT clears what is left out");
    let lead = org.patch(&lead, json!({"a": "1"})).await.unwrap();
    assert_eq!(shown(&org.patch(&lead, Value::Null).await.unwrap()), json!({}), "null clears all");
}

#[tokio::test]
async fn what_became_required_later_is_asked_for_when_custom_fields_are_written() {
    let org = Org::new().await;
    let budget = org.define("budget", "number", json!({})).await;
    org.define("wood", "text", json!({})).await;
    let lead = org.lead(json!({"wood": "oak"})).await;
    org.redefine(&budget, json!({"is_required": true})).await.unwrap();
    let required = fault("custom_fields.budget", "required");
    let lead = org.write(&lead, true, json!({"title": "No custom field"})).await.unwrap();
    assert_eq!(refusal(org.patch(&lead, json!({"wood": "elm"})).await), required);
    assert_eq!(refusal(org.patch(&lead, json!({})).await), required);
    assert_eq!(refusal(org.write(&lead, false, json!({"title": "x"})).await), required);
    assert_eq!(refusal(org.add(json!({"title": "x"})).await), required);
    assert_eq!(refusal(org.add(json!({"custom_fields": {"budget": ""}})).await), required);
    let lead = org.patch(&lead, json!({"budget": 0})).await.unwrap();
    assert_eq!(shown(&lead), json!({"budget": 0, "wood": "oak"}));
    assert_eq!(refusal(org.patch(&lead, json!({"budget": null})).await), required);
}

#[tokio::test]
async fn an_inactive_field_keeps_its_values_out_of_sight() {
    let org = Org::new().await;
    let wood = org.define("wood", "text", json!({"is_filterable": true, "is_required": true})).await;
    org.define("size", "text", json!({})).await;
    let lead = org.lead(json!({"wood": "oak", "size": "big"})).await;
    org.db
        .tenant(&org.caller, async |t| deactivate(t, wood.base.id, &Precondition::default()).await)
        .await
        .unwrap();
    assert_eq!(org.shown(&lead).await, json!({"size": "big"}));
    assert_eq!(
        refusal(org.patch(&lead, json!({"wood": "elm"})).await),
        fault("custom_fields.wood", "inactive")
    );
    assert_eq!(refusal(org.found(&[("cf_wood", "oak")]).await).0, Code::InvalidParameter);
    let lead = org.patch(&lead, json!({"size": "small"})).await.unwrap();
    let lead = org.write(&lead, false, json!({"custom_fields": {}})).await.unwrap();
    assert_eq!(shown(&lead), json!({}));
    let wood = org.redefine(&wood, json!({"is_active": true})).await.unwrap();
    assert_eq!(org.shown(&lead).await, json!({"wood": "oak"}), "carried over by every change");
    assert_eq!(org.found(&[("cf_wood", "oak")]).await.unwrap(), [lead.base.id]);
    assert_eq!(wood.base.version, 3);
}

#[tokio::test]
async fn a_value_stays_when_its_option_goes() {
    let org = Org::new().await;
    let mut more = choices(&["oak", "elm"]);
    more["is_filterable"] = json!(true);
    let wood = org.define("wood", "dropdown", more).await;
    org.define("size", "text", json!({})).await;
    let lead = org.lead(json!({"wood": "elm"})).await;
    org.redefine(&wood, choices(&["oak"])).await.unwrap();
    assert_eq!(org.shown(&lead).await, json!({"wood": "elm"}));
    let lead = org.patch(&lead, json!({"size": "big"})).await.unwrap();
    let lead = org.write(&lead, false, json!({"custom_fields": {"wood": "elm"}})).await.unwrap();
    assert_eq!(shown(&lead), json!({"wood": "elm"}), "what is stored can be written back");
    let gone = fault("custom_fields.wood", "not_a_choice");
    assert_eq!(refusal(org.add(json!({"custom_fields": {"wood": "elm"}})).await), gone);
    assert_eq!(
        org.found(&[("cf_wood__ne", "oak"), ("cf_wood__isnull", "false")]).await.unwrap(),
        [lead.base.id]
    );
    let lead = org.patch(&lead, json!({"wood": "oak"})).await.unwrap();
    assert_eq!(refusal(org.patch(&lead, json!({"wood": "elm"})).await), gone);
}

#[tokio::test]
async fn filters_find_what_they_say() {
    let org = Org::new().await;
    let on = json!({"is_filterable": true});
    for (key, field_type) in
        [("wood", "text"), ("budget", "number"), ("due", "date"), ("paid", "checkbox"), ("wood__ne", "text")]
    {
        org.define(key, field_type, on.clone()).await;
    }
    let mut more = choices(&["small", "large"]);
    more["is_filterable"] = json!(true);
    org.define("size", "dropdown", more).await;
    org.define("notes", "textarea", json!({})).await;
    let a = org
        .lead(json!({"wood": "Oak 100%", "budget": -2.5, "due": "2027-01-31", "paid": true, "size": "small"}))
        .await;
    let b = org
        .lead(json!({"wood": "elm", "budget": 1000, "due": "2027-02-01", "paid": false, "size": "large"}))
        .await;
    let c = org.lead(json!({"budget": 0, "notes": "none", "wood__ne": "x"})).await;
    let (a, b, c) = (a.base.id, b.base.id, c.base.id);
    for (key, value, want) in [
        ("cf_wood", "elm", vec![b]),
        ("cf_wood", "Elm", vec![]),
        ("cf_wood__ne", "x", vec![c]),
        ("cf_wood__in", "elm,Oak 100%", vec![a, b]),
        ("cf_wood__isnull", "true", vec![c]),
        ("cf_wood__isnull", "false", vec![a, b]),
        ("cf_wood__icontains", "0%", vec![a]),
        ("cf_wood__istartswith", "oak", vec![a]),
        ("cf_budget", "1e3", vec![b]),
        ("cf_budget", "-0", vec![c]),
        ("cf_budget__lt", "0", vec![a]),
        ("cf_budget__lte", "0", vec![a, c]),
        ("cf_budget__gt", "-2.5", vec![b, c]),
        ("cf_budget__gte", "-2.50", vec![a, b, c]),
        ("cf_budget__ne", "0", vec![a, b]),
        ("cf_budget__in", "0,1000.0", vec![b, c]),
        ("cf_due__gte", "2027-02-01", vec![b]),
        ("cf_due__ne", "2027-02-01", vec![a, c]),
        ("cf_paid", "false", vec![b]),
        ("cf_paid__ne", "true", vec![b, c]),
        ("cf_size", "small", vec![a]),
        ("cf_size__in", "small,large", vec![a, b]),
    ] {
        assert_eq!(org.found(&[(key, value)]).await.unwrap(), want, "{key}={value}");
    }
    assert_eq!(org.found(&[("cf_paid__isnull", "false"), ("cf_budget__gt", "0")]).await.unwrap(), [b]);
    for (key, value) in [
        ("cf_wod", "elm"),
        ("cf_notes", "none"),
        ("cf_", "x"),
        ("cf_size", "tiny"),
        ("cf_size__gt", "small"),
        ("cf_paid", "perhaps"),
        ("cf_paid__in", "true"),
        ("cf_budget", "NaN"),
        ("cf_budget__lt", "inf"),
        ("cf_budget", "1e400"),
        ("cf_budget__icontains", "1"),
        ("cf_due", "soon"),
        ("cf_wood", "a\u{0}b"),
        ("ordering", "cf_budget"),
    ] {
        let (code, fields) = refusal(org.found(&[(key, value)]).await);
        assert_eq!((code, fields[0].0.as_str()), (Code::InvalidParameter, key), "{key}={value}");
    }
    match org.found(&[("cf_wod", "elm")]).await {
        Err(Error::Fields(_, faults)) => {
            assert!(faults[0].message.ends_with("did you mean cf_wood?"), "{faults:?}")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn filters_follow_every_change_of_a_record() {
    let org = Org::new().await;
    org.define("wood", "text", json!({"is_filterable": true})).await;
    org.define("plain", "text", json!({})).await;
    let lead = org.lead(json!({"wood": "oak", "plain": "x"})).await;
    assert_eq!(org.indexed().await, 1, "only what can be filtered by");
    let lead = org.patch(&lead, json!({"wood": "elm"})).await.unwrap();
    assert_eq!(org.found(&[("cf_wood", "oak")]).await.unwrap(), Vec::<Uuid>::new());
    assert_eq!(org.found(&[("cf_wood", "elm")]).await.unwrap(), [lead.base.id]);
    let lead = org.patch(&lead, json!({"wood": null})).await.unwrap();
    assert_eq!(org.indexed().await, 0);
    org.patch(&lead, json!({"wood": "ash"})).await.unwrap();
    let (id, any) = (lead.base.id, Precondition::default());
    org.db.tenant(&org.caller, async |t| crm_leads::delete(t, id, &any).await).await.unwrap();
    assert_eq!(org.indexed().await, 0, "gone with its record");
}

/// Leads that were there before, without a service in between.
async fn many_leads(org: &Org, count: usize) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
    ids.sort();
    org.db
        .tenant(&org.caller, async |t| -> Result<()> {
            let (org, now) = (t.org(), t.now());
            let rows = |id: &Uuid| (records::org_id.eq(org), records::id.eq(*id), records::kind.eq("lead"));
            let rows: Vec<_> = ids.iter().map(rows).collect();
            diesel::insert_into(records::table).values(rows).execute(t.conn()?).await?;
            let rows = |(i, id): (usize, &Uuid)| {
                (
                    leads::org_id.eq(org),
                    leads::id.eq(*id),
                    leads::created_at.eq(now),
                    leads::updated_at.eq(now),
                    leads::custom_fields.eq(if i % 2 == 0 { json!({"wood": "oak"}) } else { json!({}) }),
                    leads::position.eq("8"),
                )
            };
            let rows: Vec<_> = ids.iter().enumerate().map(rows).collect();
            diesel::insert_into(leads::table).values(rows).execute(t.conn()?).await?;
            Ok(())
        })
        .await
        .unwrap();
    ids
}

#[tokio::test]
async fn turning_a_filter_on_brings_the_values_together_in_batches() {
    let org = Org::new().await;
    let wood = org.define("wood", "text", json!({})).await;
    let ids = many_leads(&org, 1002).await;
    let last = Some(ids[999]);
    org.redefine(&wood, json!({"is_filterable": true})).await.unwrap();
    let first = org.backfill_id(&wood).await.unwrap();
    assert_eq!(org.indexed().await, 0, "all of it is left to the jobs");
    org.fill(&wood, first, None).await;
    assert_eq!((org.indexed().await, org.backfill_id(&wood).await), (500, Some(first)));
    let (code, fields) = refusal(org.found(&[("cf_wood", "oak")]).await);
    assert_eq!(
        (code, fields[0].1),
        (Code::InvalidParameter, "not_allowed"),
        "no answer rather than half of one"
    );

    org.redefine(&wood, json!({"is_filterable": false})).await.unwrap();
    assert_eq!(org.indexed().await, 0);
    org.fill(&wood, first, last).await;
    assert_eq!(org.indexed().await, 0, "a job of yesterday does nothing");

    org.redefine(&wood, json!({"is_filterable": true})).await.unwrap();
    let second = org.backfill_id(&wood).await.unwrap();
    org.fill(&wood, first, last).await;
    assert_eq!((org.indexed().await, org.backfill_id(&wood).await), (0, Some(second)));
    org.fill(&wood, second, None).await;
    org.fill(&wood, second, last).await;
    assert_eq!((org.indexed().await, org.backfill_id(&wood).await), (501, None));
    org.fill(&wood, second, last).await;
    assert_eq!(org.indexed().await, 501, "done twice it is done once");
    let params = Params::of(&[("cf_wood", "oak"), ("count", "true"), ("limit", "1")]);
    let page = org.db.tenant(&org.caller, async |t| crm_leads::list(t, &params).await).await.unwrap();
    assert_eq!(page.count, Some(501));
}

#[tokio::test]
async fn whoever_writes_while_a_filter_is_turned_on_is_found_by_it() {
    let org = Org::new().await;
    let wood = org.define("wood", "text", json!({})).await;
    let (begun, waits) = tokio::sync::oneshot::channel();
    let writer = org.db.tenant(&org.caller, async |t| {
        let body = json!({"custom_fields": {"wood": "oak"}}).as_object().unwrap().clone();
        let lead = crm_leads::create(t, RecordInput::parse(body)?).await?;
        begun.send(()).unwrap();
        for _ in 0..50 {
            crm_leads::find(t, lead.base.id).await?;
        }
        Ok::<_, Error>(lead.base.id)
    });
    let turning_on = async {
        waits.await.unwrap();
        org.redefine(&wood, json!({"is_filterable": true})).await
    };
    let (lead, on) = tokio::join!(writer, turning_on);
    on.unwrap();
    org.fill(&wood, org.backfill_id(&wood).await.unwrap(), None).await;
    assert_eq!(org.found(&[("cf_wood", "oak")]).await.unwrap(), [lead.unwrap()]);
}

#[tokio::test]
async fn turning_a_filter_on_waits_for_no_record() {
    let org = Org::new().await;
    let wood = org.define("wood", "text", json!({})).await;
    let lead = org.lead(json!({"wood": "oak"})).await.base.id;
    let mut writer = org.db.open(&org.caller).await.unwrap();
    let this = leads::table.filter(leads::org_id.eq(writer.org()).and(leads::id.eq(lead)));
    let locked = this.select(leads::id).for_update().first::<Uuid>(writer.conn().unwrap()).await;
    locked.unwrap();
    // Were it to wait for the lead, which waits for the definitions next, neither would come to an end.
    org.redefine(&wood, json!({"is_filterable": true})).await.unwrap();
    let edit = Edit::patch(json!({"custom_fields": {"wood": "elm"}}).as_object().unwrap().clone());
    crm_leads::update(&mut writer, lead, edit).await.unwrap();
    writer.commit().await.unwrap();
    org.fill(&wood, org.backfill_id(&wood).await.unwrap(), None).await;
    assert_eq!(org.found(&[("cf_wood", "elm")]).await.unwrap(), [lead]);
}

#[tokio::test]
async fn a_definition_means_nothing_in_another_organization() {
    let (ours, theirs) = (Org::new().await, Org::new().await);
    let wood = ours.define("wood", "text", json!({"is_filterable": true})).await;
    let lead = ours.lead(json!({"wood": "oak"})).await;
    let unknown = fault("custom_fields.wood", "unknown_field");
    assert_eq!(refusal(theirs.add(json!({"custom_fields": {"wood": "oak"}})).await), unknown);
    assert_eq!(refusal(theirs.found(&[("cf_wood", "oak")]).await).0, Code::InvalidParameter);
    let (id, none) = (wood.base.id, Params::default());
    let seen = theirs.db.tenant(&theirs.caller, async |t| find(t, id, &none).await).await;
    assert!(matches!(seen, Err(Error::NotFound)));
    assert!(matches!(theirs.redefine(&wood, json!({"label": "Mine"})).await, Err(Error::NotFound)));
    let twin = theirs.define("wood", "number", json!({"is_filterable": true})).await;
    assert_ne!(twin.base.id, wood.base.id);
    let number = theirs.lead(json!({"wood": 5})).await;
    assert_eq!(theirs.found(&[("cf_wood", "5")]).await.unwrap(), [number.base.id]);
    assert_eq!(ours.found(&[("cf_wood", "oak")]).await.unwrap(), [lead.base.id]);
}

#[tokio::test]
async fn a_module_has_a_hundred_active_fields_at_most() {
    let org = Org::new().await;
    let mut last = None;
    for i in 0..100 {
        last = Some(org.define(&format!("key{i}"), "text", json!({})).await);
    }
    let more = json!({"target": "leads", "key": "more", "label": "More", "field_type": "text"});
    let more = more.as_object().unwrap().clone();
    let add = async || {
        let more = more.clone();
        org.db.tenant(&org.caller, async |t| create(t, body::parse(more)?).await).await
    };
    assert_eq!(refusal(add().await).0, Code::Conflict);
    let last = org.redefine(&last.unwrap(), json!({"is_active": false})).await.unwrap();
    add().await.unwrap();
    assert_eq!(refusal(org.redefine(&last, json!({"is_active": true})).await).0, Code::Conflict);
}
