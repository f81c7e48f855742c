//! Stages, and what a stage demands of a deal: one rule for every way in which a deal comes into one.

use crm_core::{Error, FieldCode, Result, TenantTx};

use crate::model::{Kept, OpportunityFields};

crm_core::text_enum!(
    /// Where a deal stands.
    Stage {
        Prospecting = "PROSPECTING",
        Qualification = "QUALIFICATION",
        Proposal = "PROPOSAL",
        Negotiation = "NEGOTIATION",
        ClosedWon = "CLOSED_WON",
        ClosedLost = "CLOSED_LOST",
    }
);

#[expect(clippy::derivable_impls, reason = "the macro that declares the enum knows no default")]
impl Default for Stage {
    fn default() -> Self {
        Self::Prospecting
    }
}

impl Stage {
    /// Every stage, in the order of the board.
    pub const ALL: [Self; 6] = [
        Self::Prospecting,
        Self::Qualification,
        Self::Proposal,
        Self::Negotiation,
        Self::ClosedWon,
        Self::ClosedLost,
    ];

    /// Those in which a deal is still to be had.
    pub const OPEN: [Self; 4] = [Self::Prospecting, Self::Qualification, Self::Proposal, Self::Negotiation];

    /// Whether a deal is over there, one way or the other.
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::ClosedWon | Self::ClosedLost)
    }

    /// How likely a deal there is won, in percent, unless somebody knows better.
    pub const fn probability(self) -> i32 {
        match self {
            Self::Prospecting => 10,
            Self::Qualification => 25,
            Self::Proposal => 50,
            Self::Negotiation => 75,
            Self::ClosedWon => 100,
            Self::ClosedLost => 0,
        }
    }
}

/// What a change says by itself, where a value that it leaves alone is to be judged differently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Somebody chose the probability.
    pub(crate) probability: bool,
    /// Somebody gave the closing date.
    pub(crate) closed_on: bool,
}

/// Judges the deal that would result, and fills in what follows from its stage: the probability, since when it is there, who closed it,
/// and the day of closing where nobody gave one. `old` is the deal as it stands, none for a new one.
///
/// # Errors
/// 422 on `amount` for a won deal that is worth nothing, on `closed_on` for a closed one that would lose its date.
pub(crate) fn settle_stage(
    t: &TenantTx,
    old: Option<(&OpportunityFields, &Kept)>,
    new: &mut OpportunityFields,
    kept: &mut Kept,
    said: Said,
) -> Result<()> {
    let stage = new.stage;
    let moved = old.is_none_or(|(old, _)| old.stage != stage);
    if moved {
        kept.stage_changed_at = t.now();
        kept.closed_by = if stage.is_closed() { t.actor() } else { None };
    }
    let was_chosen = old.is_some_and(|(old, kept)| kept.probability_is_manual && !old.stage.is_closed());
    kept.probability_is_manual = match (said.probability, new.probability) {
        _ if stage.is_closed() => false,
        (true, chosen) => chosen.is_some(),
        (false, _) => was_chosen,
    };
    if !kept.probability_is_manual {
        new.probability = Some(stage.probability());
    }
    if !stage.is_closed() {
        return Ok(());
    }
    let today = t.now().with_timezone(&t.caller().org.timezone).date_naive();
    // The day on which it was hoped for is not the day on which it came about.
    let hoped_for = moved && !said.closed_on && new.closed_on.is_some_and(|day| day > today);
    if moved && new.closed_on.is_none() || hoped_for {
        new.closed_on = Some(today);
    }
    if new.closed_on.is_none() {
        return Err(Error::field("closed_on", FieldCode::Required, "a closed deal has a closing date"));
    }
    if stage == Stage::ClosedWon && new.minor().is_none_or(|minor| minor <= 0) {
        return Err(Error::field(
            "amount",
            FieldCode::Required,
            "a won deal has an amount greater than nothing",
        ));
    }
    Ok(())
}
