//! How fast a running server answers, beside what the database alone makes of the same statements.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{Days, NaiveDate, NaiveTime, Utc};
use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::database::{Database, SyncPool};
use crate::seed::{self, Account, Wanted};
use capture::{Log, Transaction, literal, script, values};
use http::{Measured, Target, load};

mod capture;
mod http;
mod import;
mod pgbench;
mod process;

const EMAIL: &str = "bench@example.com";
const CONNECTIONS: [u64; 2] = [1, 8];
const WARM_UP: Duration = Duration::from_secs(1);

/// The size of the organization that the large one is compared with.
const SMALL: u64 = 10_000;
/// Further ones, so that neither is alone in its tables.
const OTHERS: u64 = 3;
/// Leads made to be converted, more than are within the time.
const CONVERSIONS: usize = 5_000;
/// The row that the deep page begins with, where there are as many.
const DEEP: u64 = 500_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leads of the large organization, which is made if it is not there
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    leads: u64,
    /// Where crm-api answers; by default at CRM_BIND
    #[arg(long)]
    url: Option<String>,
    /// How long each figure is measured, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// The process of crm-api; by default the one that listens there
    #[arg(long)]
    pid: Option<u32>,
    /// With DATABASE_URL: where a superuser connects, to have statements logged for pgbench
    #[arg(long, requires = "server_log")]
    superuser_url: Option<String>,
    /// With DATABASE_URL: the log of the server
    #[arg(long, requires = "superuser_url")]
    server_log: Option<PathBuf>,
}

/// Prints the figures as tables in Markdown.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let database = Database::connect()?;
    let url = args.url.clone().unwrap_or_else(|| format!("http://{}", database.settings.bind));
    let address = url.strip_prefix("http://").context("--url must begin with http://")?;
    let target = Target { address: address.trim_end_matches('/').to_owned(), token: String::new() };
    target.connect()?;
    let password = password(&database)?;
    let wanted = organizations(args.leads);
    let account = Account { email: EMAIL, password: Some(&password) };
    seed::organizations(&database, account, &wanted, last_day()?)?;
    let mut bench = Bench {
        log: log(&database, args)?,
        app_url: database.app_url.clone(),
        time: Duration::from_secs(args.seconds),
    };
    let port = target.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
    let process = args.pid.or_else(|| process::listening_on(port));
    let memory =
        || process.and_then(process::resident_mib).map_or("unknown".into(), |mib| format!("{mib:.0} MiB"));
    let idle = memory();

    let large = Org::enter(&database, &target, &large_name(args.leads), &password)?;
    let small = Org::enter(&database, &target, &large_name(SMALL), &password)?;
    say!("\n### {} leads in the organization\n", args.leads);
    let figures = bench.reads(&large)?;
    // Before anything is made: what is new waits in the search index, which every search then reads through.
    let kept = bench.compare(&small, &figures)?;
    bench.creation(&large)?;
    bench.conversion(&large)?;
    import::measure(&large.target)?;
    say!("\n### The same with {SMALL} leads, and how much of its speed the large organization keeps\n");
    say!("| request | connections | requests/s | p50 ms | p95 ms | p99 ms | kept by the large one |");
    say!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    kept.iter().for_each(|line| say!("{line}"));
    say!("\nMemory of crm-api: {idle} before, {} after", memory());
    large.forget_created(&database)?;
    seed::tidy(&database)?;
    Ok(ExitCode::SUCCESS)
}

fn large_name(leads: u64) -> String {
    format!("Benchmark of {leads} leads")
}

/// The last day of their leads, always the same, so that the organizations are.
fn last_day() -> Result<NaiveDate> {
    NaiveDate::from_ymd_opt(2025, 1, 1).context("not a day")
}

fn organizations(leads: u64) -> Vec<Wanted> {
    let one =
        |name: String, leads: u64, seed: u64| Wanted { name, place: seed::HOME, members: 20, leads, seed };
    let mut all: Vec<_> =
        (0..OTHERS).map(|number| one(format!("Benchmark, another one {number}"), 1000, number)).collect();
    all.push(one(large_name(SMALL), SMALL, 100));
    if leads != SMALL {
        all.push(one(large_name(leads), leads, 101));
    }
    all
}

/// The password of the account, kept in the data folder from one run to the next.
fn password(database: &Database) -> Result<String> {
    let path = database.settings.data_dir.join("bench_password");
    if !path.exists() {
        fs::create_dir_all(&database.settings.data_dir)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(Alphanumeric.sample_string(&mut rand::rng(), 24).as_bytes())?;
    }
    fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))
}

fn log(database: &Database, args: &Args) -> Result<Option<Log>> {
    let (url, path) = match (&args.superuser_url, &args.server_log, database.superuser_url()?) {
        (Some(url), Some(path), _) => (url.clone(), path.clone()),
        (_, _, Some(url)) => (url, database.settings.data_dir.join("pg/postgres.log")),
        _ => {
            say!("Without --superuser-url and --server-log there are no figures of pgbench");
            return Ok(None);
        }
    };
    Ok(Some(Log::new(path, SyncPool::open(&url, 1)?.get()?)))
}

/// An organization and somebody signed in to it.
struct Org {
    id: Uuid,
    target: Target,
    /// Some leads at random: id, first name, first word of the company.
    sample: Vec<(Uuid, String, String)>,
}

impl Org {
    fn enter(database: &Database, target: &Target, name: &str, password: &str) -> Result<Self> {
        let mut client = SyncPool::open(&database.app_url, 1)?.get()?;
        let row = client.query_one("SELECT id FROM organizations WHERE name = $1", &[&name])?;
        let id: Uuid = row.get(0);
        let body = json!({"email": EMAIL, "password": password, "org_id": id});
        let signed_in = target.connect()?.ask_json(&target.post("/api/auth/login/", &body))?;
        let token = text(&signed_in, "access_token")?;
        let mut transaction = client.transaction()?;
        transaction.batch_execute(&format!("SET LOCAL app.current_org = '{id}'"))?;
        let sample = transaction.query(
            "SELECT id, first_name, split_part(company_name, ' ', 1) FROM leads WHERE org_id = $1
             ORDER BY random() LIMIT $2",
            &[&id, &(pgbench::SCRIPTS_MAX as i64)],
        )?;
        let sample: Vec<_> = sample.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        if sample.is_empty() {
            bail!("{name} has no leads");
        }
        Ok(Self { id, target: Target { token: token.to_owned(), ..target.clone() }, sample })
    }

    fn details(&self) -> Requests {
        let paths = self.sample.iter().map(|(id, ..)| format!("/api/leads/{id}/"));
        Requests::new("lead detail", paths)
    }

    fn first_page(&self) -> Requests {
        Requests::new("first page of 50", ["/api/leads/?limit=50".to_owned()])
    }

    fn by_status(&self) -> Requests {
        let words = ["assigned", "in%20process", "recycled", "closed"];
        Requests::new("filter by status, 50", words.map(|word| format!("/api/leads/?limit=50&status={word}")))
    }

    fn search(&self) -> Requests {
        let searches = self.sample.iter().take(20).map(|(_, first_name, company)| {
            format!("/api/leads/?limit=50&search={}", escape(&format!("{first_name} {company}")))
        });
        Requests::new("search by two words, 50", searches)
    }

    fn search_everything(&self) -> Requests {
        let searches = self.sample.iter().take(20).map(|(_, first_name, company)| {
            format!("/api/search/?q={}", escape(&format!("{first_name} {company}")))
        });
        Requests::new("search of everything, two words", searches)
    }

    fn search_as_typed(&self) -> Requests {
        let beginnings = self
            .sample
            .iter()
            .take(20)
            .map(|(_, first_name, _)| first_name.chars().take(3).collect::<String>());
        Requests::new(
            "search of everything, three letters",
            beginnings.map(|word| format!("/api/search/?q={}", escape(&word))),
        )
    }

    /// Lists of what the leads became, and the figures of all of it.
    fn sales(&self) -> [Requests; 4] {
        [
            Requests::new("account list of 50", ["/api/accounts/?limit=50&ordering=name".to_owned()]),
            Requests::new("contact list of 50", ["/api/contacts/?limit=50".to_owned()]),
            Requests::new(
                "opportunity list of 50",
                ["/api/opportunities/?limit=50&stage=PROPOSAL&ordering=-amount".to_owned()],
            ),
            Requests::new("dashboard", ["/api/dashboard/".to_owned()]),
        ]
    }

    /// Leads to be converted, made for it: their ids.
    fn to_convert(&self, number: usize) -> Result<Vec<String>> {
        const AT_ONCE: usize = 500;
        let run = Utc::now().timestamp_micros();
        let mut connection = self.target.connect()?;
        let mut ids = Vec::with_capacity(number);
        for first in (0..number).step_by(AT_ONCE) {
            let operations: Vec<_> = (first..number.min(first + AT_ONCE))
                .map(|n| {
                    let fields = json!({"first_name": "Ada", "last_name": format!("Lindqvist {run} {n}"), "status": "assigned",
                        "email": format!("convert.{run}.{n}@bench.example"), "company_name": format!("Cedar {run} {n}"),
                        "opportunity_amount": "1250.00", "source": "call"});
                    json!({"op": "create", "fields": fields})
                })
                .collect();
            let body = json!({"operations": operations, "atomic": true});
            let made = connection.ask_json(&self.target.post("/api/leads/bulk/", &body))?;
            let results = made.get("results").and_then(Value::as_array).context("bulk answers results")?;
            for result in results {
                ids.push(text(result, "id")?.to_owned());
            }
        }
        Ok(ids)
    }

    /// A page in the middle, where following the list leads to.
    fn deep_page(&self, leads: u64) -> Result<Requests> {
        const LIMIT: u64 = 200;
        let mut connection = self.target.connect()?;
        let mut path = format!("/api/leads/?limit={LIMIT}");
        let row = if leads > DEEP { DEEP } else { leads / 2 };
        let pages = row / LIMIT;
        for _ in 0..pages {
            let page: Value = connection.ask_json(&self.target.get(&path))?;
            path = text(&page, "next")?.to_owned();
        }
        let cursor = path.split_once("cursor=").map_or("", |(_, cursor)| cursor);
        let cursor = cursor.split('&').next().unwrap_or_default();
        let name = format!("page {} of 50", pages * LIMIT / 50 + 1);
        Ok(Requests::new(name, [format!("/api/leads/?limit=50&cursor={cursor}")]))
    }

    fn new_lead(&self, email: &str) -> Vec<u8> {
        let body = json!({
            "title": "Measured, Cedar Logistics", "first_name": "Ada", "last_name": "Lindqvist", "email": email,
            "company_name": "Cedar Logistics", "phone": "+1 212-555-0143", "status": "assigned", "source": "email",
            "opportunity_amount": "1250.00", "currency": "USD",
        });
        self.target.post("/api/leads/", &body)
    }

    /// Takes away what was measured being made: it is younger than everything else.
    fn forget_created(&self, database: &Database) -> Result<()> {
        let end = last_day()? + Days::new(1);
        let millis = end.and_time(NaiveTime::MIN).and_utc().timestamp_millis().unsigned_abs();
        let youngest = uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid();
        let mut client = SyncPool::open(database.owner_url()?, 1)?.get()?;
        let mut transaction = client.transaction()?;
        transaction.batch_execute(&format!("SET LOCAL app.current_org = '{}'", self.id))?;
        // Deals before the accounts that they belong to.
        for kind in ["opportunity", "contact", "account", "lead", "import"] {
            let created = "DELETE FROM records WHERE org_id = $1 AND kind = $3 AND id > $2";
            transaction.execute(created, &[&self.id, &youngest, &kind])?;
        }
        transaction.batch_execute(seed::TALLIES)?;
        Ok(transaction.commit()?)
    }
}

/// A field of an answer.
fn text<'a>(answer: &'a Value, field: &str) -> Result<&'a str> {
    answer.get(field).and_then(Value::as_str).with_context(|| format!("an answer without {field}"))
}

fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let encode = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

/// Requests of one kind, of which one is drawn each time.
struct Requests {
    name: String,
    paths: Vec<String>,
}

impl Requests {
    fn new(name: impl Into<String>, paths: impl IntoIterator<Item = String>) -> Self {
        Self { name: name.into(), paths: paths.into_iter().collect() }
    }
}

/// What one kind of request came to: over each number of connections.
struct Figures {
    name: String,
    measured: Vec<Measured>,
}

struct Bench {
    log: Option<Log>,
    app_url: String,
    time: Duration,
}

impl Bench {
    /// Measures what reads in the large organization, and prints a line for each figure.
    fn reads(&mut self, org: &Org) -> Result<Vec<Figures>> {
        say!("| request | connections | requests/s | p50 ms | p95 ms | p99 ms | pgbench tps | of pgbench |");
        say!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        let listed = org.target.connect()?.ask_json(&org.target.get("/api/leads/?limit=1&count=true"))?;
        let leads = listed.get("count").and_then(Value::as_u64).context("the list has no count")?;
        let mut all = Vec::new();
        let of_leads = [
            org.details(),
            org.first_page(),
            org.deep_page(leads)?,
            org.by_status(),
            org.search(),
            org.search_everything(),
            org.search_as_typed(),
        ];
        for requests in of_leads.into_iter().chain(org.sales()) {
            let transactions = self.capture_all(org, &requests)?;
            let plain = |transaction: &Transaction| script(&org.id.to_string(), transaction, &literal);
            let scripts = transactions.map(|all| all.iter().map(plain).collect::<Vec<_>>());
            let mut measured = Vec::new();
            for connections in CONNECTIONS {
                let figure = self.http(org, connections, &requests)?;
                let alone = match &scripts {
                    Some(scripts) => Some(self.pgbench(connections, scripts)?),
                    None => None,
                };
                print_line(&requests.name, connections, &figure, alone);
                measured.push(figure);
            }
            all.push(Figures { name: requests.name, measured });
        }
        Ok(all)
    }

    /// Measures in the small organization what should not depend on its size; a line for each figure.
    fn compare(&self, org: &Org, large: &[Figures]) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let of_leads = [
            org.details(),
            org.first_page(),
            org.by_status(),
            org.search(),
            org.search_everything(),
            org.search_as_typed(),
        ];
        for requests in of_leads.into_iter().chain(org.sales()) {
            let same = large.iter().find(|figures| figures.name == requests.name);
            for (connections, large) in
                CONNECTIONS.into_iter().zip(same.iter().flat_map(|same| &same.measured))
            {
                let small = self.http(org, connections, &requests)?;
                let kept = large.per_second / small.per_second * 100.0;
                lines.push(format!(
                    "| {} | {connections} | {} | {kept:.0} % |",
                    requests.name,
                    columns(&small)
                ));
            }
        }
        Ok(lines)
    }

    fn http(&self, org: &Org, connections: u64, requests: &Requests) -> Result<Measured> {
        let all: Vec<_> = requests.paths.iter().map(|path| org.target.get(path)).collect();
        // Scattered, so that no connection keeps to its own.
        let drawn = |turn: u64| {
            let place = turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
            all.get(place as usize % all.len()).cloned().unwrap_or_default()
        };
        load(&org.target, connections, WARM_UP, self.time, drawn)
    }

    fn pgbench(&self, connections: u64, scripts: &[String]) -> Result<f64> {
        pgbench::transactions_per_second(&self.app_url, connections, self.time, scripts, &[])
    }

    fn capture_all(&mut self, org: &Org, requests: &Requests) -> Result<Option<Vec<Transaction>>> {
        let Some(log) = &mut self.log else { return Ok(None) };
        let mut connection = org.target.connect()?;
        let capture = |path: &String| {
            log.capture(&org.id.to_string(), || connection.ask(&org.target.get(path)).map(drop))
        };
        requests.paths.iter().map(capture).collect::<Result<_>>().map(Some)
    }

    fn creation(&mut self, org: &Org) -> Result<()> {
        let script = self.capture_creation(org)?;
        for connections in CONNECTIONS {
            let run = Utc::now().timestamp_millis();
            let fresh = |turn: u64| org.new_lead(&format!("measured.{run}.{turn}@bench.example"));
            let figure = load(&org.target, connections, WARM_UP, self.time, fresh)?;
            let alone = match &script {
                Some(script) => {
                    let (scripts, n) = ([script.at(Utc::now().timestamp_millis())], [("n", "0".to_owned())]);
                    Some(pgbench::transactions_per_second(
                        &self.app_url,
                        connections,
                        self.time,
                        &scripts,
                        &n,
                    )?)
                }
                None => None,
            };
            print_line("create", connections, &figure, alone);
        }
        Ok(())
    }

    /// Each lead is converted once, as long as there are some.
    fn conversion(&self, org: &Org) -> Result<()> {
        for connections in CONNECTIONS {
            let ids = org.to_convert(CONVERSIONS)?;
            let convert = |turn: u64| {
                let id = ids.get(turn as usize % ids.len()).map_or("", String::as_str);
                org.target.post(&format!("/api/leads/{id}/convert/"), &json!({}))
            };
            let figure = load(&org.target, connections, WARM_UP, self.time, convert)?;
            print_line("conversion", connections, &figure, None);
        }
        Ok(())
    }

    /// Two creations tell what is new in each.
    fn capture_creation(&mut self, org: &Org) -> Result<Option<Creation>> {
        let Some(log) = &mut self.log else { return Ok(None) };
        let run = Utc::now().timestamp_millis();
        let mut connection = org.target.connect()?;
        let mut capture = |email: &str| -> Result<(Transaction, String)> {
            let mut id = String::new();
            let transaction = log.capture(&org.id.to_string(), || {
                let lead = connection.ask_json(&org.new_lead(email))?;
                id = text(&lead, "id")?.to_owned();
                Ok(())
            })?;
            Ok((transaction, id))
        };
        let email = format!("captured.{run}.1@bench.example");
        let (transaction, id) = capture(&email)?;
        let (other, _) = capture(&format!("captured.{run}.2@bench.example"))?;
        let new = values(&transaction).zip(values(&other)).filter(|(one, other)| one != other);
        let new: Vec<String> = new.filter_map(|(one, _)| one.map(str::to_owned)).collect();
        Ok(Some(Creation { org: org.id, transaction, id, email, new }))
    }
}

/// How a lead is made, with what is different each time.
struct Creation {
    org: Uuid,
    transaction: Transaction,
    id: String,
    email: String,
    /// Values that another creation does not have.
    new: Vec<String>,
}

impl Creation {
    /// The script with ids that begin at this instant and grow, like those of the application.
    fn at(&self, millis: i64) -> String {
        let number = ":client_id::bigint * 1099511627776 + :n::bigint";
        let id = |kind: u8| format!("('{millis:012x}7{kind:03x}' || lpad(to_hex({number}), 16, '0'))::uuid");
        let email = format!("'measured.{millis:x}.' || to_hex({number}) || '@bench.example'");
        let written = |value: &str| match value.split_once(self.email.as_str()) {
            Some((before, after)) => format!("({} || {email} || {})", literal(before), literal(after)),
            None if value == self.id => id(0),
            None if self.new.iter().any(|new| new == value) && Uuid::try_parse(value).is_ok() => id(1),
            None => literal(value),
        };
        format!("\\set n :n + 1\n{}", script(&self.org.to_string(), &self.transaction, &written))
    }
}

fn print_line(name: &str, connections: u64, figure: &Measured, alone: Option<f64>) {
    let beside = match alone {
        Some(tps) => format!("{tps:.0} | {:.0} %", figure.per_second / tps * 100.0),
        None => "– | –".to_owned(),
    };
    say!("| {name} | {connections} | {} | {beside} |", columns(figure));
}

fn columns(figure: &Measured) -> String {
    let [p50, p95, p99] = [50, 95, 99].map(|percent| format!("{:.2}", figure.percentile(percent)));
    format!("{:.0} | {p50} | {p95} | {p99}", figure.per_second)
}
