//! What a lead hands on to the records that are made of it.

use crm_accounts::AccountFields;
use crm_contacts::ContactFields;
use crm_core::body::Object;
use crm_core::{Error, MemberId, Result, TagId, TenantTx, rules};
use crm_leads::{Lead, LeadSource};
use crm_opportunities::{DealSource, OpportunityFields, Stage};
use crm_records::Links;
use crm_records::custom::{Choices, CustomTarget};
use crm_schema::{custom_fields, memberships, tags};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// How long the name of an account may be.
const NAME_LENGTH: usize = 255;

/// A lead about to be converted, with those of its links that another record may have.
pub(crate) struct Carried<'a> {
    pub(crate) lead: &'a Lead,
    pub(crate) links: Links,
    definitions: Vec<Definition>,
}

/// A custom field of one of the modules.
struct Definition {
    target: String,
    key: String,
    field_type: String,
    options: Option<Choices>,
}

impl<'a> Carried<'a> {
    pub(crate) async fn of(t: &mut TenantTx, lead: &'a Lead) -> Result<Self> {
        let Links { assigned_to, teams, tags } = &lead.links;
        // Whoever has left and what was archived stays with the lead.
        let assigned_to: Vec<MemberId> = memberships::table
            .filter(memberships::org_id.eq(t.org()).and(memberships::id.eq_any(assigned_to)))
            .filter(memberships::state.eq("active"))
            .select(memberships::id)
            .load(t.conn()?)
            .await?;
        let tags: Vec<TagId> = tags::table
            .filter(tags::org_id.eq(t.org()).and(tags::id.eq_any(tags)).and(tags::is_active))
            .select(tags::id)
            .load(t.conn()?)
            .await?;
        let links = Links { assigned_to, teams: teams.clone(), tags }.sorted();
        let rows: Vec<(String, String, String, Option<Choices>)> = custom_fields::table
            .filter(custom_fields::org_id.eq(t.org()).and(custom_fields::is_active))
            .select((
                custom_fields::target,
                custom_fields::key,
                custom_fields::field_type,
                custom_fields::options,
            ))
            .load(t.conn()?)
            .await?;
        let definitions = rows
            .into_iter()
            .map(|(target, key, field_type, options)| Definition { target, key, field_type, options })
            .collect();
        Ok(Self { lead, links, definitions })
    }

    /// The account that the lead leads to, as the body of its creation.
    pub(crate) fn account(&self) -> Result<Object> {
        let of = &self.lead.fields;
        let name = of.company_name.clone().or_else(|| self.person());
        let name = name.or_else(|| of.email.clone()).or_else(|| of.title.clone());
        let website =
            of.website.clone().filter(|site| rules::website(site).is_ok() && site.chars().count() <= 200);
        let fields = AccountFields {
            name: cut(&name.unwrap_or_default()),
            email: of.email.clone(),
            phone: of.phone.clone(),
            website,
            industry: of.industry,
            currency: of.currency.clone(),
            address_line: of.address_line.clone(),
            city: of.city.clone(),
            state: of.state.clone(),
            postcode: of.postcode.clone(),
            country: of.country.clone(),
            description: of.description.clone(),
            ..AccountFields::default()
        };
        self.body(&fields, CustomTarget::Accounts)
    }

    /// The contact that the lead leads to.
    pub(crate) fn contact(&self, account: Uuid) -> Result<Object> {
        let of = &self.lead.fields;
        let mailbox = of.email.as_deref().and_then(|email| email.split('@').next()).map(str::to_owned);
        // A contact has both names. Where the lead lacks one, the mailbox stands for the first and a dash for the last.
        let fields = ContactFields {
            first_name: of.first_name.clone().or(mailbox).unwrap_or_else(|| "-".into()),
            last_name: of.last_name.clone().unwrap_or_else(|| "-".into()),
            email: of.email.clone(),
            phone: of.phone.clone(),
            organization: of.company_name.clone(),
            title: of.job_title.clone(),
            linkedin_url: of.linkedin_url.clone(),
            address_line: of.address_line.clone(),
            city: of.city.clone(),
            state: of.state.clone(),
            postcode: of.postcode.clone(),
            country: of.country.clone(),
            description: of.description.clone(),
            account_id: Some(account),
            ..ContactFields::default()
        };
        self.body(&fields, CustomTarget::Contacts)
    }

    /// Whether the lead says enough for a deal to be made of it.
    pub(crate) fn has_deal(&self) -> bool {
        let of = &self.lead.fields;
        of.opportunity_amount.is_some() || of.first_name.is_some() || of.company_name.is_some()
    }

    /// The opportunity that the lead leads to, under a name that may be taken.
    pub(crate) fn opportunity(&self, account: Uuid, contact: Option<Uuid>) -> Result<Object> {
        let of = &self.lead.fields;
        let parts: Vec<String> = of.company_name.clone().into_iter().chain(self.person()).collect();
        let name = if parts.is_empty() { of.display_name() } else { parts.join(" - ") };
        let fields = OpportunityFields {
            account_id: Some(account),
            stage: Stage::Qualification,
            currency: of.currency.clone(),
            amount: of.opportunity_amount,
            // Without one of its own it follows the stage.
            probability: of.probability.filter(|probability| *probability > 0),
            closed_on: of.close_date,
            lead_source: of.source.map(deal_source),
            description: of.description.clone(),
            contacts: contact.into_iter().collect(),
            ..OpportunityFields::named(cut(&name))
        };
        self.body(&fields, CustomTarget::Opportunities)
    }

    /// Whom the lead is about.
    fn person(&self) -> Option<String> {
        let names = [&self.lead.fields.first_name, &self.lead.fields.last_name];
        let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
        (!names.is_empty()).then(|| names.join(" "))
    }

    fn body(&self, fields: &impl Serialize, target: CustomTarget) -> Result<Object> {
        let mut body = object(fields)?;
        body.extend(object(&self.links)?);
        let custom = self.custom(target)?;
        if !custom.is_empty() {
            body.insert("custom_fields".into(), Value::Object(custom));
        }
        Ok(body)
    }

    /// The lead's values of custom fields that the other module has too, under the same key and of the same type.
    fn custom(&self, target: CustomTarget) -> Result<Object> {
        let defined = |target: CustomTarget, key: &str| {
            self.definitions.iter().find(|d| d.target == target.as_str() && d.key == key)
        };
        let mut values = object(&self.lead.custom_fields)?;
        values.retain(|key, value| {
            let (Some(from), Some(to)) = (defined(CustomTarget::Leads, key), defined(target, key)) else {
                return false;
            };
            let offered = to.options.as_ref().is_none_or(|options| {
                options.0.iter().any(|choice| value.as_str() == Some(choice.value.as_str()))
            });
            from.field_type == to.field_type && offered
        });
        Ok(values)
    }
}

fn object(value: &impl Serialize) -> Result<Object> {
    match serde_json::to_value(value).map_err(Error::internal)? {
        Value::Object(object) => Ok(object),
        _ => Err(Error::internal("fields are a JSON object")),
    }
}

fn cut(name: &str) -> String {
    let short: String = name.chars().take(NAME_LENGTH).collect();
    short.trim().to_owned()
}

/// Deals have words of their own for where they come from.
const fn deal_source(source: LeadSource) -> DealSource {
    match source {
        LeadSource::Call => DealSource::Call,
        LeadSource::Email => DealSource::Email,
        LeadSource::ExistingCustomer => DealSource::ExistingCustomer,
        LeadSource::Partner => DealSource::Partner,
        LeadSource::PublicRelations => DealSource::PublicRelations,
        LeadSource::Campaign => DealSource::Campaign,
        LeadSource::Other => DealSource::Other,
    }
}
