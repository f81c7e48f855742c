use crm_core::body::{Object, nearest};
use crm_core::{Code, Error, FieldCode, FieldError, OrgId, Result, TenantTx};
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use super::definition::Definition;
use super::index::{Row, put, upsert};
use super::{CUSTOM_FIELDS, CustomTarget, CustomValues, MAX_ACTIVE};
use crate::Target;

diesel::define_sql_function! {
    /// The definitions of a module, which stay as they are until the transaction ends.
    fn custom_fields_for_writing(org_id: SqlUuid, target: Text) -> Jsonb;
}

/// Values that are put in by one statement.
const MOST_ROWS: usize = 5_000;

/// What a body says of a record's custom fields.
#[derive(Debug, Clone, PartialEq)]
pub enum CustomChange {
    /// Nothing: they stay as they are.
    Keep,
    /// A merge patch: what is left out stays.
    Merge(Object),
    /// All of them: what is left out is cleared.
    Replace(Object),
}

impl Default for CustomChange {
    fn default() -> Self {
        Self::Replace(Object::new())
    }
}

/// What the filters are to know of a record's new values.
#[derive(Debug, Default)]
pub struct Filtered {
    rows: Vec<Row>,
    cleared: Vec<Uuid>,
}

impl Filtered {
    /// Has the record found by its values, once it is there itself.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn store(self, t: &mut TenantTx, record: Uuid) -> Result<()> {
        put(t, record, self.rows, &self.cleared).await
    }

    /// The same for new records, once they are there.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn store_many(t: &mut TenantTx, records: impl Iterator<Item = (Uuid, Self)>) -> Result<()> {
        let mut rows =
            records.flat_map(|(record, filtered)| filtered.rows.into_iter().map(move |row| (record, row)));
        loop {
            // A statement takes so many values.
            let batch: Vec<_> = rows.by_ref().take(MOST_ROWS).collect();
            if batch.is_empty() {
                return Ok(());
            }
            upsert(t, batch.into_iter()).await?;
        }
    }
}

impl CustomChange {
    /// Reads the field of a body; `partial` is whether fields that are left out keep their value.
    pub(crate) fn read(sent: Option<Value>, partial: bool) -> Result<Self> {
        match sent {
            None if partial => Ok(Self::Keep),
            None | Some(Value::Null) => Ok(Self::default()),
            Some(Value::Object(sent)) if partial => Ok(Self::Merge(sent)),
            Some(Value::Object(sent)) => Ok(Self::Replace(sent)),
            Some(_) => {
                let fault = FieldError::new(CUSTOM_FIELDS, FieldCode::WrongType, "must be an object");
                Err(Error::Fields(Code::MalformedRequest, vec![fault]))
            }
        }
    }

    /// The values that result for a record of `target`, judged by the definitions as they are now. A value that is stored stays
    /// valid, also where its option was removed since.
    ///
    /// # Errors
    /// 422 naming `custom_fields.<key>` for every unknown or inactive key, wrong value and missing required one.
    pub async fn settle(
        self,
        t: &mut TenantTx,
        target: &Target,
        stored: &CustomValues,
    ) -> Result<(CustomValues, Filtered)> {
        if self == Self::Keep {
            return Ok((stored.clone(), Filtered::default()));
        }
        self.judge(&Definitions::for_writing(t, target).await?, stored)
    }

    /// The same by definitions that are known already.
    ///
    /// # Errors
    /// As [`CustomChange::settle`].
    pub fn judge(
        self,
        Definitions(definitions): &Definitions,
        stored: &CustomValues,
    ) -> Result<(CustomValues, Filtered)> {
        let (sent, partial) = match self {
            Self::Keep => return Ok((stored.clone(), Filtered::default())),
            Self::Merge(sent) => (sent, true),
            Self::Replace(sent) => (sent, false),
        };
        let mut faults = unknown(&sent, definitions);
        let mut values = stored.values.clone();
        let mut filtered = Filtered::default();
        for definition in definitions.iter().filter(|definition| definition.is_active) {
            let (key, old) = (&definition.key, stored.values.get(&definition.key));
            let new = match sent.get(key) {
                None if partial => Ok(old.cloned()),
                None => Ok(None),
                same if same == old => Ok(old.cloned()),
                Some(value) => definition.read(value),
            };
            match new {
                Err(fault) => faults.push(fault),
                Ok(None) if definition.is_required => {
                    faults.push(definition.fault(FieldCode::Required, format!("{key} is required")));
                }
                Ok(new) if new.as_ref() == old => {}
                Ok(Some(value)) => {
                    filtered.rows.extend(Row::of(definition, &value));
                    values.insert(key.clone(), value);
                }
                Ok(None) => {
                    filtered.cleared.extend(definition.is_filterable.then_some(definition.id));
                    values.remove(key);
                }
            }
        }
        if !faults.is_empty() {
            return Err(Error::Fields(Code::ValidationFailed, faults));
        }
        Ok((CustomValues { values, hidden: stored.hidden.clone() }, filtered))
    }
}

/// The definitions of a module, which stay as they are until the transaction ends.
#[derive(Debug)]
pub struct Definitions(Vec<Definition>);

impl Definitions {
    /// Those by which records of `target` are written.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn for_writing(t: &mut TenantTx, target: &Target) -> Result<Self> {
        let kind = target.resource.kind;
        let module =
            CustomTarget::of(kind).ok_or_else(|| Error::internal(format!("{kind} has no custom fields")))?;
        let org: OrgId = t.org();
        let found = diesel::select(custom_fields_for_writing(org, module.as_str()));
        let found: Value = found.get_result(t.conn()?).await?;
        serde_json::from_value(found).map(Self).map_err(Error::internal)
    }
}

/// Keys that nobody defined, or that are not in use any more.
fn unknown(sent: &Object, definitions: &[Definition]) -> Vec<FieldError> {
    // More than there can be are not looked at one by one.
    if sent.len() > MAX_ACTIVE {
        let message = format!("{MAX_ACTIVE} fields at most");
        return vec![FieldError::new(CUSTOM_FIELDS, FieldCode::TooLong, message)];
    }
    let active = || definitions.iter().filter(|definition| definition.is_active);
    let strange = sent.keys().filter(|key| active().all(|definition| definition.key != **key));
    let fault = |key: &String| {
        let near = nearest(key, active().map(|definition| definition.key.as_str()));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        // What is echoed is cut: it may be as long as the body.
        let key = key.chars().take(100).collect::<String>();
        if definitions.iter().any(|definition| definition.key == key) {
            let message = format!("the custom field {key} is not active{near}");
            FieldError::new(format!("{CUSTOM_FIELDS}.{key}"), FieldCode::Inactive, message)
        } else {
            let message = format!("there is no custom field {key}{near}");
            FieldError::new(format!("{CUSTOM_FIELDS}.{key}"), FieldCode::UnknownField, message)
        }
    };
    strange.map(fault).collect()
}
