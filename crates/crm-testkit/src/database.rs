//! Databases for tests.

use std::sync::OnceLock;
use std::time::Duration;

use crm_core::{Clock, Db, DbSettings};
use crm_pg::Role;

use crate::server::server;

const POOL_SIZE: usize = 8;

/// A database of one test, as the migrations leave it; gone when dropped.
#[derive(Debug)]
pub struct Database {
    /// As the application role, with a clock of its own.
    pub db: Db,
    /// Where the application role connects.
    pub app_url: String,
    /// Where the owner of the tables connects.
    pub owner_url: String,
    /// Where the superuser connects: for tests of what such a role is told.
    pub super_url: String,
    /// Its name on the server.
    pub name: String,
}

/// The database that the tests of this process share. Each makes an organization of its own and leaves the clock alone.
pub async fn shared_db() -> Db {
    static SHARED: OnceLock<Db> = OnceLock::new();
    SHARED.get_or_init(|| connect(&server().url(Role::App, &server().clone_template()))).clone()
}

/// A database of its own.
pub async fn fresh_database() -> Database {
    let server = server();
    let name = server.clone_template();
    let [app_url, owner_url, super_url] =
        [Role::App, Role::Owner, Role::Super].map(|role| server.url(role, &name));
    Database { db: connect(&app_url), app_url, owner_url, super_url, name }
}

impl Drop for Database {
    fn drop(&mut self) {
        server().drop_clone(std::mem::take(&mut self.name));
    }
}

fn connect(url: &str) -> Db {
    let settings = DbSettings { url: url.to_owned(), pool_size: POOL_SIZE, wait: Duration::from_secs(30) };
    Db::connect(&settings, Clock::default()).expect("a pool")
}
