//! Teams: groups of members to whom records can be assigned. A member sees the records of their teams.

mod model;
mod service;

pub use model::{TEAMS, Team, TeamFields};
pub use service::{create, delete, find, list, update};
