//! Waking those who wait for notifications: one subscription of the process for any number of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crm_core::{Db, Error, MemberId, OrgId, Result, Signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use crate::delivery::{CHANNEL, woken};

/// How many may wait for one member's notifications at once.
const PER_MEMBER: usize = 5;

/// How many may wait in one process.
const PER_PROCESS: usize = 2000;

/// How soon whoever is one too many may try again, in seconds.
const RETRY: u64 = 15;

type Key = (OrgId, MemberId);

/// Whoever waits in this process. Cheap to clone.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    members: Mutex<HashMap<Key, Member>>,
    closed: watch::Sender<bool>,
}

struct Member {
    wake: watch::Sender<()>,
    waiting: usize,
}

impl Member {
    fn wake(&self) {
        self.wake.send_replace(());
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("members", &self.0.members().len()).finish_non_exhaustive()
    }
}

impl Shared {
    fn members(&self) -> MutexGuard<'_, HashMap<Key, Member>> {
        // Nothing that holds the lock can stop half-way.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Listens to `db` from here on. Must be called on the runtime that lives as long as the process.
    pub fn new(db: &Db) -> Self {
        let live = Self(Arc::new(Shared { members: Mutex::default(), closed: watch::Sender::new(false) }));
        tokio::spawn(listen(Arc::downgrade(&live.0), db.signals()));
        live
    }

    /// Waits for a member's notifications from here on.
    ///
    /// # Errors
    /// `TooMany` where five wait for that member already; `Unavailable` where 2,000 wait in this process, and once it is closed.
    pub fn wait_for(&self, org: OrgId, member: MemberId) -> Result<Waiting> {
        let mut members = self.0.members();
        if *self.0.closed.borrow() || members.values().map(|m| m.waiting).sum::<usize>() >= PER_PROCESS {
            return Err(Error::Unavailable("as many streams are open as this process keeps".into()));
        }
        let key = (org, member);
        let entry = members.entry(key).or_insert_with(|| Member { wake: watch::Sender::new(()), waiting: 0 });
        if entry.waiting >= PER_MEMBER {
            return Err(Error::TooMany { seconds: RETRY });
        }
        entry.waiting += 1;
        let (wake, closed) = (entry.wake.subscribe(), self.0.closed.subscribe());
        Ok(Waiting { live: self.clone(), key, wake, closed })
    }

    /// Sends everybody home, now and from now on: the process is about to end.
    pub fn close(&self) {
        self.0.closed.send_replace(true);
    }
}

/// Somebody who waits for a member's notifications, until dropped.
#[derive(Debug)]
pub struct Waiting {
    live: Live,
    key: Key,
    wake: watch::Receiver<()>,
    closed: watch::Receiver<bool>,
}

impl Waiting {
    /// Waits until there may be something new, for `patience` at most; false when the process is about to end. What comes between
    /// two calls is not missed.
    pub async fn wait(&mut self, patience: Duration) -> bool {
        tokio::select! {
            biased;
            _ = self.closed.wait_for(|closed| *closed) => false,
            _ = timeout(patience, self.wake.changed()) => true,
        }
    }
}

#[cfg(test)]
impl Waiting {
    /// Whether something came within `patience`.
    pub(crate) async fn woken(&mut self, patience: Duration) -> bool {
        timeout(patience, self.wake.changed()).await.is_ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut members = self.live.0.members();
        if let Some(member) = members.get_mut(&self.key) {
            member.waiting -= 1;
            if member.waiting == 0 {
                members.remove(&self.key);
            }
        }
    }
}

async fn listen(shared: Weak<Shared>, mut heard: broadcast::Receiver<Signal>) {
    loop {
        let signal = heard.recv().await;
        let Some(shared) = shared.upgrade() else { return };
        let members = shared.members();
        match signal {
            Ok(Signal { channel, payload }) if channel == CHANNEL => {
                woken(&payload).filter_map(|key| members.get(&key)).for_each(Member::wake);
            }
            Ok(_) => {}
            // Nobody knows whose were missed.
            Err(RecvError::Lagged(_)) => members.values().for_each(Member::wake),
            Err(RecvError::Closed) => return,
        }
    }
}
