//! What a seed leaves is as if people had entered it: every sum, every history and every file is right.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use crm_core::{MemberId, OrgId, Result, TenantTx};
use crm_identity::{InTheNameOf, org_key};
use crm_opportunities::goals;
use crm_records::list::Params;
use crm_storage::{Key, Storage};
use futures_util::TryStreamExt;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Installation, block_on};

/// An installation with two organizations, and an administrator of one of them.
struct Seeded {
    installation: Installation,
    said: String,
    admin: InTheNameOf,
}

impl Seeded {
    fn new() -> Self {
        let installation = Installation::new();
        let few = ["seed", "--until", "2026-11-20", "--users", "4", "--leads", "400"];
        let said = installation.run(&few).is(0, &["2 pipelines, 400 leads", "18 goals, 24 files"]).said;
        let founder = "SELECT m.org_id, m.id FROM memberships m JOIN organizations o ON o.id = m.org_id
            WHERE m.email = 'demo@example.com' ORDER BY o.name LIMIT 1";
        let row = installation.superuser().query_one(founder, &[]).unwrap();
        let admin = InTheNameOf { org: OrgId(row.get(0)), member: MemberId(row.get(1)) };
        Self { installation, said, admin }
    }

    fn ask<T>(&self, who: InTheNameOf, ask: impl AsyncFnOnce(&mut TenantTx) -> Result<T>) -> T {
        block_on(self.installation.database.db.tenant(&who, ask)).unwrap()
    }

    fn rows(&self, query: &str) -> Vec<postgres::Row> {
        self.installation.superuser().query(query, &[&self.admin.org.0]).unwrap()
    }

    /// How many rows there are that should not be.
    #[track_caller]
    fn none(&self, from: &str) {
        assert_eq!(self.installation.count(from), 0, "{from}");
    }
}

#[test]
fn sums_are_those_of_the_rows_they_sum() {
    let seeded = Seeded::new();
    let mut want: BTreeMap<(String, String, Option<NaiveDate>), [i64; 3]> = BTreeMap::new();
    let mut add = |kind: &str, bucket: String, day: Option<NaiveDate>, [amount, weighted]: [i64; 2]| {
        let sum = want.entry((kind.to_owned(), bucket, day)).or_default();
        *sum = [sum[0] + 1, sum[1] + amount, sum[2] + weighted];
    };
    for row in seeded.rows("SELECT status, rating, next_follow_up FROM leads WHERE org_id = $1") {
        let [status, rating] = [0, 1].map(|at| row.get::<_, Option<String>>(at).unwrap_or_default());
        add("lead", format!("{status}|{rating}"), None, [0, 0]);
        let day: Option<NaiveDate> = row.get(2);
        if day.is_some() && status != "converted" && status != "closed" {
            add("lead", "follow_up".to_owned(), day, [0, 0]);
        }
    }
    for kind in ["account", "contact"] {
        for row in seeded.rows(&format!("SELECT is_active FROM {kind}s WHERE org_id = $1")) {
            let bucket = if row.get(0) { "active" } else { "inactive" };
            add(kind, bucket.to_owned(), None, [0, 0]);
        }
    }
    let deals = "SELECT stage, currency, amount, probability, closed_on FROM opportunities WHERE org_id = $1";
    for row in seeded.rows(deals) {
        let (stage, currency): (String, Option<String>) = (row.get(0), row.get(1));
        let (amount, probability): (Option<i64>, i32) = (row.get(2), row.get(3));
        let bucket = format!("{stage}|{}", amount.and(currency).unwrap_or_default());
        let amount = amount.unwrap_or_default();
        let sums = [amount, amount * i64::from(probability)];
        add("opportunity", bucket.clone(), None, sums);
        let day: Option<NaiveDate> = row.get(4);
        if day.is_some() && stage != "CLOSED_LOST" {
            add("opportunity", bucket, day, sums);
        }
    }
    let sums = "SELECT kind, bucket, day, sum(count)::bigint, sum(amount)::bigint, sum(weighted)::bigint
        FROM tallies WHERE org_id = $1 GROUP BY kind, bucket, day";
    let kept: BTreeMap<_, _> = seeded
        .rows(sums)
        .iter()
        .map(|row| ((row.get(0), row.get(1), row.get(2)), [row.get(3), row.get(4), row.get(5)]))
        .collect();
    assert_eq!(kept, want);
    assert!(want.len() > 20, "{want:?}");
}

#[test]
fn a_lead_on_a_board_stands_in_a_stage_of_its_status_and_newer_ones_above_it() {
    let seeded = Seeded::new();
    let staged = "leads l JOIN lead_stages s ON (s.org_id, s.id) = (l.org_id, l.stage_id)";
    seeded.none(&format!("{staged} WHERE s.maps_to_status IS DISTINCT FROM l.status"));
    seeded
        .none("(SELECT org_id FROM lead_pipelines WHERE is_default GROUP BY org_id HAVING count(*) <> 1) o");
    let unmoved = "NOT EXISTS (SELECT FROM changes c WHERE (c.org_id, c.record_id) = (l.org_id, l.id)
        AND c.version = l.version AND c.fields->'stage_id'->>1 = l.stage_id::text)";
    seeded.none(&format!("leads l WHERE stage_id IS NOT NULL AND {unmoved}"));
    let pipelines = seeded
        .rows("SELECT id::text, name FROM lead_pipelines WHERE org_id = $1 ORDER BY is_default DESC, name");
    let mut shown = 0;
    for pipeline in &pipelines {
        let id: String = pipeline.get(0);
        let params = Params::of(&[("pipeline_id", id.as_str()), ("limit", "200"), ("count", "true")]);
        let board = seeded.ask(seeded.admin, async |t| crm_leads::kanban(t, &params).await);
        let board = serde_json::to_value(board).unwrap();
        let columns = board["columns"].as_array().unwrap();
        assert_eq!(columns.len(), 6);
        for column in columns {
            let leads = column["leads"].as_array().unwrap();
            assert_eq!(Some(leads.len() as i64), column["count"].as_i64());
            for lead in leads {
                assert_eq!((&lead["stage_id"], &lead["status"]), (&column["id"], &column["maps_to_status"]));
            }
            let times: Vec<_> = leads.iter().map(|lead| lead["created_at"].as_str().unwrap()).collect();
            assert!(times.is_sorted_by(|above, below| above > below), "{times:?}");
            shown += leads.len() as i64;
        }
        let filled = columns.iter().filter(|column| column["count"] != 0).count();
        assert!(filled >= 4, "{id}: {board}");
    }
    assert_eq!(pipelines.len(), 2);
    let on_boards = format!(
        "leads WHERE org_id = '{}' AND stage_id IS NOT NULL AND status <> 'converted'",
        seeded.admin.org
    );
    assert_eq!(seeded.installation.count(&on_boards), shown);
    let statuses = seeded
        .ask(seeded.admin, async |t| crm_leads::kanban(t, &Params::of(&[("count", "true")])).await)
        .count
        .unwrap();
    let open = format!("leads WHERE org_id = '{}' AND status <> 'converted'", seeded.admin.org);
    assert_eq!(statuses + shown, seeded.installation.count(&open), "each is on one board");
    assert!(statuses > 50 && shown > 50);
}

/// An amount with two decimals, in cents.
fn cents(amount: &Value) -> i64 {
    let text = amount.as_str().unwrap();
    let (whole, cents) = text.split_once('.').unwrap();
    assert_eq!(cents.len(), 2, "{text}");
    whole.parse::<i64>().unwrap() * 100 + cents.parse::<i64>().unwrap()
}

#[test]
fn a_goal_has_come_as_far_as_the_deals_that_were_won_for_it() {
    let seeded = Seeded::new();
    let all = Params::of(&[("limit", "200")]);
    let won = Params::of(&[("limit", "200"), ("stage", "CLOSED_WON")]);
    let goals = seeded.ask(seeded.admin, async |t| goals::list(t, &all).await).results;
    let deals = seeded.ask(seeded.admin, async |t| crm_opportunities::list(t, &won).await);
    assert!(deals.next.is_none());
    let [goals, deals] = [serde_json::to_value(goals).unwrap(), serde_json::to_value(deals.results).unwrap()];
    let mut teams: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in seeded.rows("SELECT team_id::text, membership_id::text FROM team_members WHERE org_id = $1") {
        teams.entry(row.get(0)).or_default().insert(row.get(1));
    }
    let (mut seen, mut reached) = (BTreeSet::new(), 0);
    for goal in goals.as_array().unwrap() {
        let day = |field: &str| goal[field].as_str().unwrap();
        let counts = |deal: &&Value| {
            let closed = deal["closed_on"].as_str().unwrap();
            let on_it: BTreeSet<_> =
                deal["assigned_to"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
            let theirs = match (goal["assigned_to"].as_str(), goal["team_id"].as_str()) {
                (Some(member), _) => on_it.contains(member),
                (None, Some(team)) => teams[team].iter().any(|member| on_it.contains(member.as_str())),
                (None, None) => true,
            };
            theirs && (day("period_start")..=day("period_end")).contains(&closed)
        };
        let counted: Vec<_> = deals.as_array().unwrap().iter().filter(counts).collect();
        if goal["goal_type"] == "REVENUE" {
            let sum: i64 = counted.iter().map(|deal| cents(&deal["amount"])).sum();
            assert_eq!(cents(&goal["progress_value"]), sum, "{goal}");
        } else {
            assert_eq!(goal["progress_value"], counted.len().to_string(), "{goal}");
        }
        reached += i64::from(!counted.is_empty());
        let whose = (goal["assigned_to"].is_string(), goal["team_id"].is_string());
        seen.insert((goal["period_type"].as_str().unwrap(), whose, day("period_start")));
    }
    let (everybody, team, member) = ((false, false), (false, true), (true, false));
    let want = [
        ("YEARLY", everybody, "2025-01-01"),
        ("YEARLY", everybody, "2026-01-01"),
        ("QUARTERLY", team, "2026-07-01"),
        ("QUARTERLY", team, "2026-10-01"),
        ("MONTHLY", member, "2026-10-01"),
        ("MONTHLY", member, "2026-11-01"),
    ];
    assert_eq!(seen, BTreeSet::from(want));
    assert!(reached > 5, "{reached} goals have come anywhere");
}

#[test]
fn a_document_downloads_as_it_was_stored_and_nothing_else_is_stored() {
    let seeded = Seeded::new();
    let files = seeded.installation.data_dir.path().join("files");
    let storage = Storage::local(&files).unwrap();
    let org = seeded.admin.org;
    let bytes = |id: Uuid, sha256: String| -> Vec<u8> {
        block_on(async {
            let blob = storage.get(&Key::new(org.0, id)).await.unwrap().verified(sha256);
            blob.bytes
                .try_fold(Vec::new(), async |all, chunk| Ok([all, chunk.to_vec()].concat()))
                .await
                .unwrap()
        })
    };
    let titles = |who: InTheNameOf| -> BTreeSet<String> {
        let page = seeded.ask(who, async |t| crm_documents::list(t, &Params::default()).await);
        let page = serde_json::to_value(page.results).unwrap();
        page.as_array()
            .unwrap()
            .iter()
            .map(|document| document["title"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = titles(seeded.admin);
    assert_eq!(all.len(), 6, "{all:?}");
    for row in seeded.rows("SELECT id FROM documents WHERE org_id = $1") {
        let document = seeded.ask(seeded.admin, async |t| crm_documents::find(t, row.get(0)).await);
        let bytes = bytes(document.file.file_id, document.file.sha256);
        assert_eq!(bytes.len() as i64, document.file.size_bytes);
        let begins = match document.file.file_name.rsplit_once('.').unwrap().1 {
            "csv" => "name,sku,category,price,currency\r\n",
            "pdf" => "%PDF-1.4\n",
            "md" => "# Sales playbook\n",
            "svg" => "<svg ",
            _ => "Plan for next quarter\n",
        };
        assert!(bytes.starts_with(begins.as_bytes()), "{}", document.fields.title);
    }
    let mut sum = 0;
    for row in seeded.rows("SELECT id, sha256, size_bytes FROM attachments WHERE org_id = $1") {
        assert_eq!(bytes(row.get(0), row.get(1)).len() as i64, row.get::<_, i64>(2));
        sum += row.get::<_, i64>(2);
    }
    let used = &seeded.rows("SELECT used_bytes, files FROM storage_usage WHERE org_id = $1")[0];
    assert_eq!((used.get::<_, i64>(0), used.get::<_, i64>(1)), (sum, 24));
    assert_eq!(std::fs::read_dir(files.join(org.to_string())).unwrap().count(), 24);
    // Whoever is no administrator reads what is shared with them or with a team of theirs.
    let members = "SELECT id FROM memberships WHERE org_id = $1 AND email <> 'demo@example.com'";
    let mut read = BTreeSet::new();
    for row in seeded.rows(members) {
        let seen = titles(InTheNameOf { org, member: MemberId(row.get(0)) });
        assert!(seen.contains("Price list") && !seen.contains("Plan for next quarter"), "{seen:?}");
        read.extend(seen);
    }
    assert_eq!(read.len(), 4, "{read:?}");
    seeded.installation.run(&["doctor"]).is(0, &["ok    files: "]);
}

#[test]
fn histories_and_the_search_know_of_everything() {
    let seeded = Seeded::new();
    let kinds = "'lead', 'account', 'contact', 'opportunity', 'product', 'document', 'goal', 'web_form', 'lead_pipeline', 'lead_stage', \
        'team', 'tag'";
    let created = "(SELECT count(*) FROM changes c WHERE (c.org_id, c.record_id) = (r.org_id, r.id) AND c.action = 'created')";
    seeded.none(&format!("records r WHERE kind IN ({kinds}) AND {created} <> 1"));
    for table in ["leads", "accounts", "contacts", "opportunities", "documents", "sales_goals", "lead_stages"]
    {
        let newest =
            "(SELECT max(c.version) FROM changes c WHERE (c.org_id, c.record_id) = (r.org_id, r.id))";
        seeded.none(&format!("{table} r WHERE version IS DISTINCT FROM {newest}"));
    }
    let told = |table: &str, action: &str, fact: &str| {
        let change = "(c.org_id, c.record_id) = (k.org_id, k.record_id)";
        let untold = format!(
            "{table} k WHERE NOT EXISTS (SELECT FROM changes c WHERE {change} AND c.action = '{action}' AND {fact})"
        );
        seeded.none(&untold);
    };
    told("comments", "commented", "c.fields->'comment'->>1 = k.comment AND c.created_at = k.created_at");
    told("attachments", "file_added", "c.fields->'file'->>1 = k.file_name");
    told(
        "(SELECT *, lead_id AS record_id FROM conversions)",
        "converted",
        "c.fields->'account_id'->>1 = k.account_id::text AND c.fields->'opportunity_id'->>1 = k.opportunity_id::text \
         AND c.fields->'contact_id'->>1 IS NOT DISTINCT FROM k.contact_id::text",
    );
    for kind in ["lead", "account", "opportunity"] {
        let comments = format!(
            "comments k JOIN records r ON (r.org_id, r.id) = (k.org_id, k.record_id) AND r.kind = '{kind}'"
        );
        assert!(seeded.installation.count(&comments) > 10, "{kind}");
    }
    let before_its_record = "comments k JOIN opportunities o ON (o.org_id, o.id) = (k.org_id, k.record_id)";
    seeded.none(&format!(
        "{before_its_record} WHERE k.created_at < o.created_at OR k.created_at > '2026-11-20'"
    ));
    // What was said of a lead is shown at all that it became.
    assert_eq!(
        seeded.installation.count("record_sources"),
        seeded.installation.count(
            "conversions CROSS JOIN LATERAL unnest(ARRAY[account_id, contact_id, opportunity_id]) made WHERE made IS NOT NULL"
        )
    );
    let rebuilt =
        seeded.installation.run(&["search", "rebuild"]).is(0, &["document: 6 records", "lead: 400 records"]);
    for line in rebuilt.said.lines() {
        assert!(line.ends_with(", 0 repaired"), "{line}");
    }
    // Nobody is written to: the addresses are made up.
    seeded.none("jobs WHERE kind IN ('assigned', 'commented')");
}

#[test]
fn an_organization_has_a_web_form_with_the_key_that_is_told_and_says_how_long_deals_may_take() {
    let seeded = Seeded::new();
    let keys: Vec<&str> = seeded
        .said
        .lines()
        .filter_map(|line| line.split_once(" with the key "))
        .map(|(_, key)| key)
        .collect();
    assert_eq!(keys.len(), 2);
    for key in keys {
        let digest = org_key::digest(key);
        assert_eq!(
            seeded.installation.count(&format!("web_forms WHERE is_active AND key_digest = '{digest}'")),
            1
        );
    }
    seeded.none("web_forms f WHERE NOT EXISTS (SELECT FROM record_assignees k WHERE (k.org_id, k.record_id) = (f.org_id, f.id))");
    let aging = seeded.ask(seeded.admin, async |t| crm_opportunities::aging::find(t).await);
    let days: Vec<_> = aging.iter().map(|stage| (stage.expected_days, stage.warning_days)).collect();
    assert_eq!(days, [(30, Some(21)), (21, Some(14)), (14, Some(10)), (10, None)]);
}
