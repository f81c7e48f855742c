//! What the environment says about how to run, checked as a whole before anything starts.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use std::{env, fmt};

use actix_web::http::Uri;
use crm_storage::Bucket;
use tracing_subscriber::EnvFilter;

use crate::limits::Rates;

#[cfg(test)]
mod tests;

/// Every variable the program heeds: its name, its default, its meaning. An empty default is explained by the meaning.
pub const VARIABLES: &[(&str, &str, &str)] = &[
    ("ENV_TYPE", "dev", "dev, or prod, which refuses what is only good for development"),
    ("CRM_BIND", "127.0.0.1:8000", "address and port to listen on"),
    (
        "CRM_DATA_DIR",
        ".crm",
        "folder of the built-in database, uploaded files, mail files and the generated secret key",
    ),
    (
        "SECRET_KEY",
        "",
        "signs the tokens, 32 bytes or more; required in prod, otherwise made once in CRM_DATA_DIR",
    ),
    ("DOMAIN_NAME", "", "where clients reach this server; by default http:// and CRM_BIND"),
    ("FRONTEND_URL", "http://localhost:5173", "where mailed links lead; in prod not this machine itself"),
    (
        "CORS_ALLOWED_ORIGINS",
        "",
        "comma list of origins, or * in dev; by default port 5173 of this machine in dev, none in prod",
    ),
    ("TRUSTED_PROXIES", "0", "how many proxies in front write X-Forwarded-For"),
    (
        "DATABASE_URL",
        "",
        "PostgreSQL server to use, as the application role; without it a built-in one runs in CRM_DATA_DIR",
    ),
    (
        "DATABASE_OWNER_URL",
        "",
        "the same database as the role that owns the tables, to migrate it at the start",
    ),
    (
        "DBNAME",
        "crm",
        "database; any of the five DB… variables does what DATABASE_URL does, and the others have these defaults",
    ),
    ("DBUSER", "crm_app", "application role"),
    ("DBPASSWORD", "", "its password; none by default"),
    ("DBHOST", "localhost", "host, or folder of the socket"),
    ("DBPORT", "5432", "port"),
    ("DB_POOL_SIZE", "8", "database connections of each process at most"),
    (
        "PG_BIN_DIR",
        "",
        "folder of the PostgreSQL programs for the built-in database; searched for by default",
    ),
    ("ACCESS_TOKEN_LIFETIME_SECONDS", "86400", "how long an access token is valid"),
    ("REFRESH_TOKEN_LIFETIME_SECONDS", "31536000", "how long a refresh token is valid"),
    (
        "PLATFORM_ADMIN_DOMAINS",
        "micropyramid.com",
        "comma list of mail domains, may be empty: who proves an address in one becomes a platform administrator",
    ),
    ("GOOGLE_CLIENT_ID", "", "client id at Google, to let people sign in by it"),
    ("GOOGLE_CLIENT_SECRET", "", "the secret that goes with it"),
    (
        "OIDC_PROVIDERS",
        "",
        "comma list of further OpenID Connect providers; each NAME has OIDC_NAME_ISSUER, OIDC_NAME_CLIENT_ID, OIDC_NAME_CLIENT_SECRET and perhaps OIDC_NAME_LABEL",
    ),
    (
        "SMTP_URL",
        "",
        "mail server, such as smtps://user:password@host:465 or smtp://user:password@host:587?tls=required; by default mail becomes files in CRM_DATA_DIR",
    ),
    ("DEFAULT_FROM_EMAIL", "noreply@localhost", "sender of all mail, an address or Name <address>"),
    ("ADMIN_EMAIL", "admin@localhost", "whom people may turn to"),
    ("AWS_BUCKET_NAME", "", "S3 bucket that keeps the uploaded files; by default they lie in CRM_DATA_DIR"),
    ("AWS_REGION", "us-east-1", "where the bucket lies"),
    ("AWS_ENDPOINT_URL", "", "S3-compatible service of somebody else, such as https://s3.example.com"),
    ("AWS_ACCESS_KEY_ID", "", "key of the bucket; without one the machine's own role is used"),
    ("AWS_SECRET_ACCESS_KEY", "", "its secret"),
    ("STORAGE_QUOTA_MIB", "10240", "how much one organization may keep in files; 0 for any amount"),
    (
        "WORKERS_INSIDE",
        "true",
        "whether crm-api does the background jobs itself; false when crm-worker runs beside it",
    ),
    (
        "WEBHOOKS_ALLOW_PRIVATE",
        "false",
        "whether webhooks may lead to this machine and to private networks, which prod refuses",
    ),
    ("WORKER_SLOTS", "4", "background jobs that one process does at the same time"),
    ("RATE_LIMIT_TOKEN", "60000", "requests a minute of one session or access token; 0 for no limit"),
    ("RATE_LIMIT_ORG", "120000", "requests a minute of one organization; 0 for no limit"),
    ("RATE_LIMIT_ADDRESS", "120000", "requests a minute from one address; 0 for no limit"),
    ("RATE_LIMIT_WEB_FORM", "120", "submissions a minute with the key of one web form; 0 for no limit"),
    (
        "RATE_LIMIT_WEB_FORM_ADDRESS",
        "12",
        "submissions of web forms a minute from one address; 0 for no limit",
    ),
    (
        "MAX_IN_FLIGHT",
        "512",
        "requests that one process works on at the same time, half of them from one address, before it answers 503",
    ),
    ("LOG_FORMAT", "", "text or json; by default text in dev, json in prod"),
    ("RUST_LOG", "info", "what is logged, such as info or info,crm_identity=debug"),
];

/// Connections of the built-in database that one program may take; some stay for other programs.
const EMBEDDED_POOL_MAX: usize = 50;
const SECRET_KEY_MIN_BYTES: usize = 32;
const GOOGLE_ISSUER: &str = "https://accounts.google.com";
const DEV_ORIGINS: [&str; 2] = ["http://localhost:5173", "http://127.0.0.1:5173"];

/// How to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Development or production.
    pub environment: Environment,
    /// Where the server listens.
    pub bind: SocketAddr,
    /// The folder of everything this installation keeps outside the database.
    pub data_dir: PathBuf,
    /// Signs the tokens; made by the start-up when it is not set.
    pub secret_key: Option<Secret>,
    /// Where clients reach this server, without a final slash.
    pub domain_name: String,
    /// Where mailed links lead, without a final slash.
    pub frontend_url: String,
    /// Origins that browsers may call from, or the one entry `*`.
    pub cors_allowed_origins: Vec<String>,
    /// How many proxies' `X-Forwarded-For` entries count.
    pub trusted_proxies: usize,
    /// Which database.
    pub database: DatabaseSettings,
    /// Database connections at most.
    pub pool_size: usize,
    /// How long an access token is valid.
    pub access_token_lifetime: Duration,
    /// How long a refresh token is valid.
    pub refresh_token_lifetime: Duration,
    /// Mail domains whose people may become platform administrators, in lower case.
    pub platform_admin_domains: Vec<String>,
    /// Who else may say who somebody is.
    pub oidc_providers: Vec<OidcSettings>,
    /// The mail server; without one mail becomes files.
    pub smtp_url: Option<Secret>,
    /// The sender of all mail.
    pub default_from_email: String,
    /// Whom people may turn to.
    pub admin_email: String,
    /// The bucket for files; without one they lie in the data folder.
    pub bucket: Option<Bucket>,
    /// How many bytes of files one organization may keep.
    pub storage_quota_bytes: Option<i64>,
    /// Whether webhooks may lead to this machine and to private networks.
    pub webhooks_allow_private: bool,
    /// Whether the API process does background jobs.
    pub workers_inside: bool,
    /// How many background jobs a process does at the same time.
    pub worker_slots: usize,
    /// How much clients may ask for.
    pub rates: Rates,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: String,
}

/// A provider of identities that speaks OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// One word in lower case.
    pub name: String,
    /// What people call it.
    pub label: String,
    /// Its issuer, exactly as it calls itself.
    pub issuer: String,
    /// What it knows this installation by.
    pub client_id: String,
    /// The secret that goes with it.
    pub client_secret: Secret,
}

/// Which set of rules the settings are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// On a developer's machine: everything has a default.
    Dev,
    /// For real users: unsafe defaults are refused.
    Prod,
}

/// Which database to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseSettings {
    /// A private server in the data folder.
    Embedded,
    /// A server that somebody else runs.
    External {
        /// For the application role.
        url: Secret,
        /// For the role that owns the tables, if this program may migrate.
        owner_url: Option<Secret>,
    },
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever has to use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Everything that is wrong with the settings, to be mended in one go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct SettingsError {
    /// One line each: the variable, what is wrong with it and what would be right. Never a secret.
    pub problems: Vec<String>,
}

impl Settings {
    /// Takes over the file `.env` of the working directory, if there is one, and reads the environment, which has
    /// precedence. It changes the environment, so call it before there are threads.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn load() -> Result<Self, SettingsError> {
        load_file(Path::new(".env")).map_err(|problem| SettingsError { problems: vec![problem] })?;
        Self::read(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads what `lookup` answers for each of [`VARIABLES`]. A blank value counts as none, except that
    /// PLATFORM_ADMIN_DOMAINS may be empty.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader { lookup: &lookup, problems: Vec::new() };
        match (reader.settings(), reader.problems) {
            (Some(settings), problems) if problems.is_empty() => Ok(settings),
            (_, problems) => Err(SettingsError { problems }),
        }
    }
}

/// Sets the variables of `path` that are not set yet.
fn load_file(path: &Path) -> Result<(), String> {
    let file = path.display();
    match dotenvy::from_path(path) {
        Ok(()) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        // The line may hold a secret, so only the name in it is told.
        Err(dotenvy::Error::LineParse(line, _)) => {
            let line = line
                .split_once('=')
                .map_or("a line without `=`".to_owned(), |(name, _)| format!("the line of {name}"));
            Err(format!(
                "{file}: {line} can't be read: write NAME=value, in single quotes if the value has spaces, quotes, $ or #"
            ))
        }
        Err(error) => Err(format!("{file} can't be read: {error}")),
    }
}

/// Reads one variable after the other and collects what is wrong.
struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl Reader<'_> {
    /// None when something is wrong; everything is read before that is decided.
    fn settings(&mut self) -> Option<Settings> {
        let environment = self.choice("ENV_TYPE", &[("dev", Environment::Dev), ("prod", Environment::Prod)]);
        let prod = environment == Some(Environment::Prod);
        let bind =
            self.value("CRM_BIND", "an address and a port, such as 127.0.0.1:8000 or [::]:8000", parsed);
        let secret_key = self.secret_key(prod);
        let domain_name = match self.set("DOMAIN_NAME") {
            Some(_) => self.value("DOMAIN_NAME", "a URL such as https://crm.example.com", base_url),
            None => bind.map(|bind| format!("http://{bind}")),
        };
        let frontend_url = self.frontend_url(prod);
        let cors_allowed_origins = self.origins(prod);
        let trusted_proxies = self.number("TRUSTED_PROXIES", 0..=16);
        let database = self.database();
        let pool_size = self.pool_size(database.as_ref());
        let (access_token_lifetime, refresh_token_lifetime) = self.token_lifetimes();
        let platform_admin_domains = self.platform_admin_domains();
        let oidc_providers = self.oidc_providers(prod);
        let smtp_url =
            self.url("SMTP_URL", &["smtp://", "smtps://"], "smtp://user:password@host:587?tls=required");
        let default_from_email = self.value("DEFAULT_FROM_EMAIL", "an address or Name <address>", mailbox);
        let admin_email = self.value("ADMIN_EMAIL", "an address", address);
        let bucket = self.bucket();
        let storage_quota = self.number::<i64>("STORAGE_QUOTA_MIB", 0..=1_000_000_000);
        let webhooks_allow_private = self.webhooks_allow_private(prod);
        let workers_inside = self.choice("WORKERS_INSIDE", &[("true", true), ("false", false)]);
        let worker_slots = self.number("WORKER_SLOTS", 1..=64);
        let rates = self.rates();
        let log_format = match self.set("LOG_FORMAT") {
            Some(_) => self.choice("LOG_FORMAT", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            None => Some(if prod { LogFormat::Json } else { LogFormat::Text }),
        };
        let log_filter = self.value("RUST_LOG", "a list such as info,crm_identity=debug", |text| {
            EnvFilter::try_new(text).is_ok().then(|| text.to_owned())
        });
        Some(Settings {
            environment: environment?,
            bind: bind?,
            data_dir: self.text("CRM_DATA_DIR").into(),
            secret_key,
            domain_name: domain_name?,
            frontend_url: frontend_url?,
            cors_allowed_origins: cors_allowed_origins?,
            trusted_proxies: trusted_proxies?,
            database: database?,
            pool_size: pool_size?,
            access_token_lifetime: Duration::from_secs(access_token_lifetime?),
            refresh_token_lifetime: Duration::from_secs(refresh_token_lifetime?),
            platform_admin_domains: platform_admin_domains?,
            oidc_providers,
            smtp_url,
            default_from_email: default_from_email?,
            admin_email: admin_email?,
            bucket: bucket?,
            storage_quota_bytes: storage_quota.map(|mib| (mib > 0).then_some(mib * 1024 * 1024))?,
            webhooks_allow_private: webhooks_allow_private?,
            workers_inside: workers_inside?,
            worker_slots: worker_slots?,
            rates: rates?,
            log_format: log_format?,
            log_filter: log_filter?,
        })
    }

    fn secret_key(&mut self, prod: bool) -> Option<Secret> {
        let how =
            "set 32 bytes or more that nobody can guess, such as the output of `openssl rand -base64 48`";
        let key = self.set("SECRET_KEY");
        match &key {
            None if prod => self.problem(format!("SECRET_KEY is not set, which prod requires: {how}")),
            Some(key) if key.len() < SECRET_KEY_MIN_BYTES => {
                self.problem(format!("SECRET_KEY has only {} bytes: {how}", key.len()));
            }
            _ => {}
        }
        key.map(Secret)
    }

    fn frontend_url(&mut self, prod: bool) -> Option<String> {
        let right = "an http or https URL such as https://crm.example.com";
        let url = self.value("FRONTEND_URL", right, base_url)?;
        if prod && is_this_machine(&url) {
            self.problem(format!("FRONTEND_URL is {url}, where nobody else gets: prod needs {right}"));
        }
        Some(url)
    }

    fn origins(&mut self, prod: bool) -> Option<Vec<String>> {
        let name = "CORS_ALLOWED_ORIGINS";
        match self.set(name) {
            None if prod => Some(Vec::new()),
            None => Some(DEV_ORIGINS.map(str::to_owned).into()),
            Some(any) if any.trim() == "*" => {
                if prod {
                    self.problem(format!("{name} is *, which prod refuses: list the origins of your pages, such as https://crm.example.com"));
                }
                Some(vec!["*".into()])
            }
            Some(_) => self.value(
                name,
                "a comma list of origins such as https://crm.example.com, without a path",
                |list| entries(list).map(origin).collect(),
            ),
        }
    }

    fn database(&mut self) -> Option<DatabaseSettings> {
        let url = self.database_url("DATABASE_URL", "crm_app");
        let owner_url = self.database_url("DATABASE_OWNER_URL", "crm_owner");
        let parts: Vec<_> = ["DBNAME", "DBUSER", "DBPASSWORD", "DBHOST", "DBPORT"]
            .into_iter()
            .filter(|name| self.set(name).is_some())
            .collect();
        let port = self.number::<u16>("DBPORT", 1..=u16::MAX);
        match (self.set("DATABASE_URL"), parts.as_slice()) {
            (None, []) => {
                if self.set("DATABASE_OWNER_URL").is_some() {
                    self.problem("DATABASE_OWNER_URL is set without DATABASE_URL: set both, or neither for the built-in database".into());
                }
                Some(DatabaseSettings::Embedded)
            }
            (None, _) => Some(DatabaseSettings::External { url: self.url_of_parts(port?), owner_url }),
            (Some(_), []) => Some(DatabaseSettings::External { url: url?, owner_url }),
            (Some(_), parts) => {
                self.problem(format!(
                    "DATABASE_URL and {} are both set: keep one of the two ways",
                    parts.join(", ")
                ));
                None
            }
        }
    }

    fn database_url(&mut self, name: &str, role: &str) -> Option<Secret> {
        let example = format!("postgresql://{role}:password@localhost:5432/crm");
        let url = self.url(name, &["postgresql://", "postgres://"], &example)?;
        if place_in(url.expose()).is_none() {
            self.problem(format!("{name} can't be taken apart: it must look like {example}, with % codes for / ? # @ in its words"));
            return None;
        }
        Some(url)
    }

    fn url_of_parts(&self, port: u16) -> Secret {
        let [user, host, name] = ["DBUSER", "DBHOST", "DBNAME"].map(|part| percent_encoded(&self.text(part)));
        let password = self
            .set("DBPASSWORD")
            .map(|password| format!(":{}", percent_encoded(&password)))
            .unwrap_or_default();
        Secret(format!("postgresql://{user}{password}@{host}:{port}/{name}"))
    }

    fn pool_size(&mut self, database: Option<&DatabaseSettings>) -> Option<usize> {
        let size = self.number("DB_POOL_SIZE", 1..=200)?;
        if size > EMBEDDED_POOL_MAX && database == Some(&DatabaseSettings::Embedded) {
            self.problem(format!(
                "DB_POOL_SIZE is {size}, but the built-in database has room for {EMBEDDED_POOL_MAX}"
            ));
        }
        Some(size)
    }

    fn token_lifetimes(&mut self) -> (Option<u64>, Option<u64>) {
        let [access, refresh] = ["ACCESS_TOKEN_LIFETIME_SECONDS", "REFRESH_TOKEN_LIFETIME_SECONDS"]
            .map(|name| (name, self.number::<u64>(name, 1..=3_153_600_000)));
        if let ((short, Some(access)), (long, Some(refresh))) = (access, refresh)
            && access > refresh
        {
            self.problem(format!(
                "{short} is {access}, longer than the {refresh} of {long}: make it the shorter one"
            ));
        }
        (access.1, refresh.1)
    }

    /// None when something is wrong with it, and the inner one where none is wanted.
    #[expect(clippy::option_option, reason = "wrong and unwanted are two things")]
    fn bucket(&mut self) -> Option<Option<Bucket>> {
        let [name, key, secret, endpoint] =
            ["AWS_BUCKET_NAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"]
                .map(|variable| self.set(variable));
        if key.is_some() != secret.is_some() {
            self.problem(
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together: set both or neither".into(),
            );
            return None;
        }
        let endpoint = match endpoint {
            Some(_) => {
                Some(self.value("AWS_ENDPOINT_URL", "a URL such as https://s3.example.com", base_url)?)
            }
            None => None,
        };
        let region = self.text("AWS_REGION");
        Some(name.map(|name| Bucket { name, region, endpoint, credentials: key.zip(secret) }))
    }

    fn webhooks_allow_private(&mut self, prod: bool) -> Option<bool> {
        let name = "WEBHOOKS_ALLOW_PRIVATE";
        let allow = self.choice(name, &[("true", true), ("false", false)])?;
        if allow && prod {
            self.problem(format!(
                "{name} is true, which prod refuses: any organization could reach your own network"
            ));
        }
        Some(allow)
    }

    fn rates(&mut self) -> Option<Rates> {
        let [token, org, address, web_form, web_form_address] = [
            "RATE_LIMIT_TOKEN",
            "RATE_LIMIT_ORG",
            "RATE_LIMIT_ADDRESS",
            "RATE_LIMIT_WEB_FORM",
            "RATE_LIMIT_WEB_FORM_ADDRESS",
        ]
        .map(|name| self.number::<u32>(name, 0..=100_000_000).map(NonZeroU32::new));
        let in_flight = self.number("MAX_IN_FLIGHT", 1..=100_000);
        Some(Rates {
            token: token?,
            org: org?,
            address: address?,
            web_form: web_form?,
            web_form_address: web_form_address?,
            in_flight: in_flight?,
        })
    }

    fn platform_admin_domains(&mut self) -> Option<Vec<String>> {
        let name = "PLATFORM_ADMIN_DOMAINS";
        let list = (self.lookup)(name).unwrap_or_else(|| default_of(name).to_owned());
        let right = "a comma list of domains such as example.com, or empty";
        self.checked(name, &list, right, |list| entries(list).map(domain).collect())
    }

    fn oidc_providers(&mut self, prod: bool) -> Vec<OidcSettings> {
        let google = self.google();
        let right = "a comma list of names such as corp, each of lower-case letters, digits and _";
        let names = self.value("OIDC_PROVIDERS", right, |list| entries(list).map(provider_name).collect());
        let names: Vec<String> = names.unwrap_or_default();
        for (at, name) in names.iter().enumerate() {
            if names
                .iter()
                .take(at)
                .chain(google.iter().map(|google| &google.name))
                .any(|other| other == name)
            {
                self.problem(format!(
                    "OIDC_PROVIDERS has {name} twice: each provider needs a name of its own"
                ));
            }
        }
        let further = names.into_iter().filter_map(|name| self.oidc_provider(name, prod));
        google.into_iter().chain(further.collect::<Vec<_>>()).collect()
    }

    fn google(&mut self) -> Option<OidcSettings> {
        let [id, secret] = ["GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"].map(|name| self.set(name));
        match (id, secret) {
            (Some(client_id), Some(secret)) => Some(OidcSettings {
                name: "google".into(),
                label: "Google".into(),
                issuer: GOOGLE_ISSUER.into(),
                client_id: client_id.trim().to_owned(),
                client_secret: Secret(secret.trim().to_owned()),
            }),
            (None, None) => None,
            _ => {
                self.problem(
                    "GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET go together: set both, or neither".into(),
                );
                None
            }
        }
    }

    /// None when something is wrong with it, which is told.
    fn oidc_provider(&mut self, name: String, prod: bool) -> Option<OidcSettings> {
        let variable = |part: &str| format!("OIDC_{}_{part}", name.to_uppercase());
        let mut required = |part: &str, right: &str| {
            let value = self.set(&variable(part)).map(|value| value.trim().to_owned());
            if value.is_none() {
                self.problem(format!(
                    "{} is not set, but OIDC_PROVIDERS has {name}: it must be {right}",
                    variable(part)
                ));
            }
            value
        };
        let issuer = required("ISSUER", "the provider's issuer, such as https://login.example.com");
        let client_id = required("CLIENT_ID", "what the provider knows this installation by");
        let client_secret = required("CLIENT_SECRET", "the secret that goes with the client id");
        let issuer = issuer?;
        if base_url(&issuer).is_none() {
            self.problem(format!(
                "{} is {issuer:?}: it must be a URL such as https://login.example.com",
                variable("ISSUER")
            ));
            return None;
        }
        if prod && !issuer.starts_with("https://") {
            self.problem(format!(
                "{} is {issuer}, which can be forged on the way: prod needs https",
                variable("ISSUER")
            ));
        }
        let label =
            self.set(&variable("LABEL")).map_or_else(|| name.clone(), |label| label.trim().to_owned());
        Some(OidcSettings {
            label,
            issuer,
            client_id: client_id?,
            client_secret: Secret(client_secret?),
            name,
        })
    }

    /// What is set, unless it is blank.
    fn set(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// What is set, or the default.
    fn text(&self, name: &str) -> String {
        self.set(name).map_or_else(|| default_of(name).to_owned(), |value| value.trim().to_owned())
    }

    fn value<T>(&mut self, name: &str, right: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name);
        self.checked(name, &text, right, read)
    }

    fn checked<T>(
        &mut self,
        name: &str,
        text: &str,
        right: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = read(text);
        if value.is_none() {
            self.problem(format!("{name} is {text:?}: it must be {right}"));
        }
        value
    }

    fn number<T: FromStr + PartialOrd + fmt::Display>(
        &mut self,
        name: &str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let right = format!("a whole number from {} to {}", range.start(), range.end());
        self.value(name, &right, |text| parsed(text).filter(|number| range.contains(number)))
    }

    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let right = choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ");
        self.value(name, &right, |text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
        })
    }

    /// A URL that may hold a password, so that it is never repeated.
    fn url(&mut self, name: &str, schemes: &[&str], example: &str) -> Option<Secret> {
        let url = self.set(name)?.trim().to_owned();
        let has_scheme =
            schemes.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        if !has_scheme || url.contains(char::is_whitespace) {
            self.problem(format!("{name} is not a URL of its kind: it must look like {example}"));
            return None;
        }
        Some(Secret(url))
    }

    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

fn default_of(name: &str) -> &'static str {
    VARIABLES.iter().find(|(variable, ..)| *variable == name).map_or("", |(_, default, _)| default)
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// An http or https URL that paths can be put behind.
fn base_url(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
    let authority =
        uri.authority().filter(|authority| !authority.as_str().contains('@') && !authority.host().is_empty());
    let plain = uri.query().is_none() && !text.contains('#');
    (scheme.is_some() && authority.is_some() && plain).then(|| text.trim_end_matches('/').to_owned())
}

/// A base URL without a path, as browsers spell it.
fn origin(text: &str) -> Option<String> {
    let url = base_url(text)?;
    (url.matches('/').count() == 2).then(|| url.to_lowercase())
}

/// Whether a URL leads nowhere but to the machine it is opened on.
fn is_this_machine(url: &str) -> bool {
    let uri = url.parse::<Uri>().unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.').to_lowercase();
    let ip = host.parse::<IpAddr>().map(|ip| ip.to_canonical());
    host == "localhost"
        || host.ends_with(".localhost")
        || ip.is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

fn provider_name(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (text.chars().all(plain) && text.len() <= 30).then(|| text.to_owned())
}

fn domain(text: &str) -> Option<String> {
    let is_label = |label: &str| {
        let edge = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        edge(label.chars().next())
            && edge(label.chars().last())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    text.split('.').all(is_label).then(|| text.to_lowercase())
}

fn address(text: &str) -> Option<String> {
    let (local, host) = text.rsplit_once('@')?;
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>,;:\"@".contains(c);
    (!local.is_empty() && local.chars().all(plain) && domain(host).is_some()).then(|| text.to_owned())
}

/// An address, or a name and the address in angle brackets.
fn mailbox(text: &str) -> Option<String> {
    let inner = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>')?,
        None => text,
    };
    address(inner).filter(|_| !text.contains(char::is_control)).map(|_| text.to_owned())
}

/// The host with its port, and the database, in the URL of a PostgreSQL server. None if that is not certain: what is taken
/// for the host is shown, and must be no part of a password.
pub(crate) fn place_in(url: &str) -> Option<(&str, &str)> {
    let (_, rest) = url.split_once("://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
    let hosts = authority.split_once('@').map_or(authority, |(_, hosts)| hosts);
    let has_number = |host: &str| match host.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok(),
        _ => true,
    };
    let certain =
        !hosts.contains(['@', '#']) && !name.contains(['@', '/', '#']) && hosts.split(',').all(has_number);
    let is_query = query.split('&').all(|pair| pair.is_empty() || pair.contains('='));
    (certain && is_query).then_some((hosts, name))
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
