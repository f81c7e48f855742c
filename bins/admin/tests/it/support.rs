//! A database of one's own and the program run against it.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use crm_testkit::{Database, fresh_database};
use postgres::{Client, NoTls};
use tempfile::TempDir;

/// An installation: a database on a server of the tests, and a data folder.
pub(crate) struct Installation {
    pub(crate) database: Database,
    pub(crate) data_dir: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Installation {
    pub(crate) fn new() -> Self {
        let database = block_on(fresh_database());
        let variables = vec![
            ("DATABASE_URL", database.app_url.clone()),
            ("DATABASE_OWNER_URL", database.owner_url.clone()),
        ];
        Self { database, data_dir: data_dir(0o700), variables }
    }

    /// The same with this variable; an empty value unsets it.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
        self
    }

    /// The same in production.
    pub(crate) fn in_production(self) -> Self {
        self.with("ENV_TYPE", "prod")
            .with("SECRET_KEY", "Jd83hKq0sLw92mXv7TzpR4nYbC6aFgE1uHiOkQ5t")
            .with("FRONTEND_URL", "https://crm.example.com")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        self.run_typing(arguments, "")
    }

    /// Runs the program with something typed at its questions.
    pub(crate) fn run_typing(&self, arguments: &[&str], typed: &str) -> Answer {
        let variables = self.variables.iter().map(|(name, value)| (*name, value.as_str()));
        run_in(&self.data_dir, variables, arguments, typed)
    }

    /// Runs statements as the superuser, in nobody's context.
    pub(crate) fn sql(&self, statements: &str) {
        self.superuser().batch_execute(statements).unwrap();
    }

    pub(crate) fn superuser(&self) -> Client {
        Client::connect(&self.database.super_url, NoTls).unwrap()
    }

    pub(crate) fn app(&self) -> Client {
        Client::connect(&self.database.app_url, NoTls).unwrap()
    }

    /// What a query of one number answers to the superuser.
    pub(crate) fn count(&self, from: &str) -> i64 {
        self.superuser().query_one(&format!("SELECT count(*) FROM {from}"), &[]).unwrap().get(0)
    }
}

/// Runs the program with these settings alone.
pub(crate) fn run_in<'a>(
    data_dir: &TempDir,
    variables: impl Iterator<Item = (&'a str, &'a str)>,
    arguments: &[&str],
    typed: &str,
) -> Answer {
    let mut child = Command::new(env!("CARGO_BIN_EXE_crm-admin"))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CRM_DATA_DIR", data_dir.path())
        .envs(variables)
        .current_dir(data_dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have refused before it asked.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    Answer::of(child.wait_with_output().unwrap())
}

/// What the program said and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) said: String,
    pub(crate) complained: String,
}

impl Answer {
    fn of(output: Output) -> Self {
        let [said, complained] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Self { code: output.status.code().unwrap(), said, complained }
    }

    /// Holds the answer against the exit status and pieces of text on either stream.
    #[track_caller]
    pub(crate) fn is(self, code: i32, pieces: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        for piece in pieces {
            assert!(
                self.said.contains(piece) || self.complained.contains(piece),
                "{piece:?} is not in {self:#?}"
            );
        }
        self
    }

    #[track_caller]
    pub(crate) fn lacks(self, piece: &str) -> Self {
        assert!(!self.said.contains(piece) && !self.complained.contains(piece), "{piece:?} is in {self:#?}");
        self
    }
}

/// A folder of these rights.
pub(crate) fn data_dir(mode: u32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
    dir
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
