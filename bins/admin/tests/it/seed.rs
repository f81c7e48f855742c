use crm_core::body;
use crm_identity::{Client, Identity, IdentitySettings, Login, TokenSettings};
use serde_json::json;

use crate::support::{Installation, block_on};

const UNTIL: &str = "2026-11-01";

/// Seeds with few rows up to a fixed day.
fn seed(installation: &Installation, arguments: &[&str]) -> crate::support::Answer {
    let few = ["seed", "--until", UNTIL, "--users", "3", "--leads", "300"];
    installation.run(&[&few, arguments].concat())
}

/// Every lead with what hangs on it, by names instead of the ids of people and tags.
const EVERYTHING: &str = "
SELECT l.id::text || ' ' || concat_ws('|', l.version, l.created_at, l.updated_at, l.title, l.salutation, l.first_name,
    l.last_name, l.email, l.phone, l.job_title, l.website, l.company_name, l.status, l.source, l.industry, l.rating,
    l.opportunity_amount, l.currency, l.probability, l.close_date, l.address_line, l.city, l.state, l.postcode, l.country,
    l.last_contacted, l.next_follow_up, l.description,
    (SELECT email FROM memberships m WHERE (m.org_id, m.id) = (l.org_id, l.created_by) AND m.email <> 'demo@example.com'),
    (SELECT string_agg(m.email, ',' ORDER BY m.email) FROM record_assignees a
     JOIN memberships m ON (m.org_id, m.id) = (a.org_id, a.membership_id) WHERE (a.org_id, a.record_id) = (l.org_id, l.id)),
    (SELECT string_agg(g.name, ',' ORDER BY g.name) FROM record_tags r
     JOIN tags g ON (g.org_id, g.id) = (r.org_id, r.tag_id) WHERE (r.org_id, r.record_id) = (l.org_id, l.id)),
    (SELECT string_agg(t.name, ',') FROM record_teams r
     JOIN teams t ON (t.org_id, t.id) = (r.org_id, r.team_id) WHERE (r.org_id, r.record_id) = (l.org_id, l.id)),
    (SELECT string_agg(concat_ws(' ', c.id, c.created_at, c.comment), ',') FROM comments c
     WHERE (c.org_id, c.record_id) = (l.org_id, l.id)),
    (SELECT string_agg(concat_ws(' ', c.id, c.version, c.action, c.created_at, c.fields - 'stage_id'), ',' ORDER BY c.id) FROM changes c
     WHERE (c.org_id, c.record_id) = (l.org_id, l.id)),
    (SELECT concat_ws(': ', p.name, s.name, l.position) FROM lead_stages s JOIN lead_pipelines p ON (p.org_id, p.id) = (s.org_id, s.pipeline_id)
     WHERE (s.org_id, s.id) = (l.org_id, l.stage_id)),
    (SELECT body FROM search_documents s WHERE (s.org_id, s.record_id) = (l.org_id, l.id)))
FROM leads l JOIN organizations o ON o.id = l.org_id ORDER BY o.name, l.id";

/// What became of them, and what an organization has beside them.
const THE_REST: &str = "
SELECT concat_ws('|', o.name, d.id, d.name, d.stage, d.amount, d.closed_on, a.id, a.name, d.position,
    (SELECT string_agg(concat_ws(' ', k.id, k.created_at, k.comment), ',' ORDER BY k.id) FROM comments k
     WHERE (k.org_id, k.record_id) IN ((d.org_id, d.id), (a.org_id, a.id))))
FROM opportunities d JOIN accounts a ON (a.org_id, a.id) = (d.org_id, d.account_id) JOIN organizations o ON o.id = d.org_id
UNION ALL SELECT concat_ws('|', o.name, g.name, g.goal_type, g.target_value, g.currency, g.period_start, g.period_end)
FROM sales_goals g JOIN organizations o ON o.id = g.org_id
UNION ALL SELECT concat_ws('|', o.name, f.file_name, f.content_type, f.sha256) FROM attachments f JOIN organizations o ON o.id = f.org_id
ORDER BY 1";

fn everything(installation: &Installation) -> Vec<String> {
    texts(installation, EVERYTHING)
}

fn texts(installation: &Installation, query: &str) -> Vec<String> {
    installation.superuser().query(query, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn the_same_seed_makes_the_same_leads() {
    let [one, other, different] = [(); 3].map(|()| Installation::new());
    seed(&one, &["--seed", "7"]).is(0, &[]);
    seed(&other, &["--seed", "7"]).is(0, &[]);
    seed(&different, &["--seed", "8"]).is(0, &[]);
    let rows = everything(&one);
    assert_eq!(rows.len(), 600);
    assert_eq!(rows, everything(&other));
    let others = everything(&different);
    assert!(rows.iter().all(|row| !others.contains(row)), "another seed makes other leads");
    let rest = texts(&one, THE_REST);
    assert!(rest.len() > 100, "{}", rest.len());
    assert_eq!(rest, texts(&other, THE_REST));
}

#[test]
fn each_organization_sees_its_own_and_nobody_else_any() {
    let installation = Installation::new();
    seed(&installation, &[])
        .is(0, &["3 members, 4 teams, 12 tags, 2 pipelines, 300 leads", "Sign in as demo@example.com"]);
    let orgs: Vec<uuid::Uuid> = installation
        .superuser()
        .query("SELECT id FROM organizations", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(orgs.len(), 2);
    let mut app = installation.app();
    let counts = "SELECT (SELECT count(*) FROM leads), (SELECT count(*) FROM memberships), (SELECT count(*) FROM changes),
        (SELECT count(*) FROM records WHERE kind = 'lead'), (SELECT count(*) FROM search_records('lead', '{systems}', NULL, NULL, 999))";
    let counted = |row: postgres::Row| (0..5).map(|column| row.get(column)).collect::<Vec<i64>>();
    for org in &orgs {
        let mut transaction = app.transaction().unwrap();
        transaction.batch_execute(&format!("SET LOCAL app.current_org = '{org}'")).unwrap();
        let seen = counted(transaction.query_one(counts, &[]).unwrap());
        assert_eq!((seen[0], seen[1], seen[3]), (300, 3, 300));
        assert!(seen[2] > 300, "creations, changes and comments are logged");
        let named = format!("leads WHERE org_id = '{org}' AND company_name LIKE '%Systems'");
        assert_eq!((seen[4], seen[4] > 0), (installation.count(&named), true));
    }
    assert_eq!(counted(app.query_one(counts, &[]).unwrap()), [0; 5]);
    assert_eq!(
        installation.count(
            "record_assignees a JOIN memberships m ON m.id = a.membership_id AND m.org_id <> a.org_id"
        ),
        0
    );
    assert!(installation.count("record_assignees") > 300);
    let texts = "l.title, first_name, last_name, company_name, email, phone, job_title, city";
    let indexed = format!(
        "leads l JOIN search_documents s ON record_id = id AND s.title = l.title AND title_folded = search_title(l.title)
             AND body = search_body(l.title, concat_ws(' ', {texts}))"
    );
    assert_eq!(installation.count(&indexed), 600);
    installation.run(&["manage-rls", "--test"]).is(0, &["failed: 0"]);
}

#[test]
fn ids_tell_the_time_of_creation() {
    let installation = Installation::new();
    seed(&installation, &["--orgs", "1"]).is(0, &[]);
    // The first 48 bits of a UUIDv7 are milliseconds.
    let millis = "('x' || lpad(left(replace(id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint";
    let at = "round(extract(epoch FROM created_at) * 1000)";
    assert_eq!(installation.count(&format!("leads WHERE {millis} = {at}")), 300);
    assert_eq!(installation.count(&format!("comments WHERE {millis} <> {at}")), 0);
    let in_span = format!("created_at BETWEEN date '{UNTIL}' - interval '2 years 1 day' AND date '{UNTIL}'");
    assert_eq!(installation.count(&format!("leads WHERE {in_span}")), 300);
    let disorder = "(SELECT created_at < lag(created_at) OVER (ORDER BY id) AS back FROM leads) l WHERE back";
    assert_eq!(installation.count(disorder), 0);
}

#[test]
fn what_is_there_is_left_as_it_is() {
    let installation = Installation::new();
    seed(&installation, &["--orgs", "1", "--password", "correct horse battery"])
        .is(0, &["with the password you gave"]);
    let before = everything(&installation);
    let again =
        seed(&installation, &["--orgs", "1"]).is(0, &["is there already, with 300 leads: left as it is"]);
    again.lacks("Sign in");
    assert_eq!(everything(&installation), before);
    // More of them: the account is there, so its password is needed.
    seed(&installation, &[]).is(1, &["there is an account demo@example.com already"]);
    assert_eq!(installation.count("organizations"), 1);
    seed(&installation, &["--password", "correct horse battery"]).is(0, &[]);
    assert_eq!(installation.count("organizations"), 2);
    assert_eq!(installation.count("users"), 5, "one account administers both");
    assert_eq!(installation.count("sessions WHERE ended_at IS NULL"), 0);
}

#[test]
fn the_first_account_can_sign_in() {
    let installation = Installation::new();
    let account = ["--orgs", "1", "--email", "Ann@Example.com", "--password", "correct horse battery"];
    seed(&installation, &account).is(0, &["Sign in as Ann@Example.com"]);
    let settings = IdentitySettings {
        tokens: TokenSettings::new("0123456789abcdef0123456789abcdef", "test"),
        frontend_url: String::new(),
        platform_admin_domains: Vec::new(),
    };
    let identity = Identity::new(installation.database.db.clone(), settings).unwrap();
    let member: String = installation
        .superuser()
        .query_one("SELECT email FROM users WHERE email <> 'Ann@Example.com' LIMIT 1", &[])
        .unwrap()
        .get(0);
    for (email, role) in [("ann@example.com", "ADMIN"), (&member, "USER")] {
        let body = json!({"email": email, "password": "correct horse battery"});
        let login: Login = body::parse(body.as_object().unwrap().clone()).unwrap();
        let signed_in = block_on(identity.login(&Client::default(), login)).unwrap().signed_in().unwrap();
        assert_eq!(signed_in.organizations[0].role, role);
    }
}

#[test]
fn what_can_not_be_is_refused() {
    let installation = Installation::new();
    seed(&installation, &["--password", "short"]).is(1, &["password: ", "8 characters"]);
    seed(&installation, &["--email", "nobody"]).is(1, &["email: "]);
    installation.run(&["seed", "--until", "2999-01-01"]).is(1, &["in the future"]);
    installation.run(&["seed", "--orgs", "0"]).is(2, &["--orgs"]);
    assert_eq!(installation.count("organizations"), 0);
    let installation = installation.in_production();
    seed(&installation, &[]).is(1, &["ENV_TYPE is prod"]);
    let installation = Installation::new().with("DATABASE_OWNER_URL", "");
    seed(&installation, &[]).is(1, &["set DATABASE_OWNER_URL"]);
}
