//! How often a code of six digits can be guessed. Five guesses an hour and ten a day are judged for one account, whatever their origin:
//! one code in a million makes that a chance of 1 in 100,000 a day, the three time steps of an authenticator 3 in 100,000.

use crm_core::{Result, Tx};

use crate::events::Client;
use crate::throttle::{self, Key};

/// A guess at a code, to be counted before it is judged.
pub(crate) struct Guess {
    address: Option<Key>,
    hour: Key,
    day: Key,
}

impl Guess {
    pub(crate) fn new(purpose: &str, client: &Client, email_normalized: &str) -> Self {
        Self {
            address: client.ip.map(|ip| Key::address("login", ip)),
            hour: Key::account(&format!("{purpose}_hour"), email_normalized),
            day: Key::account(&format!("{purpose}_day"), email_normalized),
        }
    }

    /// Counts it, or answers for how many seconds none is judged.
    pub(crate) async fn count(&self, tx: &mut impl Tx) -> Result<Option<u64>> {
        if let Some(address) = &self.address
            && let Some(seconds) = throttle::count(tx, address, throttle::ADDRESS).await?
        {
            return Ok(Some(seconds));
        }
        match throttle::count(tx, &self.hour, throttle::CODES_AN_HOUR).await? {
            None => throttle::count(tx, &self.day, throttle::CODES_A_DAY).await,
            wait => Ok(wait),
        }
    }

    /// It was right, which says nothing about the others.
    pub(crate) async fn take_back(&self, tx: &mut impl Tx) -> Result<()> {
        for key in self.address.iter().chain([&self.hour, &self.day]) {
            throttle::take_back(tx, key).await?;
        }
        Ok(())
    }
}
