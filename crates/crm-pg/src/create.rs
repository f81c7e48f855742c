//! Making a cluster.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use postgresql_commands::CommandBuilder;
use postgresql_commands::initdb::InitDbBuilder;
use postgresql_commands::postgres::PostgresBuilder;

use crate::Error;
use crate::cluster::{Options, Role};
use crate::error::at;
use crate::layout::Layout;
use crate::leftovers::ignore_missing;
use crate::programs::Programs;
use crate::server_user::ServerUser;
use crate::wait::wait_until;

/// Makes the cluster with its roles and database, unless there is one.
///
/// It appears under its final name only when complete, so a start cut off half-way leaves nothing to repair.
pub(crate) fn create_if_missing(
    layout: &Layout,
    programs: &Programs,
    user: &ServerUser,
    options: &Options,
    server_lock: &File,
) -> Result<(), Error> {
    if layout.data().exists() {
        return Ok(());
    }
    tracing::info!(dir = %layout.dir.display(), version = programs.version, "making a PostgreSQL cluster");
    let unfinished = layout.unfinished_data();
    remove_unfinished(&unfinished)?;
    user.private_dir(&unfinished)?;

    let mut initdb = user.run(initdb(&programs.bin_dir, &unfinished, options.durable), &layout.dir);
    initdb.stdin(server_lock.try_clone().map_err(at(&layout.dir))?);
    run("initdb", &mut initdb, "")?;
    let mut single_user = user.run(single_user(&programs.bin_dir, &unfinished, options.durable), &layout.dir);
    single_user.stdin(Stdio::piped());
    run("creating the roles", &mut single_user, &statements(options))?;

    fs::rename(&unfinished, layout.data()).map_err(at(&unfinished))?;
    // The new name must survive a power cut too.
    File::open(&layout.dir).and_then(|dir| dir.sync_all()).map_err(at(&layout.dir))
}

fn initdb(bin_dir: &Path, data: &Path, durable: bool) -> Command {
    let ctype = if cfg!(target_os = "macos") { "UTF-8" } else { "C.UTF-8" };
    let initdb = InitDbBuilder::new()
        .program_dir(bin_dir)
        .pgdata(data)
        .username(Role::Super.name())
        .encoding("UTF8")
        .locale("C")
        .lc_ctype(ctype)
        .auth_local("peer")
        .auth_host("reject")
        .data_checksums();
    if durable { initdb.build() } else { initdb.no_sync().build() }
}

/// A server without clients, which runs the statements it reads as the superuser and ends.
fn single_user(bin_dir: &Path, data: &Path, durable: bool) -> Command {
    let server = PostgresBuilder::new()
        .program_dir(bin_dir)
        .single_user_mode()
        .data_dir(data)
        .runtime_param("exit_on_error", "on")
        .dbname("postgres");
    if durable { server.build() } else { server.fsync_off().build() }
}

/// One statement a line, as single-user mode wants it.
fn statements(options: &Options) -> String {
    let (owner, app) = (Role::Owner.name(), Role::App.name());
    let create_db = if options.owner_may_create_databases { "CREATEDB" } else { "NOCREATEDB" };
    format!(
        "CREATE ROLE {owner} LOGIN NOSUPERUSER NOCREATEROLE NOBYPASSRLS {create_db};
CREATE ROLE {app} LOGIN NOSUPERUSER NOCREATEROLE NOBYPASSRLS NOCREATEDB;
CREATE DATABASE crm OWNER {owner};
REVOKE ALL ON DATABASE crm FROM PUBLIC;
GRANT CONNECT ON DATABASE crm TO {app};
"
    )
}

/// Runs one step to its end, with `input` if it reads from us.
fn run(step: &'static str, command: &mut Command, input: &str) -> Result<(), Error> {
    let program = Path::new(command.get_program()).to_owned();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(at(&program))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that has died does not read; its exit status says so below.
        let _ = stdin.write_all(input.as_bytes());
    }
    let Output { status, stdout, stderr } = child.wait_with_output().map_err(at(&program))?;
    if status.success() {
        return Ok(());
    }
    let output = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).join("\n");
    Err(Error::Create { step, output })
}

/// Removes what a start that was cut off left, whose last processes may just be ending.
fn remove_unfinished(dir: &Path) -> Result<(), Error> {
    let mut removed = Ok(());
    wait_until(Duration::from_secs(5), || {
        removed = ignore_missing(fs::remove_dir_all(dir));
        removed.is_ok()
    });
    removed.map_err(at(dir))
}
