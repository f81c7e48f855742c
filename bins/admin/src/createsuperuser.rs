//! The first platform administrator.

use std::env;
use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use crm_core::rules;
use crm_identity::NewPlatformAdmin;
use crm_schema::{platform_admins, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use validator::ValidateEmail;

use crate::database::{Database, block_on, told};

/// Where a script puts the password.
const VARIABLE: &str = "CRM_ADMIN_PASSWORD";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of the account, which gets the password that is asked for, or that of CRM_ADMIN_PASSWORD
    #[arg(long)]
    email: String,
}

/// Makes the account if there is none, and a platform administrator of it. An account that is there gets the password too: anybody may
/// have registered the address.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let email = args.email.trim();
    if !email.validate_email() || email.len() > 254 {
        bail!("{email:?} is not an e-mail address");
    }
    let database = Database::connect()?;
    let standing = standing(&database, email)?;
    if let Some(Standing { is_superuser: Some(true) }) = standing {
        say!("{email} is a platform administrator already: nothing was changed");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(Standing { is_superuser: Some(false) }) = standing {
        bail!("{email} is a platform administrator without the right to do anything: take another address");
    }
    let password_hash = block_on(crm_identity::hash_password(new_password()?))?.map_err(told)?;
    let new = NewPlatformAdmin {
        email,
        password_hash: Some(&password_hash),
        is_superuser: true,
        by: "command line",
    };
    let db = database.app()?;
    block_on(db.platform(async |p| crm_identity::grant_platform_admin(p, new).await))?.map_err(told)?;
    match standing {
        Some(_) => {
            say!(
                "{email} is a platform administrator now: the account has the new password, its sessions have ended"
            )
        }
        None => say!("{email} is a platform administrator now, with a new account"),
    }
    Ok(ExitCode::SUCCESS)
}

/// What an account is on the platform.
#[derive(Debug, Clone, Copy)]
struct Standing {
    /// None unless it is a platform administrator.
    is_superuser: Option<bool>,
}

fn standing(database: &Database, email: &str) -> Result<Option<Standing>> {
    let found: Option<Option<bool>> = database.as_app(async |p| {
        let account = users::table
            .left_join(platform_admins::table.on(platform_admins::user_id.eq(users::id)))
            .filter(users::email_normalized.eq(rules::normalize_email(email)));
        Ok(account.select(platform_admins::is_superuser.nullable()).first(p.conn()?).await.optional()?)
    })?;
    Ok(found.map(|is_superuser| Standing { is_superuser }))
}

/// The password of the environment, or one typed twice. There is no default.
fn new_password() -> Result<String> {
    let password = match env::var(VARIABLE) {
        Ok(password) if !password.is_empty() => password,
        _ if stdin().is_terminal() => typed_twice()?,
        _ => bail!(
            "the account needs a new password: set {VARIABLE}, or run this in a terminal to be asked for it"
        ),
    };
    if let Err(fault) = rules::password(&password) {
        bail!("the password {}", fault.message.unwrap_or_default());
    }
    Ok(password)
}

fn typed_twice() -> Result<String> {
    let _silence = Silence::begin()?;
    let password = ask("Password: ")?;
    if password != ask("The same again: ")? {
        bail!("the two passwords differ: nothing was changed");
    }
    Ok(password)
}

fn ask(question: &str) -> Result<String> {
    eprint!("{question}");
    stderr().flush()?;
    let mut line = String::new();
    stdin().lock().read_line(&mut line).context("can't read the password")?;
    eprintln!();
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(stdin(), SetArg::TCSAFLUSH, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.0); // the terminal is gone then
    }
}
