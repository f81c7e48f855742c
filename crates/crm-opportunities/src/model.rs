use chrono::{DateTime, NaiveDate, Utc};
use crm_core::{Error, FieldCode, MemberId, Money, Result, TenantTx, rules};
use crm_records::custom::CustomValues;
use crm_records::list::{Field, Kind, Rel, Resource};
use crm_records::tally::Tally;
use crm_records::{
    Base, Described, LinkIds, Links, Target, contact_ids, contacts_field, link_fields, moment, position,
};
use crm_schema::opportunities;
use diesel::prelude::*;
use iso_currency::Currency;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

use crate::aging::{Aging, AgingStatus};
use crate::stage::Stage;

crm_core::text_enum!(
    /// What kind of business it is.
    OpportunityType {
        NewBusiness = "NEW_BUSINESS",
        ExistingBusiness = "EXISTING_BUSINESS",
        Renewal = "RENEWAL",
        Upsell = "UPSELL",
        CrossSell = "CROSS_SELL",
    }
);

crm_core::text_enum!(
    /// Where a deal came from.
    DealSource {
        None = "NONE",
        Call = "CALL",
        Email = "EMAIL",
        ExistingCustomer = "EXISTING CUSTOMER",
        Partner = "PARTNER",
        PublicRelations = "PUBLIC RELATIONS",
        Campaign = "CAMPAIGN",
        Website = "WEBSITE",
        Other = "OTHER",
    }
);

crm_core::text_enum!(
    /// Who owns the amount: whoever writes the deal, or its line items.
    AmountSource { Manual = "MANUAL", Calculated = "CALCULATED" }
);

const LINKS: [Field; 3] = link_fields("opportunities");

/// Opportunities as a list, and as something that comments, files and history hang on.
pub const OPPORTUNITIES: Target = Target {
    resource: Resource {
        kind: "opportunity",
        table: "opportunities",
        fields: &[
            Field::new("name", Kind::Text).ordered().required(),
            Field::relation("account_id", Rel::Account),
            Field::new("stage", Kind::Choice(Stage::WORDS)).ordered().required(),
            Field::new("opportunity_type", Kind::Choice(OpportunityType::WORDS)),
            Field::new("currency", Kind::Text),
            Field::new("amount", Kind::Money).ordered(),
            Field::new("amount_source", Kind::Choice(AmountSource::WORDS)).required(),
            Field::new("probability", Kind::Integer).required(),
            Field::new("probability_is_manual", Kind::Bool).required(),
            Field::new("closed_on", Kind::Date).ordered(),
            Field::relation("closed_by", Rel::Member),
            Field::new("lead_source", Kind::Choice(DealSource::WORDS)),
            Field::new("stage_changed_at", Kind::Timestamp).required(),
            Field::new("is_active", Kind::Bool).required(),
            Field::new("is_sample", Kind::Bool).required(),
            LINKS[0],
            LINKS[1],
            LINKS[2],
            contacts_field("opportunities"),
        ],
        searchable: true,
        mutable: true,
        neighbours: None,
    },
    view: "opportunities.view_opportunity",
    change: "opportunities.change_opportunity",
};

/// What a client writes of an opportunity. Blank texts are stored as null.
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
#[serde(deny_unknown_fields)]
#[diesel(table_name = opportunities, treat_none_as_null = true, treat_none_as_default_value = false)]
pub struct OpportunityFields {
    /// Unique in the organization, ignoring case.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub name: String,
    /// With whom.
    #[serde(default)]
    pub account_id: Option<Uuid>,
    /// Where it stands; any to any. A closed one has a closing date, a won one an amount.
    #[serde(default)]
    pub stage: Stage,
    /// What kind of business it is.
    #[serde(default)]
    pub opportunity_type: Option<OpportunityType>,
    /// Of the amount; the organization's own when an amount comes without one.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "rules::currency"))]
    pub currency: Option<String>,
    /// What it is worth. While there are line items, their sum.
    #[serde(default)]
    pub amount: Option<Money>,
    /// In percent. Set by hand it stays; null follows the stage again. Won is always 100, lost always 0.
    #[serde(default)]
    #[validate(range(min = 0, max = 100))]
    #[diesel(select_expression = opportunities::probability.nullable())]
    #[diesel(select_expression_type = diesel::dsl::Nullable<opportunities::probability>)]
    #[diesel(skip_insertion, skip_update)]
    pub probability: Option<i32>,
    /// When it is expected to close; once closed, when it did.
    #[serde(default, deserialize_with = "crm_core::body::date")]
    pub closed_on: Option<NaiveDate>,
    /// Where it came from.
    #[serde(default)]
    pub lead_source: Option<DealSource>,
    /// Anything else.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 100_000))]
    pub description: Option<String>,
    /// False hides it from pickers, and it counts for no goal and no forecast.
    #[serde(default = "on")]
    pub is_active: bool,
    /// The people that it is about: ids of contacts.
    #[serde(default)]
    #[diesel(skip_insertion, skip_update)]
    #[diesel(select_expression = contact_ids("opportunities"), select_expression_type = LinkIds)]
    #[validate(length(max = 100, message = "100 contacts at most"))]
    pub contacts: Vec<Uuid>,
}

const fn on() -> bool {
    true
}

impl OpportunityFields {
    /// An opportunity in the first stage, of which only the name is known.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            account_id: None,
            stage: Stage::default(),
            opportunity_type: None,
            currency: None,
            amount: None,
            probability: None,
            closed_on: None,
            lead_source: None,
            description: None,
            is_active: true,
            contacts: Vec::new(),
        }
    }

    /// Fills in what follows from the fields, and judges what only shows when they are seen together.
    ///
    /// # Errors
    /// 422 for an amount that its currency can't have.
    pub(crate) fn settle(mut self, default_currency: &str) -> Result<Self> {
        self.contacts.sort();
        self.contacts.dedup();
        if let Some(amount) = self.amount {
            let code = self.currency.get_or_insert_with(|| default_currency.to_owned());
            let settled = amount.settle(currency(code)?);
            self.amount = Some(settled.map_err(|why| Error::field("amount", FieldCode::InvalidValue, why))?);
        }
        Ok(self)
    }

    /// The amount in minor units of its currency.
    pub fn minor(&self) -> Option<i64> {
        self.amount.and_then(Money::minor)
    }

    /// Where it counts: by stage and by the currency of its amount; under its closing date as well, unless it is lost.
    pub fn tally(&self) -> Tally {
        let amount = self.minor();
        let currency = amount.and(self.currency.as_deref()).unwrap_or_default();
        let amount = amount.unwrap_or_default();
        // Twelve digits times a hundred.
        let weighted = amount * i64::from(self.probability.unwrap_or_default());
        let bucket = format!("{}|{currency}", self.stage);
        let due = self.closed_on.filter(|_| self.stage != Stage::ClosedLost).map(|day| (bucket.clone(), day));
        Tally { bucket, due, amount, weighted }
    }

    /// How the opportunity is found, and what it is called there.
    pub(crate) fn described(&self) -> Described {
        let texts = [Some(&self.name), self.description.as_ref()];
        let text = texts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        Described { title: self.name.clone(), subtitle: String::new(), text }
    }
}

/// The currency of a code that a rule has let pass.
pub(crate) fn currency(code: &str) -> Result<Currency> {
    Currency::from_code(code).ok_or_else(|| {
        Error::field("currency", FieldCode::NotAChoice, "must be an ISO 4217 currency code such as EUR")
    })
}

/// What the server keeps of an opportunity.
#[derive(
    Debug, Clone, PartialEq, Serialize, Queryable, Selectable, Insertable, AsChangeset, utoipa::ToSchema,
)]
#[diesel(table_name = opportunities, treat_none_as_null = true, treat_none_as_default_value = false)]
pub struct Kept {
    /// `CALCULATED` while there are line items, which own the amount then.
    pub amount_source: AmountSource,
    /// Whether somebody chose the probability, which then does not follow the stage.
    pub probability_is_manual: bool,
    /// Who closed it; null while it is open.
    pub closed_by: Option<MemberId>,
    /// Since when it has been in its stage.
    pub stage_changed_at: DateTime<Utc>,
    /// Its place in the column, which sorts as text.
    pub position: String,
    /// Whether it is part of the demonstration data.
    pub is_sample: bool,
}

/// An opportunity: a deal on its way.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Opportunity {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: OpportunityFields,
    /// What the server keeps of it.
    #[serde(flatten)]
    pub kept: Kept,
    /// Whole days in its stage.
    pub days_in_stage: i64,
    /// Whether that is too long.
    pub aging_status: AgingStatus,
    /// Who works on it, and its labels.
    #[serde(flatten)]
    pub links: Links,
    /// The organization's own fields.
    pub custom_fields: CustomValues,
}

impl Opportunity {
    /// The fields of an opportunity that the server owns beside those of every record.
    pub(crate) const READ_ONLY: &'static [&'static str] = &[
        "amount_source",
        "probability_is_manual",
        "closed_by",
        "stage_changed_at",
        "position",
        "is_sample",
        "days_in_stage",
        "aging_status",
    ];

    /// Those of them that change without its version: what is worked out anew whenever it is shown, and its place on the board.
    pub(crate) const OF_THE_MOMENT: &'static [&'static str] = &["days_in_stage", "aging_status", "position"];

    /// An opportunity about to be stored.
    pub(crate) fn made(
        base: Base,
        fields: OpportunityFields,
        kept: Kept,
        links: Links,
        custom_fields: CustomValues,
    ) -> Self {
        Self { base, fields, kept, days_in_stage: 0, aging_status: AgingStatus::Green, links, custom_fields }
    }

    /// An opportunity as it was stored, at the time of the transaction.
    pub(crate) fn stored(
        t: &TenantTx,
        aging: &Aging,
        (base, fields, kept, links, custom_fields): OpportunityRow,
    ) -> Result<Self> {
        // An amount never stands without its currency: a constraint sees to that.
        let fields = fields.settle("USD")?;
        let mut stored = Self::made(base, fields, kept, links, custom_fields);
        stored.age(t.now(), aging);
        Ok(stored)
    }

    /// Works out how long it has been in its stage, and whether that is too long.
    pub(crate) fn age(&mut self, now: DateTime<Utc>, aging: &Aging) {
        self.days_in_stage = (now - self.kept.stage_changed_at).num_days().max(0);
        self.aging_status = aging.status(self.fields.stage, self.days_in_stage);
    }

    /// What of it changes with the day and with what the organization expects, and its place on the board.
    pub(crate) fn moment(&self) -> Option<String> {
        let (days, aging, position) = (self.days_in_stage, self.aging_status.as_str(), &self.kept.position);
        let usual = days == 0
            && self.aging_status == AgingStatus::Green
            && *position == position::newest(self.base.id);
        moment(usual, (days, aging, position))
    }

    /// How the opportunity is found, and what it is called there.
    pub(crate) fn described(&self) -> Described {
        self.custom_fields.describe(self.fields.described())
    }
}

/// An opportunity as it is selected.
pub(crate) type OpportunityRow = (Base, OpportunityFields, Kept, Links, CustomValues);
