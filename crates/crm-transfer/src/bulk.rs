//! Many operations in one request: each as if it came alone, all of them or each for itself.

use crm_core::body::{self, Object};
use crm_core::{Code, Error, FieldCode, FieldError, Result, TenantTx};
use crm_records::list::Params;
use crm_records::{Edit, Module, Precondition, RecordInput};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// How many operations one request may have.
pub const MAX_OPERATIONS: usize = 1_000;

/// Parameters of a list that choose no records.
const NO_FILTERS: [&str; 7] = ["limit", "offset", "cursor", "count", "ordering", "fields", "expand"];

/// What is to be done: either `operations`, or `patch` to all that `filter` finds.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    /// Up to 1,000, done in this order.
    #[serde(default)]
    #[schema(value_type = Option<Vec<BulkOperation>>)]
    pub operations: Option<Vec<Object>>,
    /// Whether the first refusal undoes everything (the default), or only its own operation.
    #[serde(default = "yes")]
    pub atomic: bool,
    /// The parameters of a list and their values; up to 1,000 records.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Object>,
    /// A merge patch for each record that the filter finds.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub patch: Option<Object>,
    /// How many records the filter must find, or nothing is done.
    #[serde(default)]
    pub expect_count: Option<u64>,
    /// Only tells which records the filter finds.
    #[serde(default)]
    pub dry_run: bool,
}

const fn yes() -> bool {
    true
}

/// One operation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkOperation {
    /// What is to be done.
    pub op: BulkVerb,
    /// The record; not for `create`.
    #[serde(default)]
    pub id: Option<Uuid>,
    /// The version that the record must have; not for `create`.
    #[serde(default)]
    pub version: Option<i64>,
    /// The fields of `create`, or the merge patch of `update`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub fields: Option<Object>,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BulkVerb {
    /// Adds a record.
    Create,
    /// Changes one.
    Update,
    /// Deletes one.
    Delete,
}

/// What came of it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct BulkAnswer {
    /// How many records the filter found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<usize>,
    /// Which records those are, of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<Uuid>>,
    /// Operations that were done.
    pub succeeded: usize,
    /// Operations that were refused.
    pub failed: usize,
    /// Each operation, in their order.
    pub results: Vec<BulkItem>,
}

/// What came of one operation.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkItem {
    /// Its place among the operations, from 0.
    pub index: usize,
    /// The status that it would have been answered with alone.
    pub status: u16,
    /// The record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// The whole record, as it is now; not where a filter chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub record: Option<Value>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<BulkProblem>,
}

/// The refusal of one operation: what the problem document would say.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkProblem {
    /// A few words for a person.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The machine-readable kind.
    pub code: Code,
    /// This case, for a person.
    pub detail: String,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl BulkProblem {
    fn of(error: &Error) -> Self {
        let code = error.code();
        let errors = if let Error::Fields(_, fields) = error { fields.clone() } else { Vec::new() };
        Self { title: code.title(), status: code.status(), code, detail: error.to_string(), errors }
    }
}

/// Something to do, judged as far as it can be without looking at records.
enum Step {
    Create(Object),
    Update(Uuid, Edit),
    Delete(Uuid, Precondition),
}

impl Step {
    fn read(object: Object) -> Result<Self> {
        let BulkOperation { op, id, version, fields } = body::read(object)?;
        let precondition = Precondition { if_match: version.map(|version| vec![version]) };
        let missing = |field| Error::field(field, FieldCode::Required, format!("{field} is required"));
        let idle = |field| Error::field(field, FieldCode::NotAllowed, format!("{field} means nothing here"));
        match (op, id, fields) {
            (BulkVerb::Create, Some(_), _) => Err(idle("id")),
            (BulkVerb::Create, ..) if version.is_some() => Err(idle("version")),
            (BulkVerb::Create, None, Some(fields)) => Ok(Self::Create(fields)),
            (BulkVerb::Update | BulkVerb::Delete, None, _) => Err(missing("id")),
            (BulkVerb::Create | BulkVerb::Update, _, None) => Err(missing("fields")),
            (BulkVerb::Update, Some(id), Some(body)) => {
                Ok(Self::Update(id, Edit { body, partial: true, precondition }))
            }
            (BulkVerb::Delete, _, Some(_)) => Err(idle("fields")),
            (BulkVerb::Delete, Some(id), None) => Ok(Self::Delete(id, precondition)),
        }
    }

    /// The status of success, and the record.
    async fn take<M: Module>(self, t: &mut TenantTx) -> Result<(u16, Uuid, Option<M::Record>)> {
        match self {
            Self::Create(fields) => {
                let record = M::create(t, RecordInput::parse(fields)?).await?;
                Ok((201, M::base(&record).id, Some(record)))
            }
            Self::Update(id, edit) => Ok((200, id, Some(M::update(t, id, edit).await?))),
            Self::Delete(id, precondition) => {
                M::delete(t, id, &precondition).await?;
                Ok((204, id, None))
            }
        }
    }
}

/// Does many things to the records of a module in this transaction.
///
/// # Errors
/// 400 and 422 for a body that is not understood; `Conflict` where the filter finds another number than `expect_count`; where it is
/// all or nothing, the first refusal, whose fields begin with `operations.<index>`.
pub async fn bulk<M: Module>(t: &mut TenantTx, body: Object) -> Result<BulkAnswer> {
    let Bulk { operations, atomic, filter, patch, expect_count, dry_run } = body::read(body)?;
    match (operations, filter, patch) {
        (Some(operations), None, None) => {
            let idle = [("expect_count", expect_count.is_some()), ("dry_run", dry_run)];
            if let Some((field, _)) = idle.into_iter().find(|(_, given)| *given) {
                return Err(Error::field(field, FieldCode::NotAllowed, "goes with filter and patch only"));
            }
            if operations.is_empty() || operations.len() > MAX_OPERATIONS {
                let message = format!("1 to {MAX_OPERATIONS} operations");
                return Err(Error::field("operations", FieldCode::OutOfRange, message));
            }
            let steps = operations.into_iter().map(Step::read).collect::<Vec<_>>();
            run::<M>(t, steps, atomic, true).await
        }
        (None, Some(filter), patch) => {
            let Some(patch) = patch else {
                return Err(Error::field("patch", FieldCode::Required, "patch is required beside filter"));
            };
            let mut records = found::<M>(t, &filter).await?;
            // In one order for everybody, so that nobody waits in a circle.
            records.sort();
            if expect_count.is_some_and(|expected| expected != records.len() as u64) {
                let message = format!("the filter finds {} records", records.len());
                let fault = FieldError::new("expect_count", FieldCode::Mismatch, message);
                return Err(Error::Fields(Code::Conflict, vec![fault]));
            }
            let matched = Some(records.len());
            if dry_run {
                may_change::<M>(t)?;
                let ids = records.into_iter().map(|(id, _)| id).collect();
                return Ok(BulkAnswer { matched, ids: Some(ids), ..BulkAnswer::default() });
            }
            // Whoever was changed since the filter found them may not be what was asked for any more.
            let steps = records.into_iter().map(|(id, version)| {
                let precondition = Precondition { if_match: Some(vec![version]) };
                Ok(Step::Update(id, Edit { body: patch.clone(), partial: true, precondition }))
            });
            Ok(BulkAnswer { matched, ..run::<M>(t, steps.collect(), atomic, false).await? })
        }
        (None, None, _) => {
            Err(Error::field("operations", FieldCode::Required, "send operations, or filter and patch"))
        }
        (Some(_), ..) => {
            let message = "operations exclude filter and patch";
            Err(Error::field("operations", FieldCode::NotAllowed, message))
        }
    }
}

/// What is only tried out is asked for the same permission.
fn may_change<M: Module>(t: &TenantTx) -> Result<()> {
    use crm_access::Require;
    t.require(M::TARGET.change).map(drop)
}

async fn run<M: Module>(
    t: &mut TenantTx,
    steps: Vec<Result<Step>>,
    atomic: bool,
    shown: bool,
) -> Result<BulkAnswer> {
    let mut answer = BulkAnswer::default();
    for (index, step) in steps.into_iter().enumerate() {
        let about = if let Ok(Step::Update(id, _) | Step::Delete(id, _)) = &step { Some(*id) } else { None };
        let done = match step {
            Ok(step) if atomic => step.take::<M>(t).await,
            Ok(step) => t.savepoint(async |t| step.take::<M>(t).await).await,
            Err(refused) => Err(refused),
        };
        let item = match done {
            Ok((status, id, record)) => {
                let record = record.filter(|_| shown).map(serde_json::to_value).transpose();
                let record = record.map_err(Error::internal)?;
                BulkItem { index, status, id: Some(id), record, problem: None }
            }
            // Our own faults are nobody's single problem.
            Err(error) if error.code().status() >= 500 => return Err(error),
            Err(refused) if atomic => return Err(at(index, refused)),
            Err(refused) => {
                let problem = BulkProblem::of(&refused);
                BulkItem { index, status: problem.status, id: about, record: None, problem: Some(problem) }
            }
        };
        match item.problem {
            None => answer.succeeded += 1,
            Some(_) => answer.failed += 1,
        }
        answer.results.push(item);
    }
    Ok(answer)
}

/// The refusal of one operation as that of them all: a record that is not there is a fault of the body then.
fn at(index: usize, refused: Error) -> Error {
    let prefix = |field: &str| match field {
        "" => format!("operations.{index}"),
        field => format!("operations.{index}.{field}"),
    };
    let (code, field, fault) = match &refused {
        Error::Fields(code, faults) => {
            let inside = |fault: &FieldError| FieldError { field: prefix(&fault.field), ..fault.clone() };
            return Error::Fields(*code, faults.iter().map(inside).collect());
        }
        Error::NotFound | Error::Merged { .. } => (Code::ValidationFailed, "id", FieldCode::NotFound),
        Error::Stale { .. } => (Code::StaleVersion, "version", FieldCode::Mismatch),
        other => (other.code(), "", FieldCode::NotAllowed),
    };
    Error::Fields(code, vec![FieldError::new(prefix(field), fault, refused.to_string())])
}

/// The records that a filter finds, with the versions at which it does.
async fn found<M: Module>(t: &mut TenantTx, filter: &Object) -> Result<Vec<(Uuid, i64)>> {
    let mut params = Params { path: String::new(), pairs: pairs(filter)? };
    params.pairs.push(("limit".into(), "200".into()));
    let mut records = Vec::new();
    loop {
        let page = M::list(t, &params).await.map_err(in_filter)?;
        for record in page.results {
            let record = serde_json::to_value(record).map_err(Error::internal)?;
            let id = record.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
            let version = record.get("version").and_then(Value::as_i64);
            let found = id.zip(version);
            records.push(found.ok_or_else(|| Error::internal("a record has an id and a version"))?);
        }
        if records.len() > MAX_OPERATIONS {
            let message = format!("finds more than {MAX_OPERATIONS} records: narrow it");
            return Err(Error::field("filter", FieldCode::OutOfRange, message));
        }
        let Some(link) = page.next else { return Ok(records) };
        let query = link.split_once('?').map_or("", |(_, query)| query);
        params.pairs = serde_urlencoded::from_str(query).map_err(Error::internal)?;
    }
}

/// The parameters of a list in their JSON form: an array is a parameter said several times.
fn pairs(filter: &Object) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for (key, value) in filter {
        let field = || format!("filter.{key}");
        if NO_FILTERS.contains(&key.as_str()) {
            return Err(Error::field(field(), FieldCode::NotAllowed, format!("{key} chooses no records")));
        }
        let values =
            if let Value::Array(values) = value { values.as_slice() } else { std::slice::from_ref(value) };
        for value in values {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                _ => {
                    let message = "must be a text, a number, true, false, or an array of these";
                    return Err(Error::Fields(
                        Code::MalformedRequest,
                        vec![FieldError::new(field(), FieldCode::WrongType, message)],
                    ));
                }
            };
            pairs.push((key.clone(), text));
        }
    }
    Ok(pairs)
}

fn in_filter(error: Error) -> Error {
    match error {
        Error::Fields(code, faults) => {
            let inside = |fault: FieldError| FieldError { field: format!("filter.{}", fault.field), ..fault };
            Error::Fields(code, faults.into_iter().map(inside).collect())
        }
        other => other,
    }
}
