use std::hash::{DefaultHasher, Hash, Hasher};

use crm_core::{Error, FieldCode, Result, TenantTx};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use crate::list::{Page, Params, Shaped};
use crate::{Base, Edit, Precondition, RecordInput, Target, Verdicts};

/// A module whose records are made, changed and taken away by the five usual services: what serves every such module alike (the usual
/// routes, bulk operations, import, export) goes through this, and each method does nothing but call the module's own function.
#[expect(async_fn_in_trait, reason = "the requests of one worker stay on its thread")]
pub trait Module {
    /// Its word in paths: `leads`.
    const NAME: &'static str;
    /// Its records: how they are listed, who may see and change them.
    const TARGET: Target;
    /// The permission to add one: `leads.add_lead`.
    const ADD: &'static str;
    /// The permission to delete one.
    const DELETE: &'static str;
    /// What a client writes of one, beside the links of every record and the organization's own fields.
    type Fields: DeserializeOwned + Validate + ToSchema;
    /// One as it is shown.
    type Record: Serialize + ToSchema;

    /// What a record begins with.
    fn base(record: &Self::Record) -> &Base;

    /// A mark of what one shows that changes without its version, where that is not as it usually is: by the clock, by other records, by
    /// who looks. See [`moment`].
    fn moment(_record: &Self::Record) -> Option<String> {
        None
    }

    /// Lists those that the caller may see.
    ///
    /// # Errors
    /// `Forbidden`; 400 for parameters.
    async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Self::Record>>>;

    /// One that the caller may see.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`; `Merged`.
    async fn find(t: &mut TenantTx, id: Uuid) -> Result<Self::Record>;

    /// Adds one.
    ///
    /// # Errors
    /// `Forbidden`; `Duplicate`; 422.
    async fn create(t: &mut TenantTx, input: RecordInput<Self::Fields>) -> Result<Self::Record>;

    /// Adds many, each for itself; one that is refused takes no other with it. `dry` judges them and adds none. Where a module has no
    /// faster way they are added one by one.
    ///
    /// # Errors
    /// `Forbidden`; ours; any where they can't be added together, and then none of them is: whoever asks adds them one by one.
    async fn create_many(
        t: &mut TenantTx,
        inputs: Vec<RecordInput<Self::Fields>>,
        dry: bool,
    ) -> Result<Verdicts> {
        let mut verdicts = Verdicts::with_capacity(inputs.len());
        for input in inputs {
            let made = t.savepoint(async |t| {
                let base = Self::base(&Self::create(t, input).await?).clone();
                if dry { Err(Tried::Fine(base)) } else { Ok(base) }
            });
            verdicts.push(match made.await {
                Ok(base) | Err(Tried::Fine(base)) => Ok(base),
                Err(Tried::Refused(error)) if error.code().status() >= 500 => return Err(error),
                Err(Tried::Refused(error)) => Err(error),
            });
        }
        Ok(verdicts)
    }

    /// Changes one. What the edit leaves as it is makes no new version.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`; `Stale`; `Duplicate`; 400 and 422 for the body.
    async fn update(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<Self::Record>;

    /// What the server keeps of one beside its fields, and [`restore`](Module::restore) puts back.
    const KEPT: &[&str] = &[];

    /// Changes one back to what it was: a merge patch in which those of [`KEPT`](Module::KEPT) may stand too.
    ///
    /// # Errors
    /// As [`update`](Module::update).
    async fn restore(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<Self::Record> {
        Self::update(t, id, edit).await
    }

    /// Deletes one with everything that hangs on it.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`; `Stale`; `InUse`.
    async fn delete(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()>;
}

/// The mark of values that a record shows beside what its version stands for; none where they are as `usual`. Two states of one version
/// that show different values have different marks.
pub fn moment(usual: bool, shown: impl Hash) -> Option<String> {
    if usual {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    shown.hash(&mut hasher);
    Some(format!("{:x}", hasher.finish()))
}

/// What came of a creation that may have been a trial.
enum Tried {
    Fine(Base),
    Refused(Error),
}

impl From<Error> for Tried {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// The parameter of a creation that lets a record be made although one like it is there.
pub const ALLOW_DUPLICATE: (&str, &str) =
    ("allow_duplicate", "`true` makes the record although one that looks the same is there.");

/// Reads [`ALLOW_DUPLICATE`].
///
/// # Errors
/// 400 for anything but `true` and `false`.
pub fn allow_duplicate(params: &Params) -> Result<bool> {
    match params.get(ALLOW_DUPLICATE.0) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Error::parameter(ALLOW_DUPLICATE.0, FieldCode::InvalidValue, "must be true or false")),
    }
}

/// Declares a [`Module`] whose methods are the functions `list`, `find`, `create`, `update` and `delete` in scope; `many` names that
/// which adds many at once, `moment` that which marks what changes without a version, where there is one, and `restore` that which puts
/// back what the server keeps, with its names.
#[macro_export]
macro_rules! module {
    ($(#[$doc:meta])* $module:ident { name: $name:expr, target: $target:expr, add: $add:expr, delete: $delete:expr, fields: $fields:ty, record: $record:ty $(, many: $many:path)? $(, moment: $moment:path)? $(, restore: $restore:path, of: $kept:expr)? }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $module;

        impl $crate::Module for $module {
            const NAME: &'static str = $name;
            const TARGET: $crate::Target = $target;
            const ADD: &'static str = $add;
            const DELETE: &'static str = $delete;
            type Fields = $fields;
            type Record = $record;

            fn base(record: &$record) -> &$crate::Base {
                &record.base
            }

            $(
                fn moment(record: &$record) -> ::std::option::Option<::std::string::String> {
                    $moment(record)
                }
            )?

            async fn list(
                t: &mut $crate::export::TenantTx,
                params: &$crate::list::Params,
            ) -> $crate::export::Result<$crate::list::Page<$crate::list::Shaped<$record>>> {
                list(t, params).await
            }

            async fn find(t: &mut $crate::export::TenantTx, id: $crate::export::Uuid) -> $crate::export::Result<$record> {
                find(t, id).await
            }

            async fn create(
                t: &mut $crate::export::TenantTx,
                input: $crate::RecordInput<$fields>,
            ) -> $crate::export::Result<$record> {
                create(t, input).await
            }

            $(
                async fn create_many(
                    t: &mut $crate::export::TenantTx,
                    inputs: ::std::vec::Vec<$crate::RecordInput<$fields>>,
                    dry: bool,
                ) -> $crate::export::Result<$crate::Verdicts> {
                    $many(t, inputs, dry).await
                }
            )?

            $(
                const KEPT: &[&str] = $kept;

                async fn restore(
                    t: &mut $crate::export::TenantTx,
                    id: $crate::export::Uuid,
                    edit: $crate::Edit,
                ) -> $crate::export::Result<$record> {
                    $restore(t, id, edit).await
                }
            )?

            async fn update(
                t: &mut $crate::export::TenantTx,
                id: $crate::export::Uuid,
                edit: $crate::Edit,
            ) -> $crate::export::Result<$record> {
                update(t, id, edit).await
            }

            async fn delete(
                t: &mut $crate::export::TenantTx,
                id: $crate::export::Uuid,
                precondition: &$crate::Precondition,
            ) -> $crate::export::Result<()> {
                delete(t, id, precondition).await
            }
        }
    };
}
