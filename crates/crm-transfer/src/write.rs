//! Judged rows, done.

use crm_core::body::Object;
use crm_core::{Error, Result, TenantTx};
use crm_records::{Edit, Module, RecordInput};
use serde_json::Value;
use uuid::Uuid;

use crate::field_names;
use crate::judge::{Item, Judge, Step, faults_of};
use crate::names::is_ours;
use crate::rows::{Outcome, Worked};

/// Does what judged rows would do; where the judge is dry, only finds out what else would be refused.
pub(crate) async fn write<M: Module>(
    t: &mut TenantTx,
    judge: &Judge,
    items: Vec<Item<M::Fields>>,
) -> Result<Vec<Worked>> {
    let dry = judge.dry;
    let (mut worked, mut inputs, mut created, mut later) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Item { number, cells, object, step } in items {
        let outcome = match step {
            Step::Refused(faults) => Outcome::Failed(faults),
            Step::Skip(id) => Outcome::Skipped(id),
            Step::Create(input) => {
                inputs.push(*input);
                created.push((number, cells, object));
                continue;
            }
            Step::Update(id) if dry => Outcome::Updated(id, 0, Value::Null),
            Step::Follow(_) if dry => Outcome::Updated(Uuid::nil(), 0, Value::Null),
            Step::Update(id) => update::<M>(t, id, object).await?,
            Step::Follow(key) => {
                later.push((number, cells, object, key));
                continue;
            }
        };
        worked.push(Worked { number, cells, outcome });
    }
    let verdicts = if inputs.is_empty() {
        Vec::new()
    } else {
        match t.savepoint(async |t| M::create_many(t, inputs, dry).await).await {
            Ok(verdicts) => verdicts,
            Err(error) if is_ours(&error) => return Err(error),
            // Together they can't be added: each tells for itself.
            Err(_) => {
                let mut verdicts = Vec::with_capacity(created.len());
                for (.., object) in &created {
                    verdicts.push(create_one::<M>(t, object.clone(), dry).await?);
                }
                verdicts
            }
        }
    };
    for ((number, cells, _), verdict) in created.into_iter().zip(verdicts) {
        let outcome = match verdict {
            Ok(base) => Outcome::Created(base.id, base.version),
            Err(error) if is_ours(&error) => return Err(error),
            Err(error) => Outcome::Failed(faults_of(&error)),
        };
        worked.push(Worked { number, cells, outcome });
    }
    if !later.is_empty() {
        let keys = later.iter().map(|(.., key)| key.clone()).collect();
        let known = judge.known::<M>(t, keys).await?;
        for (number, cells, object, key) in later {
            let outcome = match known.get(&key) {
                Some(id) => update::<M>(t, *id, object).await?,
                // The row that should have made it was refused.
                None => match create_one::<M>(t, object, false).await? {
                    Ok(base) => Outcome::Created(base.id, base.version),
                    Err(error) => Outcome::Failed(faults_of(&error)),
                },
            };
            worked.push(Worked { number, cells, outcome });
        }
    }
    worked.sort_by_key(|row| row.number);
    Ok(worked)
}

async fn create_one<M: Module>(
    t: &mut TenantTx,
    object: Object,
    dry: bool,
) -> Result<Result<crm_records::Base>> {
    let input = match RecordInput::parse(object) {
        Ok(input) => RecordInput { allow_duplicate: true, ..input },
        Err(error) => return Ok(Err(error)),
    };
    if dry {
        let only = M::create_many(t, vec![input], true).await;
        return Ok(only.and_then(|verdicts| verdicts.into_iter().next().unwrap_or(Err(Error::NotFound))));
    }
    match t.savepoint(async |t| M::create(t, input).await).await {
        Ok(record) => Ok(Ok(M::base(&record).clone())),
        Err(error) if is_ours(&error) => Err(error),
        Err(error) => Ok(Err(error)),
    }
}

/// Changes a record as a row says, and remembers what it was.
async fn update<M: Module>(t: &mut TenantTx, id: Uuid, patch: Object) -> Result<Outcome> {
    let changed = t.savepoint(async |t| {
        let old = M::find(t, id).await?;
        let version = M::base(&old).version;
        let new = M::update(t, id, Edit::patch(patch)).await?;
        Ok::<_, Error>((version, old, new))
    });
    Ok(match changed.await {
        Ok((version, _, new)) if M::base(&new).version == version => Outcome::Skipped(Some(id)),
        Ok((_, old, new)) => Outcome::Updated(id, M::base(&new).version, before::<M>(&old, &new)?),
        Err(error) if is_ours(&error) => return Err(error),
        Err(error) => Outcome::Failed(faults_of(&error)),
    })
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
    for field in field_names::<M::Fields>().iter().chain(&links) {
        if let Some(value) = old.get(*field).filter(|value| new.get(*field) != Some(value)) {
            patch.insert((*field).to_owned(), value.clone());
        }
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
