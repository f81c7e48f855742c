//! Addresses and domains that an organization does not mail to. A domain stands for its subdomains too.

use chrono::{DateTime, Utc};
use crm_access::Require;
use crm_core::rules::normalize_email;
use crm_core::{Error, FieldCode, MemberId, Result, TenantTx, Tx};
use crm_records::list::{Field, Kind, Page, Params, Resource, Shaped};
use crm_schema::mail_suppressions;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::{Validate, ValidateEmail};

crm_core::text_enum!(
    /// What is suppressed.
    SuppressionKind {
        /// One address.
        Address = "address",
        /// Every address of a domain and of its subdomains.
        Domain = "domain",
    }
);

/// Suppressions as a list.
pub const SUPPRESSIONS: Resource = Resource {
    kind: "mail_suppression",
    table: "mail_suppressions",
    fields: &[
        Field::new("kind", Kind::Choice(SuppressionKind::WORDS)).required(),
        Field::new("value", Kind::Text).required(),
        Field::new("reason", Kind::Text).required(),
    ],
    searchable: false,
    mutable: false,
    neighbours: None,
};

/// Body of a new suppression.
#[derive(Debug, Clone, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSuppression {
    /// Whether it is one address or a whole domain.
    pub kind: SuppressionKind,
    /// The address, or the domain such as `example.com`, in any case.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 254))]
    pub value: String,
    /// Why, for whoever reads the list later.
    #[serde(default, deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(max = 500), custom(function = "crm_core::rules::one_line"))]
    pub reason: String,
}

/// An address or a domain that the organization does not mail to.
#[derive(Debug, Clone, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = mail_suppressions)]
pub struct Suppression {
    /// Its id.
    pub id: Uuid,
    /// Whether it is one address or a whole domain.
    pub kind: SuppressionKind,
    /// The address or the domain, in lower case.
    pub value: String,
    /// Why.
    pub reason: String,
    /// When it was decided.
    pub created_at: DateTime<Utc>,
    /// Who decided.
    pub created_by: Option<MemberId>,
}

/// Lists the suppressions.
///
/// # Errors
/// `Forbidden` without `mail.view_suppression`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Suppression>>> {
    let scope = t.require("mail.view_suppression")?;
    let selection = SUPPRESSIONS.select(params, t.caller(), scope)?;
    let page = selection
        .run(t, async |t, f| {
            let query = mail_suppressions::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((Suppression::as_select(), selection.keys()));
            Ok(query.load(t.conn()?).await?)
        })
        .await?;
    selection.shape.page(t, page).await
}

/// Stops mail to an address or a domain, also mail that is queued already.
///
/// # Errors
/// `Forbidden` without `mail.add_suppression`; `Duplicate`; 422 for something that is neither address nor domain.
pub async fn create(t: &mut TenantTx, new: NewSuppression) -> Result<Suppression> {
    t.require("mail.add_suppression")?;
    let value = normalized(new.kind, &new.value)?;
    let created = diesel::insert_into(mail_suppressions::table)
        .values((
            mail_suppressions::org_id.eq(t.org()),
            mail_suppressions::id.eq(Uuid::now_v7()),
            mail_suppressions::created_at.eq(t.now()),
            mail_suppressions::created_by.eq(t.actor()),
            mail_suppressions::kind.eq(new.kind),
            mail_suppressions::value.eq(value),
            mail_suppressions::reason.eq(new.reason),
        ))
        .returning(Suppression::as_returning())
        .get_result(t.conn()?)
        .await;
    created.map_err(|error| {
        Error::unique(error, "mail_suppressions_org_id_kind_value_key", "value", "this is suppressed already")
    })
}

/// Allows mail to the address or the domain again. What was kept back meanwhile is not sent.
///
/// # Errors
/// `Forbidden` without `mail.delete_suppression`; `NotFound`.
pub async fn delete(t: &mut TenantTx, id: Uuid) -> Result<()> {
    t.require("mail.delete_suppression")?;
    let this = mail_suppressions::org_id.eq(t.org()).and(mail_suppressions::id.eq(id));
    match diesel::delete(mail_suppressions::table.filter(this)).execute(t.conn()?).await? {
        0 => Err(Error::NotFound),
        _ => Ok(()),
    }
}

/// Whether the organization of the transaction, if it has one, does not mail to this address.
pub(crate) async fn apply_to(tx: &mut (dyn Tx + Send), to_normalized: &str) -> Result<bool> {
    let Some(org) = tx.org() else { return Ok(false) };
    let this =
        mail_suppressions::kind.eq(SuppressionKind::Address).and(mail_suppressions::value.eq(to_normalized));
    let domain = mail_suppressions::kind
        .eq(SuppressionKind::Domain)
        .and(mail_suppressions::value.eq_any(domains(to_normalized)));
    let found = mail_suppressions::table.filter(mail_suppressions::org_id.eq(org)).filter(this.or(domain));
    Ok(diesel::select(exists(found)).get_result(tx.conn()?).await?)
}

/// The domain of an address, and each that this is a subdomain of.
fn domains(address: &str) -> Vec<&str> {
    let domain = address.rsplit_once('@').map(|(_, domain)| domain);
    std::iter::successors(domain, |domain| domain.split_once('.').map(|(_, parent)| parent)).collect()
}

fn normalized(kind: SuppressionKind, value: &str) -> Result<String> {
    let value = normalize_email(value);
    let (is_valid, code, message) = match kind {
        SuppressionKind::Address => {
            (value.validate_email(), FieldCode::InvalidEmail, "must be an address such as ann@example.com")
        }
        // With a dot, so that nobody shuts a whole top-level domain out by a slip.
        SuppressionKind::Domain => (
            value.contains('.') && !value.starts_with('[') && format!("a@{value}").validate_email(),
            FieldCode::InvalidValue,
            "must be a domain such as example.com",
        ),
    };
    if is_valid { Ok(value) } else { Err(Error::field("value", code, message)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_stands_for_its_subdomains() {
        assert_eq!(
            domains("ann@a.b.example.com"),
            ["a.b.example.com", "b.example.com", "example.com", "com"]
        );
        assert_eq!(domains("\"odd@x.org\"@example.com"), ["example.com", "com"]);
        assert!(domains("nobody").is_empty());
    }

    #[test]
    fn what_is_neither_address_nor_domain_is_refused() {
        use SuppressionKind::{Address, Domain};
        for (kind, value, want) in [
            (Address, "Ann@Example.COM", Some("ann@example.com")),
            (Domain, "Mail.Example.COM", Some("mail.example.com")),
            (Address, "example.com", None),
            (Domain, "ann@example.com", None),
            (Domain, "com", None),
            (Domain, "example..com", None),
            (Domain, "exam ple.com", None),
            (Domain, "[127.0.0.1]", None),
        ] {
            assert_eq!(normalized(kind, value).ok().as_deref(), want, "{value}");
        }
    }
}
