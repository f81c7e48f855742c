use chrono::NaiveDate;
use crm_core::{Error, FieldCode, Industry, Money, Result, rules};
use crm_records::custom::CustomValues;
use crm_records::list::{Field, Kind, Rel, Resource};
use crm_records::tally::Tally;
use crm_records::{
    Base, Described, LinkIds, Links, Target, contact_ids, contacts_field, link_fields, moment, position,
};
use crm_schema::leads;
use diesel::prelude::*;
use iso_currency::Currency;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

use crate::follow_up::{Days, FollowUp};

crm_core::text_enum!(
    /// Where a lead stands. Any to any, except `converted`, which only a conversion reaches and nothing leaves.
    LeadStatus {
        Assigned = "assigned",
        InProcess = "in process",
        Converted = "converted",
        Recycled = "recycled",
        Closed = "closed",
    }
);

crm_core::text_enum!(
    /// Where a lead came from.
    LeadSource {
        Call = "call",
        Email = "email",
        ExistingCustomer = "existing customer",
        Partner = "partner",
        PublicRelations = "public relations",
        Campaign = "campaign" | "compaign",
        Other = "other",
    }
);

crm_core::text_enum!(
    /// How promising a lead is.
    LeadRating { Hot = "HOT", Warm = "WARM", Cold = "COLD" }
);

const LINKS: [Field; 3] = link_fields("leads");

/// Leads as a list, and as something that comments, files and history hang on.
pub const LEADS: Target = Target {
    resource: Resource {
        kind: "lead",
        table: "leads",
        fields: &[
            Field::new("title", Kind::Text).ordered(),
            Field::new("salutation", Kind::Text),
            Field::new("first_name", Kind::Text).ordered(),
            Field::new("last_name", Kind::Text).ordered(),
            Field::email("email", "email_normalized"),
            Field::new("phone", Kind::Text),
            Field::new("job_title", Kind::Text),
            Field::new("website", Kind::Text),
            Field::new("linkedin_url", Kind::Text),
            Field::new("company_name", Kind::Text).ordered(),
            Field::new("status", Kind::Choice(LeadStatus::WORDS)).ordered(),
            Field::new("source", Kind::Choice(LeadSource::WORDS)),
            Field::new("industry", Kind::Choice(Industry::WORDS)),
            Field::new("rating", Kind::Choice(LeadRating::WORDS)).ordered(),
            Field::new("opportunity_amount", Kind::Money).ordered(),
            Field::new("currency", Kind::Text),
            Field::new("probability", Kind::Integer).ordered(),
            Field::new("close_date", Kind::Date).ordered(),
            Field::new("address_line", Kind::Text),
            Field::new("city", Kind::Text),
            Field::new("state", Kind::Text),
            Field::new("postcode", Kind::Text),
            Field::new("country", Kind::Text),
            Field::new("last_contacted", Kind::Date).ordered(),
            Field::new("next_follow_up", Kind::Date).ordered(),
            Field::new("is_active", Kind::Bool).required(),
            Field::new("is_sample", Kind::Bool).required(),
            Field::relation("stage_id", Rel::LeadStage),
            Field::new("position", Kind::Text).ordered().required(),
            LINKS[0],
            LINKS[1],
            LINKS[2],
            contacts_field("leads"),
        ],
        searchable: true,
        mutable: true,
        neighbours: None,
    },
    view: "leads.view_lead",
    change: "leads.change_lead",
};

/// What a client writes of a lead. Blank texts are stored as null.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Serialize,
    Deserialize,
    Validate,
    Queryable,
    Selectable,
    Insertable,
    AsChangeset,
    utoipa::ToSchema,
)]
#[serde(default, deny_unknown_fields)]
#[diesel(table_name = leads, treat_none_as_null = true, treat_none_as_default_value = false)]
pub struct LeadFields {
    /// The subject of the lead.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255), custom(function = "rules::one_line"))]
    pub title: Option<String>,
    /// Mr, Ms, Dr, …
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 64))]
    pub salutation: Option<String>,
    /// May be left out, but not blank.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub first_name: Option<String>,
    /// May be left out, but not blank.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub last_name: Option<String>,
    /// Unique in the organization, ignoring case.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 254), email)]
    pub email: Option<String>,
    /// The address as it is compared.
    #[serde(skip)]
    pub email_normalized: Option<String>,
    /// 7 to 25 characters: digits, spaces and - ( ) + .
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "rules::phone"))]
    pub phone: Option<String>,
    /// What the person does.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255))]
    pub job_title: Option<String>,
    /// As written: with or without a scheme.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255))]
    pub website: Option<String>,
    /// A web address.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 500), custom(function = "rules::web_url"))]
    pub linkedin_url: Option<String>,
    /// Where the person works.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255), custom(function = "rules::one_line"))]
    pub company_name: Option<String>,
    /// Where the lead stands.
    pub status: Option<LeadStatus>,
    /// Where it came from.
    pub source: Option<LeadSource>,
    /// The company's line of business.
    pub industry: Option<Industry>,
    /// How promising it is.
    pub rating: Option<LeadRating>,
    /// What it may be worth.
    pub opportunity_amount: Option<Money>,
    /// Of the amount; the organization's own when an amount comes without one.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "rules::currency"))]
    pub currency: Option<String>,
    /// In percent.
    #[validate(range(min = 0, max = 100))]
    pub probability: Option<i32>,
    /// When the deal is hoped for.
    #[serde(deserialize_with = "crm_core::body::date")]
    pub close_date: Option<NaiveDate>,
    /// Street and number.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255))]
    pub address_line: Option<String>,
    /// City.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255))]
    pub city: Option<String>,
    /// State or province.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255))]
    pub state: Option<String>,
    /// Postal code.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 64))]
    pub postcode: Option<String>,
    /// ISO 3166 code of two letters.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "rules::country"))]
    pub country: Option<String>,
    /// The day of the last contact.
    #[serde(deserialize_with = "crm_core::body::date")]
    pub last_contacted: Option<NaiveDate>,
    /// The day of the next follow-up.
    #[serde(deserialize_with = "crm_core::body::date")]
    pub next_follow_up: Option<NaiveDate>,
    /// Anything else.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 100_000))]
    pub description: Option<String>,
    /// False hides it from pickers.
    pub is_active: bool,
    /// The people that it is about: ids of contacts.
    #[diesel(skip_insertion, skip_update)]
    #[diesel(select_expression = contact_ids("leads"), select_expression_type = LinkIds)]
    #[validate(length(max = 100, message = "100 contacts at most"))]
    pub contacts: Vec<Uuid>,
}

impl Default for LeadFields {
    fn default() -> Self {
        Self {
            title: None,
            salutation: None,
            first_name: None,
            last_name: None,
            email: None,
            email_normalized: None,
            phone: None,
            job_title: None,
            website: None,
            linkedin_url: None,
            company_name: None,
            status: None,
            source: None,
            industry: None,
            rating: None,
            opportunity_amount: None,
            currency: None,
            probability: Some(0),
            close_date: None,
            address_line: None,
            city: None,
            state: None,
            postcode: None,
            country: None,
            last_contacted: None,
            next_follow_up: None,
            description: None,
            is_active: true,
            contacts: Vec::new(),
        }
    }
}

impl LeadFields {
    /// Fills in what follows from the fields, and judges what only shows when they are seen together.
    ///
    /// # Errors
    /// 422 for an amount that its currency can't have.
    pub(crate) fn settle(mut self, default_currency: &str) -> Result<Self> {
        self.email_normalized = self.email.as_deref().map(rules::normalize_email);
        self.contacts.sort();
        self.contacts.dedup();
        if let Some(amount) = self.opportunity_amount {
            let code = self.currency.get_or_insert_with(|| default_currency.to_owned());
            let currency = Currency::from_code(code).ok_or_else(|| {
                Error::field(
                    "currency",
                    FieldCode::NotAChoice,
                    "must be an ISO 4217 currency code such as EUR",
                )
            })?;
            let settled = amount
                .settle(currency)
                .map_err(|why| Error::field("opportunity_amount", FieldCode::InvalidValue, why))?;
            self.opportunity_amount = Some(settled);
        }
        Ok(self)
    }

    /// Where it counts: by status and rating, and while it is open under the day of its next follow-up.
    pub fn tally(&self) -> Tally {
        let status = self.status.map_or("", LeadStatus::as_str);
        let tally = Tally::one(format!("{status}|{}", self.rating.map_or("", LeadRating::as_str)));
        let is_open = !matches!(self.status, Some(LeadStatus::Converted | LeadStatus::Closed));
        match self.next_follow_up.filter(|_| is_open) {
            Some(day) => tally.due("follow_up", day),
            None => tally,
        }
    }

    /// What the lead is called where it is mentioned: its title, or whom it is about.
    pub fn display_name(&self) -> String {
        let person = [&self.salutation, &self.first_name, &self.last_name];
        let person = person.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        let name =
            self.title.as_ref().or(Some(&person).filter(|p| !p.is_empty())).or(self.company_name.as_ref());
        name.or(self.email.as_ref()).cloned().unwrap_or_else(|| "a lead without a name".into())
    }

    /// How the lead is found, and what it is called there.
    pub fn described(&self) -> Described {
        let title = self.display_name();
        let subtitle = self.company_name.as_ref().filter(|name| **name != title).or(self.email.as_ref());
        let texts = [
            &self.title,
            &self.first_name,
            &self.last_name,
            &self.company_name,
            &self.email,
            &self.phone,
            &self.job_title,
            &self.city,
        ];
        let text = texts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        Described { subtitle: subtitle.cloned().unwrap_or_default(), title, text }
    }
}

/// A lead.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Lead {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: LeadFields,
    /// Whether it is part of the demonstration data.
    pub is_sample: bool,
    /// Its stage in a pipeline; null on the board of statuses.
    pub stage_id: Option<Uuid>,
    /// Its place in the column, which sorts as text.
    pub position: String,
    /// How long it has been left alone, and when it is to be spoken to again.
    #[serde(flatten)]
    pub follow_up: FollowUp,
    /// Who works on it, and its labels.
    #[serde(flatten)]
    pub links: Links,
    /// The organization's own fields.
    pub custom_fields: CustomValues,
}

impl Lead {
    /// The fields of a lead that the server owns beside those of every record.
    pub(crate) const READ_ONLY: &'static [&'static str] = &["is_sample", "stage_id", "position"];

    /// A lead as it was stored.
    pub(crate) fn stored((base, fields, own, links, custom_fields): LeadRow, days: Days) -> Result<Self> {
        let (is_sample, stage_id, position) = own;
        // An amount never stands without its currency: a constraint sees to that.
        let fields = fields.settle("USD")?;
        let follow_up = FollowUp::of(&base, &fields, days);
        Ok(Self { base, fields, is_sample, stage_id, position, follow_up, links, custom_fields })
    }

    /// What of it changes with the day, and its place on the board.
    pub fn moment(&self) -> Option<String> {
        let (since, until) = (self.follow_up.days_since_last_contact, self.follow_up.days_until_follow_up);
        let usual = since == 0 && until.is_none() && self.position == position::newest(self.base.id);
        moment(usual, (since, until, &self.position))
    }

    /// How the lead is found, and what it is called there.
    pub(crate) fn described(&self) -> Described {
        self.custom_fields.describe(self.fields.described())
    }
}

/// A lead as it is selected.
pub(crate) type LeadRow = (Base, LeadFields, Own, Links, CustomValues);

/// What the server keeps of a lead: whether it is sample data, its stage and its place.
pub(crate) type Own = (bool, Option<Uuid>, String);
