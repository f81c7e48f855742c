use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc};
use crm_core::{Caller, OrgInfo};
use crm_schema::stage_aging;
use crm_testkit::fresh_database;
use diesel::ExpressionMethods;
use diesel_async::RunQueryDsl;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

const SEED: u64 = 20_261_128;

/// Moves the clock to the next noon in UTC on a day that `is_wanted`: then it is that day in Los Angeles and the next one in Auckland.
fn noon(app: &TestApp, is_wanted: impl Fn(NaiveDate) -> bool) -> NaiveDate {
    let now = app.db.clock().now();
    let days = (0..).filter_map(|ahead| now.date_naive().checked_add_days(Days::new(ahead)));
    let noons = days.filter(|day| is_wanted(*day)).map(|day| day.and_hms_opt(12, 0, 0).unwrap().and_utc());
    let noon = { noons }.find(|noon| *noon > now).unwrap();
    app.db.clock().advance(noon - now);
    noon.date_naive()
}

/// Every figure under `value` with the list that it names, so that nothing is shown that no list bears out.
fn figures<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    if value["count"].is_i64() && value["list"].is_string() {
        found.push(value);
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|field| figures(field, found)),
        Value::Array(items) => items.iter().for_each(|item| figures(item, found)),
        _ => {}
    }
}

fn minor(amount: &Value) -> i64 {
    amount.as_str().unwrap().replace('.', "").parse().unwrap()
}

impl Person {
    /// All rows of a list, page by page.
    async fn rows(&self, list: &str) -> Vec<Value> {
        let glue = if list.contains('?') { '&' } else { '?' };
        let mut next = Some(format!("{list}{glue}limit=200"));
        let mut rows = Vec::new();
        while let Some(page) = next {
            let page = self.get(&page).await.expect(200);
            rows.extend(page["results"].as_array().unwrap().iter().cloned());
            next = page["next"].as_str().map(str::to_owned);
        }
        rows
    }

    /// Compares each figure with the list that it names; how many there are, and the sum of their counts.
    async fn borne_out(&self, answer: &Value) -> (usize, i64) {
        let mut found = Vec::new();
        figures(answer, &mut found);
        let mut sum = 0;
        for figure in &found {
            let list = figure["list"].as_str().unwrap();
            let rows = self.rows(list).await;
            assert_eq!(figure["count"], rows.len(), "{}: {list}", self.email);
            sum += figure["count"].as_i64().unwrap();
            let Some(amounts) = figure["amounts"].as_array() else { continue };
            let mut sums: BTreeMap<&str, (i64, i64, i64)> = BTreeMap::new();
            for row in &rows {
                if row["amount"].is_null() {
                    continue;
                }
                let of = sums.entry(row["currency"].as_str().unwrap()).or_default();
                let amount = minor(&row["amount"]);
                *of = (of.0 + 1, of.1 + amount, of.2 + amount * row["probability"].as_i64().unwrap());
            }
            let told = amounts.iter().map(|of| {
                let (count, amount) = (of["count"].as_i64().unwrap(), minor(&of["amount"]));
                (of["currency"].as_str().unwrap(), (count, amount, minor(&of["weighted"])))
            });
            let sums = sums.into_iter().map(|(currency, of)| (currency, (of.0, of.1, (of.2 + 50) / 100)));
            assert_eq!(told.collect::<BTreeMap<_, _>>(), sums.collect(), "{}: {list}", self.email);
        }
        (found.len(), sum)
    }

    async fn dashboard(&self) -> Value {
        self.get("/api/dashboard/").await.expect(200)
    }

    async fn today(&self, query: &str) -> Value {
        self.get(&format!("/api/dashboard/today/{query}")).await.expect(200)
    }

    async fn activities(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/activities/{query}")).await.expect(200);
        page["results"].as_array().unwrap().clone()
    }

    /// The program itself, in this organization.
    fn the_program(&self) -> Caller {
        let id = self.org["id"].as_str().unwrap().parse().unwrap();
        Caller::system(OrgInfo { id, name: String::new(), currency: "EUR".into(), timezone: chrono_tz::UTC })
    }

    /// Converts a lead into an account and a deal.
    async fn convert(&self, lead: &Value) {
        let path = format!("/api/leads/{}/convert/", lead["id"].as_str().unwrap());
        self.post(&path, &json!({"contact": false, "opportunity": true})).await.expect(200);
    }
}

/// An organization in which people own this and that: an administrator, two members, one of whom is on a team, and roles that see all of
/// some kinds and their own of others.
struct Office {
    people: Vec<Person>,
    team: Value,
    rng: StdRng,
    today: NaiveDate,
}

impl Office {
    async fn open(app: &TestApp, today: NaiveDate) -> Self {
        let ann = app.founder().await;
        let grant = |scope: &str| json!({"actions": ["view", "add", "change"], "scope": scope});
        for (name, grants) in [
            (
                "Sees leads",
                json!({"leads": grant("all"), "contacts": grant("own"), "opportunities": grant("own")}),
            ),
            (
                "Sees deals",
                json!({"leads": grant("own"), "accounts": grant("all"), "contacts": grant("all"), "opportunities": grant("all")}),
            ),
            ("Sees tags", json!({"tags": {"actions": ["view"], "scope": "all"}})),
        ] {
            ann.post("/api/roles/", &json!({"name": name, "grants": grants})).await.expect(201);
        }
        let mut people = vec![ann];
        for role in ["USER", "USER", "Sees leads", "Sees deals", "Sees tags"] {
            let colleague = people[0].colleague(role).await;
            people.push(colleague);
        }
        let users = [people[1].member_id(), people[4].member_id()];
        let team = people[0].post("/api/teams/", &json!({"name": "East", "users": users})).await.expect(201);
        Self { people, team, rng: StdRng::seed_from_u64(SEED), today }
    }

    fn one_of(&mut self, words: &[&str]) -> Value {
        words.choose(&mut self.rng).filter(|word| !word.is_empty()).map_or(Value::Null, |word| json!(word))
    }

    fn day(&mut self) -> Value {
        let offset = self.rng.random_range(-12..=12);
        if offset > 10 {
            return Value::Null;
        }
        json!((self.today + TimeDelta::days(offset)).to_string())
    }

    fn links(&mut self) -> (Vec<String>, Vec<Value>) {
        let many = self.rng.random_range(0..=2);
        let members = self.people.iter().map(Person::member_id);
        let assigned = members.choose_multiple(&mut self.rng, many);
        let teams = if self.rng.random_bool(0.3) { vec![self.team["id"].clone()] } else { Vec::new() };
        (assigned, teams)
    }

    fn anybody(&mut self) -> Person {
        let who = self.rng.random_range(0..self.people.len() - 1);
        self.people[who].clone()
    }

    async fn add_account(&mut self, number: usize) {
        let (assigned_to, teams) = self.links();
        let body = json!({
            "name": format!("Account {number}"),
            "is_active": self.rng.random_bool(0.7),
            "assigned_to": assigned_to,
            "teams": teams,
        });
        let who = self.people[[0, 1, 2, 4][number % 4]].clone();
        let account = who.post("/api/accounts/", &body).await.expect(201);
        // Whoever may look at an account may look at its people.
        let (assigned_to, teams) = self.links();
        let person = json!({
            "first_name": "Somebody",
            "last_name": format!("Number {number}"),
            "account_id": if self.rng.random_bool(0.5) { account["id"].clone() } else { Value::Null },
            "assigned_to": assigned_to,
            "teams": teams,
            "is_active": self.rng.random_bool(0.8),
        });
        who.post("/api/contacts/", &person).await.expect(201);
        if number.is_multiple_of(5) {
            let at = format!("/api/accounts/{}/", account["id"].as_str().unwrap());
            who.patch(&at, &json!({"is_active": false})).await.expect(200);
        }
    }

    async fn add_deal(&mut self, number: usize) {
        let (assigned_to, teams) = self.links();
        let stages = [
            "PROSPECTING",
            "QUALIFICATION",
            "PROPOSAL",
            "PROPOSAL",
            "NEGOTIATION",
            "CLOSED_WON",
            "CLOSED_WON",
            "CLOSED_LOST",
        ];
        let stage = self.one_of(&stages);
        let amount = self.rng.random_range(1..100_000);
        let worth = stage == "CLOSED_WON" || self.rng.random_bool(0.8);
        let body = json!({
            "name": format!("Deal {number}"),
            "stage": stage,
            "amount": worth.then(|| amount.to_string()),
            "currency": self.one_of(&["EUR", "USD", "JPY"]),
            "closed_on": self.day(),
            "assigned_to": assigned_to,
            "teams": teams,
        });
        let who = self.anybody();
        let deal = who.post("/api/opportunities/", &body).await.expect(201);
        let at = format!("/api/opportunities/{}/", deal["id"].as_str().unwrap());
        match self.rng.random_range(0..8) {
            0 => drop(who.patch(&at, &json!({"stage": "NEGOTIATION"})).await.expect(200)),
            1 => drop(who.patch(&at, &json!({"amount": "77", "currency": "EUR"})).await.expect(200)),
            2 => assert_eq!(self.people[0].delete(&at).await.status, 204),
            _ => {}
        }
    }

    async fn work(&mut self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.add_lead().await;
            if number.is_multiple_of(2) {
                self.add_account(number).await;
            }
            self.add_deal(number).await;
        }
    }

    /// Lets days pass, after which everybody has to sign in again.
    async fn rest(&mut self, days: i64) {
        self.people[0].app.db.clock().advance(TimeDelta::days(days));
        for person in &mut self.people {
            *person = person.sign_in_again().await;
        }
    }

    async fn add_lead(&mut self) {
        let (assigned_to, teams) = self.links();
        let body = json!({
            "title": format!("Lead {}", self.rng.random_range(0..1000)),
            "status": self.one_of(&["", "assigned", "assigned", "in process", "recycled", "closed"]),
            "rating": self.one_of(&["", "HOT", "HOT", "COLD"]),
            "next_follow_up": self.day(),
            "last_contacted": self.day(),
            "assigned_to": assigned_to,
            "teams": teams,
        });
        let who = self.anybody();
        let lead = who.lead(body).await;
        match self.rng.random_range(0..10) {
            0 => self.people[0].convert(&lead).await,
            1 => {
                let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
                let change = json!({"status": self.one_of(&["", "closed", "in process"]), "rating": "HOT"});
                who.patch(&at, &change).await.expect(200);
            }
            2 => {
                let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
                assert_eq!(self.people[0].delete(&at).await.status, 204);
            }
            _ => {}
        }
    }
}

#[actix_web::test]
async fn each_figure_is_the_sum_of_its_list_for_whoever_asks() {
    let database = fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let today = noon(&app, |_| true);
    let mut office = Office::open(&app, today + Days::new(16)).await;
    // Some come in so long ago that they have been forgotten, and some deals rot or get slow.
    office.work(0..30).await;
    office.rest(5).await;
    office.work(30..60).await;
    office.rest(11).await;
    office.work(60..80).await;
    let mut told = Vec::new();
    for person in office.people.clone() {
        let dashboard = person.dashboard().await;
        assert_eq!(dashboard["today"], office.today.to_string());
        told.push(person.borne_out(&dashboard).await);
        let queue = person.today("?limit=50").await;
        let reasons = person.borne_out(&queue).await.0;
        assert!(reasons >= 7 || told.len() != 1, "{queue}: there is every reason");
        let sources = queue["summary"]["sources"].as_array().unwrap().iter();
        let sum: i64 = sources.map(|source| source["count"].as_i64().unwrap()).sum();
        assert_eq!(queue["summary"]["count"], sum);
        assert_eq!(queue["summary"]["shown"], queue["queue"].as_array().unwrap().len());
        if let Some(leads) = dashboard["leads"].as_object() {
            let [all, converted] = ["open", "converted"].map(|sort| leads[sort]["count"].as_i64().unwrap());
            let all = all + converted + leads["closed"]["count"].as_i64().unwrap();
            let rate = (all > 0).then(|| f64::round(converted as f64 * 1000.0 / all as f64) / 10.0);
            assert_eq!(leads["conversion_rate"].as_f64(), rate);
            let newest: Vec<_> =
                leads["hot"]["newest"].as_array().unwrap().iter().map(|lead| &lead["id"]).collect();
            let mut list = person.rows(leads["hot"]["list"].as_str().unwrap()).await;
            list.truncate(10);
            assert_eq!(newest, list.iter().map(|lead| &lead["id"]).collect::<Vec<_>>());
        }
    }
    let sums: Vec<_> = told.iter().map(|(_, sum)| *sum).collect();
    assert!(sums[0] > sums[1] && sums[1] > 0 && sums[3] > 0, "{told:?}: the roles see different things");
    assert_eq!(told[5], (0, 0), "who may look at nothing is told nothing");
    let nothing = office.people[5].dashboard().await;
    assert_eq!([&nothing["leads"], &nothing["opportunities"], &nothing["accounts"]], [&Value::Null; 3]);
    let stranger = app.founder().await;
    let (figures, sum) = stranger.borne_out(&stranger.dashboard().await).await;
    assert!(figures >= 7 && sum == 0, "another organization has nothing of it");
}

#[actix_web::test]
async fn today_is_the_day_of_the_organization() {
    let database = fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let today = noon(&app, |_| true);
    let ann = app.founder().await;
    let tomorrow = today.succ_opt().unwrap();
    for (title, day) in [("Today", today), ("Tomorrow", tomorrow), ("In a week", tomorrow + Days::new(7))] {
        ann.lead(json!({"title": title, "status": "assigned", "next_follow_up": day.to_string()})).await;
    }
    for (zone, date, counts, first) in [
        ("Pacific/Auckland", tomorrow, [1, 1, 1], ("Today", "overdue_follow_up")),
        ("America/Los_Angeles", today, [0, 1, 1], ("Today", "follow_up_today")),
    ] {
        ann.patch("/api/org/settings/", &json!({"timezone": zone})).await.expect(200);
        let dashboard = ann.dashboard().await;
        assert_eq!((&dashboard["today"], &dashboard["timezone"]), (&json!(date.to_string()), &json!(zone)));
        let due = &dashboard["leads"]["follow_ups"];
        let told = ["overdue", "today", "next_7_days"].map(|when| due[when]["count"].as_i64().unwrap());
        assert_eq!(told, counts, "{zone}");
        ann.borne_out(&dashboard).await;
        let queue = ann.today("").await;
        assert_eq!(
            (&queue["queue"][0]["title"], &queue["queue"][0]["reason"]),
            (&json!(first.0), &json!(first.1))
        );
        ann.borne_out(&queue).await;
    }
}

#[actix_web::test]
async fn what_was_won_this_month_goes_by_the_days_of_the_organization() {
    let database = fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let last = noon(&app, |day| day.succ_opt().unwrap().day() == 1);
    let ann = app.founder().await;
    for (name, day, amount) in [("Old", last, "100"), ("New", last.succ_opt().unwrap(), "20")] {
        let won = json!({"name": name, "stage": "CLOSED_WON", "amount": amount, "currency": "EUR", "closed_on": day.to_string()});
        ann.post("/api/opportunities/", &won).await.expect(201);
    }
    for (zone, amount) in [("Pacific/Auckland", "20.00"), ("America/Los_Angeles", "100.00")] {
        ann.patch("/api/org/settings/", &json!({"timezone": zone})).await.expect(200);
        let dashboard = ann.dashboard().await;
        let won = &dashboard["opportunities"]["won_this_month"];
        assert_eq!((&won["count"], &won["amounts"][0]["amount"]), (&json!(1), &json!(amount)), "{zone}");
        ann.borne_out(&dashboard).await;
    }
}

#[actix_web::test]
async fn a_deal_that_stays_too_long_is_slow_and_then_rotten() {
    let database = fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let mut ann = app.founder().await;
    let closing = (app.db.clock().now().date_naive() + TimeDelta::days(12)).to_string();
    let deal = json!({"name": "Chairs", "stage": "PROPOSAL", "amount": "100", "currency": "EUR", "closed_on": closing});
    ann.post("/api/opportunities/", &deal).await.expect(201);
    for (days, reasons, later) in [
        (9, vec![], 1),
        (1, vec!["slow_deal"], 1),
        (4, vec!["overdue_deal", "slow_deal"], 0),
        (1, vec!["rotten_deal", "overdue_deal"], 0),
    ] {
        app.db.clock().advance(TimeDelta::days(days));
        ann = ann.sign_in_again().await;
        let today = ann.today("").await;
        let sources = today["summary"]["sources"].as_array().unwrap();
        assert_eq!(sources.iter().map(|source| &source["reason"]).collect::<Vec<_>>(), reasons);
        assert_eq!(today["queue"].as_array().unwrap().len(), reasons.len().min(1), "shown once");
        assert_eq!(today["later"].as_array().unwrap().len(), later);
        ann.borne_out(&today).await;
    }
    let first = ann.today("").await["queue"][0].clone();
    assert_eq!(
        (&first["title"], &first["detail"]),
        (&json!("Chairs"), &json!("100.00 EUR, PROPOSAL for 15 days"))
    );
    assert_eq!((&first["due"], &first["kind"]), (&json!(closing), &json!("opportunity")));
    let program = ann.the_program();
    let patient = app.db.tenant(&program, async |t| -> crm_core::Result<()> {
        let row = (
            stage_aging::org_id.eq(t.org()),
            stage_aging::stage.eq("PROPOSAL"),
            stage_aging::expected_days.eq(30),
        );
        diesel::insert_into(stage_aging::table).values(row).execute(t.conn()?).await?;
        Ok(())
    });
    patient.await.unwrap();
    let sources = ann.today("").await["summary"]["sources"].clone();
    assert_eq!(sources.as_array().unwrap().len(), 1, "only the closing date is left: {sources}");
}

#[actix_web::test]
async fn the_queue_puts_the_most_pressing_first_and_shows_a_record_once() {
    let database = fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let untouched = json!({"title": "Untouched", "status": "assigned", "rating": "HOT"});
    ann.lead(untouched).await;
    app.db.clock().advance(TimeDelta::days(7));
    let ann = ann.sign_in_again().await;
    let day = |offset: i64| (app.db.clock().now().date_naive() + TimeDelta::days(offset)).to_string();
    for body in [
        json!({"title": "Late", "next_follow_up": day(-1)}),
        json!({"title": "Later still", "next_follow_up": day(-9), "rating": "HOT", "status": "in process", "last_contacted": day(-9)}),
        json!({"title": "Due", "next_follow_up": day(0)}),
        json!({"title": "Quiet", "rating": "HOT", "status": "in process", "last_contacted": day(-7), "company_name": "Acme"}),
        json!({"title": "Not yet quiet", "rating": "HOT", "status": "in process", "last_contacted": day(-6)}),
        json!({"title": "Just in", "rating": "HOT", "status": "assigned"}),
        json!({"title": "Closed", "status": "closed", "next_follow_up": day(-3)}),
        json!({"title": "Next week", "next_follow_up": day(7)}),
        json!({"title": "Tomorrow", "next_follow_up": day(1)}),
        json!({"title": "Far", "next_follow_up": day(8)}),
    ] {
        ann.lead(body).await;
    }
    let today = ann.today("").await;
    let told: Vec<_> = today["queue"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!([row["title"], row["reason"], row["rank"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["Later still", "overdue_follow_up", 0]),
            json!(["Late", "overdue_follow_up", 0]),
            json!(["Due", "follow_up_today", 3]),
            json!(["Quiet", "quiet_hot_lead", 5]),
            json!(["Untouched", "untouched_hot_lead", 6]),
        ]
    );
    assert_eq!((&today["summary"]["count"], &today["summary"]["shown"]), (&json!(6), &json!(5)));
    let later: Vec<_> = today["later"].as_array().unwrap().iter().map(|row| &row["title"]).collect();
    assert_eq!(later, ["Tomorrow", "Next week"]);
    let quiet = &today["queue"][3];
    assert_eq!(
        (&quiet["detail"], &quiet["due"], &quiet["kind"]),
        (&json!("Acme"), &Value::Null, &json!("lead"))
    );
    assert_eq!(ann.get(quiet["link"].as_str().unwrap()).await.expect(200)["id"], quiet["record_id"]);
    ann.borne_out(&today).await;
    assert_eq!(ann.today("?limit=2").await["queue"].as_array().unwrap().len(), 2);
}

#[actix_web::test]
async fn parameters_that_mean_nothing_are_refused() {
    let ann = TestApp::new().await.founder().await;
    for (path, field) in [
        ("/api/dashboard/?limit=3", "limit"),
        ("/api/dashboard/today/?limit=0", "limit"),
        ("/api/dashboard/today/?limit=51", "limit"),
        ("/api/dashboard/today/?limit=-1", "limit"),
        ("/api/dashboard/today/?limit=ten", "limit"),
        ("/api/dashboard/today/?offset=1", "offset"),
        ("/api/activities/?limit=51", "limit"),
        ("/api/activities/?limit=-1", "limit"),
        ("/api/activities/?limit=x", "limit"),
        ("/api/activities/?kind=led", "kind"),
        ("/api/activities/?action=VIEW", "action"),
        ("/api/activities/?actor=me", "actor"),
        ("/api/activities/?entity_type=Lead", "entity_type"),
    ] {
        assert_eq!(ann.get(path).await.problem(400).1, [field], "{path}");
    }
    assert_eq!(ann.get("/api/activities/?cursor=x").await.problem(400).0, "invalid_cursor");
}

#[actix_web::test]
async fn activities_tell_of_what_one_may_see_and_of_nothing_else() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let bob = ann.colleague("USER").await;
    ann.post(
        "/api/roles/",
        &json!({"name": "Sees tags", "grants": {"tags": {"actions": ["view"], "scope": "all"}}}),
    )
    .await
    .expect(201);
    let eve = ann.colleague("Sees tags").await;
    let hidden = ann.lead(json!({"title": "Hidden"})).await;
    let shared = ann.lead(json!({"title": "Shared", "assigned_to": [bob.member_id()]})).await;
    let at = format!("/api/leads/{}/", shared["id"].as_str().unwrap());
    bob.patch(&at, &json!({"title": "Ours", "status": "closed"})).await.expect(200);
    let said = format!("/api/leads/comment/{}/", shared["id"].as_str().unwrap());
    bob.post(&said, &json!({"comment": "Done."})).await.expect(201);
    assert_eq!(ann.delete(&format!("/api/leads/{}/", hidden["id"].as_str().unwrap())).await.status, 204);

    let brief = |rows: Vec<Value>| -> Vec<Value> {
        rows.iter().map(|a| json!([a["action"], a["title"], a["fields"], a["kind"]])).collect()
    };
    let ours = [
        json!(["commented", "Ours", ["comment"], "lead"]),
        json!(["updated", "Ours", ["status", "title"], "lead"]),
        json!(["created", "Ours", [], "lead"]),
    ];
    let seen = brief(ann.activities("").await);
    assert_eq!(seen[0], json!(["deleted", null, [], "lead"]));
    assert_eq!(seen[1..], ours);
    assert_eq!(brief(bob.activities("").await), ours, "nobody else's records, and no deletions");
    assert_eq!(eve.activities("").await, Vec::<Value>::new());
    assert_eq!(app.founder().await.activities("").await, Vec::<Value>::new());

    let actors: Vec<_> = ann.activities("").await.iter().map(|a| a["actor"].clone()).collect();
    let (a, b) = (ann.member["id"].clone(), bob.member["id"].clone());
    assert_eq!(actors, [a.clone(), b.clone(), b, a]);
    for (query, count) in [
        ("?kind=lead".to_owned(), 4),
        ("?action=updated".into(), 1),
        ("?action=deleted".into(), 1),
        (format!("?actor={}", bob.member_id()), 2),
        (format!("?actor={}&action=created", bob.member_id()), 0),
    ] {
        assert_eq!(ann.activities(&query).await.len(), count, "{query}");
    }
}

#[actix_web::test]
async fn activities_are_followed_page_by_page_whoever_reads() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    for number in 0..9 {
        let assigned = if number % 3 == 0 { vec![] } else { vec![bob.member_id()] };
        ann.lead(json!({"title": format!("Lead {number}"), "assigned_to": assigned})).await;
    }
    for (person, count) in [(&ann, 9), (&bob, 6)] {
        let whole = person.activities("?limit=50&action=created&kind=lead").await;
        assert_eq!(whole.len(), count);
        let (mut next, mut pages) =
            (Some("/api/activities/?limit=2&action=created&kind=lead".to_owned()), Vec::new());
        while let Some(page) = next {
            let page = person.get(&page).await.expect(200);
            pages.extend(page["results"].as_array().unwrap().iter().cloned());
            next = page["next"].as_str().map(str::to_owned);
        }
        assert_eq!(pages, whole);
        let times: Vec<DateTime<Utc>> =
            whole.iter().map(|a| a["created_at"].as_str().unwrap().parse().unwrap()).collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older));
    }
}
