//! Waiting for a condition.

use std::thread;
use std::time::{Duration, Instant};

/// Asks `done` every few milliseconds and tells whether it came true within `limit`.
pub(crate) fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if done() {
            return true;
        }
        if start.elapsed() >= limit {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
