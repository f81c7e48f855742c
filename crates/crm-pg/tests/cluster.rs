//! Life of a private cluster. Runs as root and as an ordinary user alike.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crm_pg::{Cluster, Error, Options, Role};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use tempfile::TempDir;

/// A folder for one cluster, which the user that runs the server can reach.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        fs::set_permissions(tmp.path(), Permissions::from_mode(0o711)).unwrap();
        Self(tmp)
    }

    fn options(&self) -> Options {
        Options { dir: self.0.path().join("a/pg"), durable: false, owner_may_create_databases: false }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.options().dir.join(name)
    }
}

fn psql(cluster: &Cluster, role: Role, database: &str) -> Command {
    let mut command = Command::new(cluster.bin_dir().join("psql"));
    command.arg(cluster.url(role, database)).args(["-XAtq", "-v", "ON_ERROR_STOP=1"]).current_dir("/");
    command
}

/// What `sql` answers, or what the server has against it.
fn query(cluster: &Cluster, role: Role, sql: &str) -> Result<String, String> {
    let output = psql(cluster, role, "crm").args(["-c", sql]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn await_that(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what} did not come true");
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

#[test]
fn first_start_makes_roles_and_database() {
    let place = Place::new();
    let cluster = Cluster::start(&place.options()).unwrap();
    assert!(cluster.is_holder());

    let roles = "SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles \
                 WHERE rolname LIKE 'crm%' ORDER BY 1";
    let expected = "crm_app|t|f|f|f|f\ncrm_owner|t|f|f|f|f\ncrm_super|t|t|t|t|t";
    assert_eq!(query(&cluster, Role::App, roles).unwrap(), expected);
    let database = "SELECT pg_get_userbyid(datdba), datacl, pg_encoding_to_char(encoding), datctype FROM pg_database \
                    WHERE datname = 'crm'";
    let expected = "crm_owner|{crm_owner=CTc/crm_owner,crm_app=c/crm_owner}|UTF8|C.UTF-8";
    assert_eq!(query(&cluster, Role::Owner, database).unwrap(), expected);
    let settings = "SELECT string_agg(current_setting(s), ' ') FROM unnest(ARRAY['fsync', 'listen_addresses', \
                    'data_checksums', 'TimeZone', 'logging_collector']) s";
    assert_eq!(query(&cluster, Role::Super, settings).unwrap(), "off  on UTC off");
}

#[test]
fn the_owner_builds_and_the_app_does_not() {
    let place = Place::new();
    let cluster = Cluster::start(&place.options()).unwrap();

    let extensions = "CREATE EXTENSION pg_trgm; CREATE EXTENSION unaccent; CREATE EXTENSION btree_gin; \
                      CREATE EXTENSION btree_gist; CREATE TABLE t (id int)";
    query(&cluster, Role::Owner, extensions).unwrap();
    for refused in
        ["CREATE TABLE u (id int)", "CREATE TEMP TABLE u (id int)", "SELECT * FROM t", "SET ROLE crm_owner"]
    {
        let error = query(&cluster, Role::App, refused).unwrap_err();
        assert!(error.contains("permission denied"), "{refused}: {error}");
    }
    let error = query(&cluster, Role::Owner, "CREATE DATABASE other").unwrap_err();
    assert!(error.contains("permission denied"), "{error}");
}

#[test]
fn the_owner_creates_databases_where_that_was_asked_for() {
    let place = Place::new();
    let cluster = Cluster::start(&Options { owner_may_create_databases: true, ..place.options() }).unwrap();
    query(&cluster, Role::Owner, "CREATE DATABASE \"t 1\"").unwrap();
    let output = psql(&cluster, Role::App, "t 1").args(["-c", "SELECT current_database()"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "t 1\n");
}

#[test]
fn a_durable_cluster_syncs() {
    let place = Place::new();
    let cluster = Cluster::start(&Options { durable: true, ..place.options() }).unwrap();
    let settings = "SELECT string_agg(current_setting(s), ' ') FROM unnest(ARRAY['fsync', 'full_page_writes', \
                    'synchronous_commit', 'max_connections']) s";
    assert_eq!(query(&cluster, Role::App, settings).unwrap(), "on on on 60");
}

#[test]
fn a_held_cluster_can_be_joined_but_not_started() {
    let place = Place::new();
    let options = place.options();
    assert!(matches!(Cluster::attach(&options.dir), Err(Error::NotRunning { .. })), "nothing is there yet");
    let mut holder = Cluster::start(&options).unwrap();

    let error = Cluster::start(&options).unwrap_err();
    assert!(matches!(error, Error::Held { by_pid, .. } if by_pid == std::process::id()), "{error}");
    let joined = Cluster::start_or_attach(&options).unwrap();
    assert!(!joined.is_holder());
    assert_eq!(joined.server_pid(), holder.server_pid());
    assert_eq!(joined.bin_dir(), holder.bin_dir());
    assert_eq!(joined.url(Role::App, "crm"), holder.url(Role::App, "crm"));
    drop(joined);
    assert_eq!(
        query(&holder, Role::App, "SELECT 1").unwrap(),
        "1",
        "the joined handle left the server alone"
    );

    holder.stop();
    assert!(!is_alive(holder.server_pid()));
    assert!(!place.file("data/postmaster.pid").exists());
    holder.stop();
    assert!(matches!(Cluster::attach(&options.dir), Err(Error::NotRunning { .. })));
    assert!(Cluster::start_or_attach(&options).unwrap().is_holder());
}

#[test]
fn of_two_starts_at_once_one_holds_and_the_other_joins() {
    let place = Place::new();
    let options = place.options();
    // Neither handle is dropped before both are there.
    let both = thread::scope(|scope| {
        [(); 2]
            .map(|()| scope.spawn(|| Cluster::start_or_attach(&options).unwrap()))
            .map(|start| start.join().unwrap())
    });
    assert_eq!(both.iter().filter(|cluster| cluster.is_holder()).count(), 1);
    assert_eq!(both[0].server_pid(), both[1].server_pid());
    // Both threads that started them have ended, yet the server lives.
    assert_eq!(query(&both[0], Role::App, "SELECT 1").unwrap(), "1");
}

#[test]
fn data_survives_a_restart_and_a_killed_server() {
    let place = Place::new();
    let cluster = Cluster::start(&place.options()).unwrap();
    query(&cluster, Role::Owner, "CREATE TABLE t AS SELECT 7 AS n").unwrap();
    drop(cluster);

    let cluster = Cluster::start(&place.options()).unwrap();
    kill(Pid::from_raw(cluster.server_pid()), Signal::SIGKILL).unwrap();
    await_that("the killed server's end", || !is_alive(cluster.server_pid()));
    assert!(place.file("data/postmaster.pid").exists(), "a killed server leaves its file");
    drop(cluster);

    let cluster = Cluster::start(&place.options()).unwrap();
    assert_eq!(query(&cluster, Role::Owner, "SELECT n FROM t").unwrap(), "7");
    assert!(place.file("postgres.log.1").exists(), "the log of the run before is kept");
}

#[test]
fn a_stale_pid_file_with_the_number_of_another_process_does_no_harm() {
    let place = Place::new();
    drop(Cluster::start(&place.options()).unwrap());
    let mut other = other_process_of_the_servers_user(&place);
    let stale = place.file("data/postmaster.pid");
    let socket_dir = place.file("socket");
    let text = format!("{}\n/elsewhere\n0\n5432\n{}\n\n  1 1\nready   \n", other.id(), socket_dir.display());
    fs::write(&stale, text).unwrap();

    let cluster = Cluster::start(&place.options()).unwrap();
    assert_eq!(query(&cluster, Role::App, "SELECT 1").unwrap(), "1");
    assert!(other.try_wait().unwrap().is_none(), "the other process was left alone");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_pid_file_cut_short_does_no_harm() {
    let place = Place::new();
    drop(Cluster::start(&place.options()).unwrap());
    fs::write(place.file("data/postmaster.pid"), "").unwrap();
    Cluster::start(&place.options()).unwrap();
}

#[test]
fn an_unfinished_cluster_is_made_anew() {
    let place = Place::new();
    let dir = place.0.path().join("pg");
    fs::create_dir_all(dir.join("data.new/base")).unwrap();
    fs::write(dir.join("data.new/PG_VERSION"), "9\n").unwrap();
    let cluster = Cluster::start(&Options { dir: dir.clone(), ..place.options() }).unwrap();
    assert_eq!(query(&cluster, Role::App, "SELECT 1").unwrap(), "1");
    assert!(!dir.join("data.new").exists());
}

#[test]
fn a_cluster_of_another_major_version_is_refused() {
    let place = Place::new();
    drop(Cluster::start(&place.options()).unwrap());
    fs::write(place.file("data/PG_VERSION"), "9\n").unwrap();
    let error = Cluster::start(&place.options()).unwrap_err();
    assert!(matches!(&error, Error::OtherMajor { cluster, .. } if cluster == "9"), "{error}");
}

#[test]
fn a_server_that_dies_while_starting_is_reported_with_its_words() {
    let place = Place::new();
    drop(Cluster::start(&place.options()).unwrap());
    fs::write(place.file("data/postgresql.auto.conf"), "no_such_setting = 1\n").unwrap();
    let error = Cluster::start(&place.options()).unwrap_err();
    assert!(matches!(&error, Error::Died { log } if log.contains("no_such_setting")), "{error}");
    // The attempt gave everything back.
    fs::write(place.file("data/postgresql.auto.conf"), "").unwrap();
    Cluster::start(&place.options()).unwrap();
}

#[test]
fn a_server_started_by_hand_is_not_disturbed() {
    let place = Place::new();
    let mut cluster = Cluster::start(&place.options()).unwrap();
    cluster.stop();
    let data = place.file("data");
    let mut by_hand = start_by_hand(&cluster, &data, &data, Stdio::null());

    let error = Cluster::start(&place.options()).unwrap_err();
    if Path::new("/proc/self/cwd").exists() {
        assert!(
            matches!(error, Error::ForeignServer { pid, .. } if pid.cast_unsigned() == by_hand.id()),
            "{error}"
        );
    }
    kill(Pid::from_raw(by_hand.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(by_hand.wait().unwrap().success(), "it served on undisturbed");
}

#[test]
fn a_path_unfit_for_sockets_moves_the_socket() {
    let place = Place::new();
    for unfit in ["long-name/".repeat(8), "a,list".to_owned()] {
        let options = Options { dir: place.options().dir.join(unfit), ..place.options() };
        let mut cluster = Cluster::start(&options).unwrap();
        let socket_dir = cluster.socket_dir().to_owned();
        assert!(socket_dir.to_string_lossy().starts_with("/tmp/.crm-pg-"), "{}", socket_dir.display());
        assert_eq!(fs::metadata(&socket_dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(query(&Cluster::attach(&options.dir).unwrap(), Role::App, "SELECT 1").unwrap(), "1");
        cluster.stop();
        assert!(!socket_dir.exists());
    }
}

#[test]
fn an_odd_path_works_and_its_address_is_understood() {
    let place = Place::new();
    let options = Options { dir: place.0.path().join("o d\"d@é%/pg"), ..place.options() };
    let cluster = Cluster::start(&options).unwrap();
    assert!(
        cluster.socket_dir().starts_with(place.0.path().canonicalize().unwrap()),
        "the path is short enough"
    );
    assert_eq!(query(&cluster, Role::App, "SELECT 1").unwrap(), "1");

    let config: tokio_postgres::Config = cluster.url(Role::Owner, "t/1").parse().unwrap();
    assert_eq!(config.get_hosts(), [tokio_postgres::config::Host::Unix(cluster.socket_dir().to_owned())]);
    assert_eq!((config.get_user(), config.get_dbname()), (Some("crm_owner"), Some("t/1")));
    assert_eq!(config.get_ports(), [cluster.port()]);
}

#[test]
fn a_socket_folder_open_to_others_is_refused() {
    let place = Place::new();
    drop(Cluster::start(&place.options()).unwrap());
    fs::create_dir(place.file("socket")).unwrap();
    fs::set_permissions(place.file("socket"), Permissions::from_mode(0o755)).unwrap();
    let error = Cluster::start(&place.options()).unwrap_err();
    assert!(matches!(error, Error::UnsafeDirectory { .. }), "{error}");
}

#[test]
fn other_users_of_the_machine_are_refused() {
    if !geteuid().is_root() {
        return; // only root can act as somebody else
    }
    let place = Place::new();
    let cluster = Cluster::start(&place.options()).unwrap();
    let owner = User::from_uid(fs::metadata(place.file("data")).unwrap().uid().into()).unwrap().unwrap();
    assert!(!owner.uid.is_root());
    let nobody = User::from_name("nobody").unwrap().unwrap();
    // Even the user that runs the server may reach its socket, but not log in.
    for user in [&nobody, &owner] {
        for role in [Role::Super, Role::Owner, Role::App] {
            let mut psql = psql(&cluster, role, "crm");
            psql.args(["-c", "SELECT 1"]).uid(user.uid.as_raw()).gid(user.gid.as_raw());
            let output = psql.output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            let expected =
                if user.uid == owner.uid { "Peer authentication failed" } else { "Permission denied" };
            assert!(
                !output.status.success() && error.contains(expected),
                "{} as {role:?}: {error}",
                user.name
            );
        }
    }
}

#[test]
fn a_blocked_way_is_named() {
    if !geteuid().is_root() {
        return; // only root runs the server as somebody else
    }
    let place = Place::new();
    let blocking = place.0.path().canonicalize().unwrap().join("private");
    fs::create_dir_all(blocking.join("inner")).unwrap();
    fs::set_permissions(&blocking, Permissions::from_mode(0o700)).unwrap();
    let error = Cluster::start(&Options { dir: blocking.join("inner/pg"), ..place.options() }).unwrap_err();
    assert!(matches!(&error, Error::Blocked { directory, .. } if *directory == blocking), "{error}");
    assert!(error.to_string().contains("CRM_DATA_DIR"), "{error}");
}

#[test]
fn the_folder_of_another_user_is_refused() {
    if !geteuid().is_root() {
        return; // only root can give a folder away
    }
    let place = Place::new();
    let dir = place.0.path().join("theirs");
    fs::create_dir(&dir).unwrap();
    std::os::unix::fs::chown(&dir, Some(4321), None).unwrap();
    let error = Cluster::start(&Options { dir, ..place.options() }).unwrap_err();
    assert!(matches!(&error, Error::OtherOwner { owner, .. } if owner == "4321"), "{error}");
}

#[test]
fn a_killed_holder_leaves_nothing_in_the_way() {
    let place = Place::new();
    let mut holder = holder_process(&place);
    let mut orphan = 0;
    await_that("the holder's start", || {
        Cluster::attach(&place.options().dir).is_ok_and(|joined| {
            orphan = joined.server_pid();
            query(&joined, Role::Owner, "CREATE TABLE t AS SELECT 7 AS n").is_ok()
        })
    });
    holder.kill().unwrap();
    holder.wait().unwrap();
    if cfg!(target_os = "linux") {
        let lock = fs::File::open(place.file("server.lock")).unwrap();
        await_that("the orphan's own end", || lock.try_lock().is_ok());
    }

    let cluster = Cluster::start(&place.options()).unwrap();
    assert_ne!(cluster.server_pid(), orphan);
    assert_eq!(query(&cluster, Role::Owner, "SELECT n FROM t").unwrap(), "7");
}

#[test]
fn a_holder_killed_while_it_makes_the_cluster_leaves_nothing_in_the_way() {
    let place = Place::new();
    let mut holder = holder_process(&place);
    await_that("the beginning of initdb", || place.file("data.new/base").exists());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(!place.file("data").exists());

    let cluster = Cluster::start(&place.options()).unwrap();
    assert_eq!(query(&cluster, Role::App, "SELECT 1").unwrap(), "1");
}

#[test]
fn an_orphan_is_stopped() {
    let place = Place::new();
    let mut cluster = Cluster::start(&place.options()).unwrap();
    cluster.stop();
    // Stands in for a server that outlived its holder: it has its lock, while nobody holds the cluster.
    let data = place.file("data");
    let lock = fs::File::options().write(true).open(place.file("server.lock")).unwrap();
    lock.try_lock().unwrap();
    let mut orphan = start_by_hand(&cluster, &data, &data, lock.into());

    let cluster = Cluster::start(&place.options()).unwrap();
    assert!(orphan.wait().unwrap().success(), "it was shut down cleanly");
    assert_eq!(query(&cluster, Role::App, "SELECT 1").unwrap(), "1");
}

/// Starts a server that no [`Cluster`] knows of and waits until it is ready.
fn start_by_hand(cluster: &Cluster, data: &Path, socket_dir: &Path, stdin: Stdio) -> Child {
    let mut command = Command::new(cluster.bin_dir().join("postgres"));
    command.arg("-D").arg(data).args(["-c", "listen_addresses=", "-k"]).arg(socket_dir);
    let server = as_owner_of(command.stdin(stdin).stderr(Stdio::null()), data).spawn().unwrap();
    let pid_file = data.join("postmaster.pid");
    await_that("a server's start", || fs::read_to_string(&pid_file).is_ok_and(|text| text.contains("ready")));
    server
}

/// Makes `command` run as the owner of `file`.
fn as_owner_of<'c>(command: &'c mut Command, file: &Path) -> &'c mut Command {
    command.current_dir("/");
    if geteuid().is_root() {
        let meta = fs::metadata(file).unwrap();
        command.uid(meta.uid()).gid(meta.gid());
    }
    command
}

fn other_process_of_the_servers_user(place: &Place) -> Child {
    as_owner_of(Command::new("sleep").arg("600"), &place.file("data")).spawn().unwrap()
}

/// Runs [`holds_until_killed`] in a process of its own.
fn holder_process(place: &Place) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_until_killed", "--ignored"])
        .env("CRM_PG_TEST_DIR", place.options().dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "run by other tests as a process to kill"]
fn holds_until_killed() {
    let dir = std::env::var_os("CRM_PG_TEST_DIR").unwrap().into();
    let _cluster =
        Cluster::start(&Options { dir, durable: false, owner_may_create_databases: false }).unwrap();
    thread::park();
}
