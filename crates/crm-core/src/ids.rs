use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// By how much the clocks of two machines may differ.
const SKEW: TimeDelta = TimeDelta::minutes(10);

/// An id below all that were made since `at`: what was made lately is found by its key.
pub fn first_id_since(at: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from((at - SKEW).timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(u128::from(millis) << 80)
}

/// Declares a newtype over a UUIDv7, one per entity, that diesel, serde and OpenAPI read as a plain UUID.
#[macro_export]
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            $crate::export::serde::Serialize, $crate::export::serde::Deserialize,
            $crate::export::diesel::expression::AsExpression, $crate::export::diesel::deserialize::FromSqlRow,
        )]
        #[serde(transparent)]
        #[diesel(sql_type = $crate::export::diesel::sql_types::Uuid)]
        pub struct $name(pub $crate::export::uuid::Uuid);

        impl $name {
            /// A new id, ordered by the time of its making.
            pub fn generate() -> Self {
                Self($crate::export::uuid::Uuid::now_v7())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::export::uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<$name> for $crate::export::uuid::Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl $crate::export::diesel::serialize::ToSql<
            $crate::export::diesel::sql_types::Uuid, $crate::export::diesel::pg::Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut $crate::export::diesel::serialize::Output<'b, '_, $crate::export::diesel::pg::Pg>)
                -> $crate::export::diesel::serialize::Result {
                $crate::export::diesel::serialize::ToSql::<
                    $crate::export::diesel::sql_types::Uuid, $crate::export::diesel::pg::Pg>::to_sql(&self.0, out)
            }
        }

        impl $crate::export::diesel::deserialize::FromSql<
            $crate::export::diesel::sql_types::Uuid, $crate::export::diesel::pg::Pg> for $name {
            fn from_sql(bytes: $crate::export::diesel::pg::PgValue<'_>) -> $crate::export::diesel::deserialize::Result<Self> {
                <$crate::export::uuid::Uuid as $crate::export::diesel::deserialize::FromSql<
                    $crate::export::diesel::sql_types::Uuid, $crate::export::diesel::pg::Pg>>::from_sql(bytes).map(Self)
            }
        }

        impl $crate::export::utoipa::PartialSchema for $name {
            fn schema() -> $crate::export::utoipa::openapi::RefOr<$crate::export::utoipa::openapi::schema::Schema> {
                use $crate::export::utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
                ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))).into()
            }
        }
        impl $crate::export::utoipa::ToSchema for $name {}
    };
}

uuid_id!(
    /// A person's account, global to the installation.
    UserId
);
uuid_id!(
    /// An organization: the tenant.
    OrgId
);
uuid_id!(
    /// A person's membership in an organization ("profile id" on the wire).
    MemberId
);
uuid_id!(
    /// A role of an organization.
    RoleId
);
uuid_id!(
    /// A team of members.
    TeamId
);
uuid_id!(
    /// A tag of an organization.
    TagId
);
uuid_id!(
    /// One sign-in on one device.
    SessionId
);
