//! What there is to know at a glance: figures, what to do today, and what happened lately.
//!
//! Nothing is written here. Every figure comes with the list that it summarises and equals the sum of that list for whoever asks: a member
//! who may see all records of a kind reads the tallies that every change keeps, one who sees their own has these counted under the
//! condition of the list itself. What a member may not look at is null, not a refusal.

mod activities;
mod aging;
mod days;
mod figure;
mod leads;
mod opportunities;
mod overview;
mod part;
mod queue;
mod statement;
mod today;

pub use activities::{ACTIVITY_PARAMETERS, Activity, activities};
pub use figure::{CountFigure, CurrencyFigure, MoneyFigure};
pub use leads::{FollowUpFigures, HotLead, HotLeads, LeadFigures};
pub use opportunities::{OpportunityFigures, StageFigure};
pub use overview::{AccountFigures, ContactFigures, Dashboard, overview};
pub use queue::{LaterItem, TodayItem, TodaySource, TodaySummary};
pub use today::{TODAY_PARAMETERS, Today, today};
