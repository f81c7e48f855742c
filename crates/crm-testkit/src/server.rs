//! The server of this process: a migrated template, and clones of it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crm_core::migrate::{self, OwnerConnection};
use crm_pg::Role;
use diesel::connection::SimpleConnection;
use diesel::{Connection, QueryDsl, RunQueryDsl};

use crate::slot::{self, Slot};

/// What every database of a test is called, so that the next run finds what this one left.
const CLONES: &str = "crm_test_";
const TEMPLATES: &str = "crm_template_";

diesel::table! {
    pg_database (datname) {
        datname -> Text,
    }
}

/// The server, started when first asked for.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| aside(Server::start))
}

/// Runs what blocks on a connection on a thread where no async code runs.
fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let finished = std::thread::spawn(work).join();
    finished.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

pub(crate) struct Server {
    slot: Slot,
    template: String,
    clones: AtomicU32,
}

impl Server {
    fn start() -> Self {
        let template = format!("{TEMPLATES}{:016x}", fingerprint());
        let server = Self { slot: slot::take(), template, clones: AtomicU32::new(0) };
        let mut admin = server.admin();
        let databases: Vec<String> =
            pg_database::table.select(pg_database::datname).load(&mut admin).expect("the list of databases");
        let ours = |name: &&String| name.starts_with(CLONES) || name.starts_with(TEMPLATES);
        for name in databases.iter().filter(ours).filter(|name| **name != server.template) {
            drop_database(&mut admin, name);
        }
        if !databases.contains(&server.template) {
            server.make_template(&mut admin);
        }
        server
    }

    /// Under its final name only when complete.
    fn make_template(&self, admin: &mut OwnerConnection) {
        let unfinished = format!("{CLONES}unfinished");
        create_database(admin, &unfinished, "template1");
        migrate::run_at(&self.url(Role::Owner, &unfinished)).expect("the migrations");
        let rename = format!("ALTER DATABASE {unfinished} RENAME TO {}", self.template);
        admin.batch_execute(&rename).expect("the name of the template");
    }

    pub(crate) fn url(&self, role: Role, database: &str) -> String {
        self.slot.cluster.url(role, database)
    }

    /// Makes a database like the template and answers its name.
    pub(crate) fn clone_template(&'static self) -> String {
        let name = format!("{CLONES}{}", self.clones.fetch_add(1, Ordering::Relaxed));
        aside(move || {
            create_database(&mut self.admin(), &name, &self.template);
            name
        })
    }

    /// Drops a clone without waiting for it; what the end of the process cuts off, the next start makes up for.
    pub(crate) fn drop_clone(&'static self, name: String) {
        std::thread::spawn(move || drop_database(&mut self.admin(), &name));
    }

    /// A connection that makes and drops databases, which no test ever sees.
    fn admin(&self) -> OwnerConnection {
        OwnerConnection::establish(&self.url(Role::Super, "postgres"))
            .expect("a connection to the test server")
    }
}

/// With the rights that the private server of a first start gives.
fn create_database(admin: &mut OwnerConnection, name: &str, template: &str) {
    let (owner, app) = (Role::Owner.name(), Role::App.name());
    for statement in [
        format!("CREATE DATABASE {name} OWNER {owner} TEMPLATE {template}"),
        format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO {app}"),
    ] {
        admin.batch_execute(&statement).expect("a new database");
    }
}

fn drop_database(admin: &mut OwnerConnection, name: &str) {
    admin
        .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .expect("dropping a database");
}

/// Of the migrations compiled in and of their text, so that another schema gets another template.
fn fingerprint() -> u64 {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of the migrations")
        .filter_map(|entry| Some(entry.ok()?.path().join("up.sql")))
        .collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    migrate::versions().hash(&mut hasher);
    for file in files {
        fs::read(file).unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}
