//! Judged rows, done.

use std::collections::HashMap;

use crm_core::body::Object;
use crm_core::{Error, Result, TenantTx};
use crm_records::{Base, Edit, Module, RecordInput};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::field_names;
use crate::judge::{Item, Judge, Step, faults_of};
use crate::model::Duplicates;
use crate::names::is_ours;
use crate::rows::{Outcome, Worked};

/// A row that makes a record, or would if an earlier one did not.
struct Waiting {
    number: u32,
    cells: Vec<String>,
    object: Object,
    key: Option<String>,
}

/// Does what judged rows would do; where the judge is dry, only finds out what else would be refused.
pub(crate) async fn write<M: Module>(
    t: &mut TenantTx,
    judge: &mut Judge,
    items: Vec<Item<M::Fields>>,
) -> Result<Vec<Worked>> {
    let dry = judge.dry;
    let (mut worked, mut inputs, mut created, mut later) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Item { number, cells, object, key, step } in items {
        let outcome = match step {
            Step::Refused(faults) => Outcome::Failed(faults),
            Step::Skip(id) => Outcome::Skipped(id),
            Step::Create(input) => {
                inputs.push(*input);
                created.push(Waiting { number, cells, object, key });
                continue;
            }
            Step::Update(id) => update::<M>(t, id, object, dry).await?,
            Step::Follow(key) => {
                later.push((key, Waiting { number, cells, object, key: None }));
                continue;
            }
        };
        worked.push(Worked { number, cells, outcome });
    }
    let verdicts = create::<M>(t, inputs, &created, dry).await?;
    for (Waiting { number, cells, object, key }, verdict) in created.into_iter().zip(verdicts) {
        let outcome = match verdict {
            Ok(base) => {
                let outcome = made(&base, &object);
                if let Some(key) = key {
                    judge.draft(key, object);
                }
                outcome
            }
            Err(error) if is_ours(&error) => return Err(error),
            Err(error) => {
                judge.forget(key.as_deref(), number);
                Outcome::Failed(faults_of(&error))
            }
        };
        worked.push(Worked { number, cells, outcome });
    }
    if !later.is_empty() {
        let keys = later.iter().map(|(key, _)| key.clone()).collect();
        let mut known = judge.known::<M>(t, keys).await?;
        for (key, Waiting { number, cells, object, .. }) in later {
            let outcome = follow::<M>(t, judge, &mut known, (key, number), object).await?;
            worked.push(Worked { number, cells, outcome });
        }
    }
    worked.sort_by_key(|row| row.number);
    Ok(worked)
}

/// Adds records together where that can be done, and otherwise each for itself.
async fn create<M: Module>(
    t: &mut TenantTx,
    inputs: Vec<RecordInput<M::Fields>>,
    rows: &[Waiting],
    dry: bool,
) -> Result<Vec<Result<Base>>> {
    if inputs.is_empty() {
        return Ok(Vec::new());
    }
    match t.savepoint(async |t| M::create_many(t, inputs, dry).await).await {
        Ok(verdicts) => Ok(verdicts),
        Err(error) if is_ours(&error) => Err(error),
        Err(_) => {
            let mut verdicts = Vec::with_capacity(rows.len());
            for row in rows {
                verdicts.push(create_one::<M>(t, row.object.clone(), dry).await?);
            }
            Ok(verdicts)
        }
    }
}

/// What becomes of a row whose record another one of its batch was to make.
async fn follow<M: Module>(
    t: &mut TenantTx,
    judge: &mut Judge,
    known: &mut HashMap<String, Uuid>,
    (key, number): (String, u32),
    object: Object,
) -> Result<Outcome> {
    let dry = judge.dry;
    let there = known.get(&key).copied();
    match (judge.seen(&key), judge.duplicates, there) {
        (Some(earlier), Duplicates::Error, _) => Ok(Outcome::Failed(judge.twin(earlier))),
        (Some(_), Duplicates::Skip, _) => Ok(Outcome::Skipped(there)),
        (Some(_), Duplicates::Update, _) if dry => {
            let Some(whole) = judge.redrafted(&key, object) else {
                return Ok(Outcome::Updated(Uuid::nil(), 0, Value::Null));
            };
            Ok(match create_one::<M>(t, whole.clone(), true).await? {
                Ok(_) => {
                    judge.draft(key, whole);
                    Outcome::Updated(Uuid::nil(), 0, Value::Null)
                }
                Err(error) => Outcome::Failed(faults_of(&error)),
            })
        }
        (Some(_), Duplicates::Update, Some(id)) => update::<M>(t, id, object, false).await,
        // The row that should have made it was refused.
        _ => Ok(match create_one::<M>(t, object.clone(), dry).await? {
            Ok(base) => {
                let outcome = made(&base, &object);
                known.insert(key.clone(), base.id);
                judge.see(key.clone(), number);
                judge.draft(key, object);
                outcome
            }
            Err(error) => Outcome::Failed(faults_of(&error)),
        }),
    }
}

/// A record that was made, with the people that it was made with: those that come to it later are a use of it.
fn made(base: &Base, object: &Object) -> Outcome {
    let people = object.get("contacts").filter(|people| people.as_array().is_some_and(|all| !all.is_empty()));
    Outcome::Created(base.id, base.version, people.map(|people| json!({"contacts": people})))
}

async fn create_one<M: Module>(t: &mut TenantTx, object: Object, dry: bool) -> Result<Result<Base>> {
    let input = match RecordInput::parse(object) {
        Ok(input) => RecordInput { allow_duplicate: true, ..input },
        Err(error) => return Ok(Err(error)),
    };
    let made = if dry {
        let only = t.savepoint(async |t| M::create_many(t, vec![input], true).await).await;
        only.and_then(|verdicts| verdicts.into_iter().next().unwrap_or(Err(Error::NotFound)))
    } else {
        t.savepoint(async |t| Ok(M::base(&M::create(t, input).await?).clone())).await
    };
    match made {
        Err(error) if is_ours(&error) => Err(error),
        made => Ok(made),
    }
}

/// What came of a change that may have been a trial.
enum Tried {
    Fine(Outcome),
    Refused(Error),
}

impl From<Error> for Tried {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Changes a record as a row says, and remembers what it was. `dry` finds out whether that can be done, and undoes it.
async fn update<M: Module>(t: &mut TenantTx, id: Uuid, patch: Object, dry: bool) -> Result<Outcome> {
    let changed = t.savepoint(async |t| {
        let old = M::find(t, id).await?;
        let new = M::update(t, id, Edit::patch(patch)).await?;
        let version = M::base(&new).version;
        let outcome = match M::base(&old).version == version {
            true => Outcome::Skipped(Some(id)),
            false => Outcome::Updated(id, version, before::<M>(&old, &new)?),
        };
        if dry { Err(Tried::Fine(outcome)) } else { Ok(outcome) }
    });
    match changed.await {
        Ok(outcome) | Err(Tried::Fine(outcome)) => Ok(outcome),
        Err(Tried::Refused(error)) if is_ours(&error) => Err(error),
        Err(Tried::Refused(error)) => Ok(Outcome::Failed(faults_of(&error))),
    }
}

/// The fields in which a record differs from what it was, as they were: a merge patch that takes the change back.
fn before<M: Module>(old: &M::Record, new: &M::Record) -> Result<Value> {
    let object = |record: &M::Record| match serde_json::to_value(record).map_err(Error::internal)? {
        Value::Object(object) => Ok(object),
        _ => Err(Error::internal("a record is a JSON object")),
    };
    let (old, new) = (object(old)?, object(new)?);
    let mut patch = Object::new();
    let links = ["assigned_to", "teams", "tags"];
    for field in field_names::<M::Fields>().iter().chain(&links).chain(M::KEPT) {
        let Some(value) = old.get(*field) else { continue };
        let by_hand = format!("{field}_is_manual");
        let by_hand = (old.get(&by_hand), new.get(&by_hand));
        if new.get(*field) == Some(value) && by_hand.0 == by_hand.1 {
            continue;
        }
        // What nobody chose follows from other fields again.
        let value = if by_hand.0 == Some(&Value::Bool(false)) { Value::Null } else { value.clone() };
        patch.insert((*field).to_owned(), value);
    }
    if let (Some(Value::Object(old)), Some(Value::Object(new))) =
        (old.get("custom_fields"), new.get("custom_fields"))
    {
        let keys = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key));
        let own: Object = keys.map(|key| (key.clone(), old.get(key).cloned().unwrap_or_default())).collect();
        if !own.is_empty() {
            patch.insert("custom_fields".into(), Value::Object(own));
        }
    }
    Ok(Value::Object(patch))
}
