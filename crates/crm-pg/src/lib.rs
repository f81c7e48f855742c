//! A private PostgreSQL server for people who have not set one up.
//!
//! The cluster lives in one folder, is run by the PostgreSQL programs already on the machine, listens on a
//! Unix socket only, and lets in nobody but the operating-system user that made it. It comes with the roles
//! `crm_super`, `crm_owner` and `crm_app` and the database `crm`; tables are the caller's business.
//!
//! ```text
//! <dir>/lock           held by the process that runs the server: its number, the version, the programs
//! <dir>/server.lock    held by the server and everything it forks, so that left-overs are noticed
//! <dir>/data/          the cluster; `data.new/` while it is being made
//! <dir>/socket/        or /tmp/.crm-pg-<hash> when that path does not suit a socket
//! <dir>/pg_hba.conf, pg_ident.conf, postgres.log, postgres.log.1
//! ```

mod cluster;
mod create;
mod error;
mod layout;
mod leftovers;
mod lock;
mod pid_file;
mod programs;
mod server;
mod server_user;
mod wait;

pub use cluster::{Cluster, Options, Role};
pub use error::Error;
pub use programs::find_programs;
