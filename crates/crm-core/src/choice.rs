/// Declares an enum stored as `text` and written on the wire by fixed words, those of the column's CHECK constraint.
#[macro_export]
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal $(| $alias:literal)*),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash,
            $crate::export::serde::Serialize,
            $crate::export::diesel::expression::AsExpression, $crate::export::diesel::deserialize::FromSqlRow,
        )]
        #[diesel(sql_type = $crate::export::diesel::sql_types::Text)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] #[doc = concat!("`", $word, "`")] $variant,)+
        }

        impl $name {
            /// Every word, in the order of declaration.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word stored and sent.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The variant of a stored word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        // A plain word: the derived form would also take an object with the word as its key.
        impl<'de> $crate::export::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::export::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <String as $crate::export::serde::Deserialize>::deserialize(deserializer)?;
                match word.as_str() {
                    $($word $(| $alias)* => Ok(Self::$variant),)+
                    other => Err($crate::export::serde::de::Error::unknown_variant(other, Self::WORDS)),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::export::diesel::serialize::ToSql<
            $crate::export::diesel::sql_types::Text, $crate::export::diesel::pg::Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut $crate::export::diesel::serialize::Output<'b, '_, $crate::export::diesel::pg::Pg>)
                -> $crate::export::diesel::serialize::Result {
                <str as $crate::export::diesel::serialize::ToSql<
                    $crate::export::diesel::sql_types::Text, $crate::export::diesel::pg::Pg>>::to_sql(self.as_str(), out)
            }
        }

        impl $crate::export::diesel::deserialize::FromSql<
            $crate::export::diesel::sql_types::Text, $crate::export::diesel::pg::Pg> for $name {
            fn from_sql(bytes: $crate::export::diesel::pg::PgValue<'_>) -> $crate::export::diesel::deserialize::Result<Self> {
                let word = <String as $crate::export::diesel::deserialize::FromSql<
                    $crate::export::diesel::sql_types::Text, $crate::export::diesel::pg::Pg>>::from_sql(bytes)?;
                Self::from_word(&word).ok_or_else(|| format!("unknown {} {word:?}", stringify!($name)).into())
            }
        }

        impl $crate::export::utoipa::PartialSchema for $name {
            fn schema() -> $crate::export::utoipa::openapi::RefOr<$crate::export::utoipa::openapi::schema::Schema> {
                $crate::export::utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type($crate::export::utoipa::openapi::schema::Type::String)
                    .enum_values(Some(Self::WORDS.iter().copied()))
                    .into()
            }
        }
        impl $crate::export::utoipa::ToSchema for $name {}
    };
}
