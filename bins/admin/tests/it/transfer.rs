//! Files into records and records into files.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use calamine::{Data, Reader as _, Xlsx, open_workbook};
use nix::pty::{Winsize, openpty};

use crate::support::{Answer, Installation};

const ADMIN: &str = "demo@example.com";

/// What a client writes of a lead, as far as the demonstration has it.
const FIELDS: &str = "title,salutation,first_name,last_name,email,phone,job_title,website,company_name,status,source,industry,rating,\
    opportunity_amount,currency,probability,close_date,address_line,city,state,postcode,country,next_follow_up,description";

/// Those that go from one organization to another, told apart by their addresses.
const LISTED: &str = "status = 'assigned' AND email IS NOT NULL";

/// An installation with an organization that has leads, and one that has none.
struct Two {
    installation: Installation,
    full: String,
    empty: String,
}

impl Two {
    fn new() -> Self {
        let installation = Installation::new();
        for (seed, leads) in [("1", "300"), ("2", "0")] {
            let seed = [
                "seed",
                "--seed",
                seed,
                "--leads",
                leads,
                "--until",
                "2026-11-01",
                "--orgs",
                "1",
                "--users",
                "3",
            ];
            installation.run(&[&seed[..], &["--password", "correct horse battery"]].concat()).is(0, &[]);
        }
        let names = "SELECT name FROM organizations o ORDER BY (SELECT count(*) FROM leads l WHERE l.org_id = o.id) DESC";
        let names: Vec<String> =
            installation.superuser().query(names, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        let [full, empty] = names.try_into().unwrap();
        Self { installation, full, empty }
    }

    fn export(&self, org: &str, rest: &[&str]) -> Answer {
        self.installation.run(&[&["export", "leads", "--org", org, "--as", ADMIN], rest].concat())
    }

    fn import(&self, org: &str, file: &str, rest: &[&str]) -> Answer {
        self.installation.run(&[&["import", "leads", file, "--org", org, "--as", ADMIN], rest].concat())
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.installation.data_dir.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.installation.data_dir.path().join(name)).unwrap()
    }

    /// How many leads an organization has of which something is true.
    fn leads(&self, org: &str, condition: &str) -> i64 {
        let org = format!("(SELECT id FROM organizations WHERE name = '{org}')");
        self.installation.count(&format!("leads WHERE org_id = {org} AND {condition}"))
    }

    /// All that an import could leave behind: records, imports, files and their blobs.
    fn left(&self) -> [i64; 5] {
        let [records, imports, files, jobs] =
            ["records", "imports", "attachments", "jobs"].map(|table| self.installation.count(table));
        let folders = fs::read_dir(self.installation.data_dir.path().join("files")).unwrap();
        let blobs = folders.map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count() as i64).sum();
        [records, imports, files, jobs, blobs]
    }
}

fn table(text: &str) -> Vec<Vec<String>> {
    let mut csv = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    csv.records().map(|line| line.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn a_list_leaves_as_a_file_and_comes_into_another_organization_as_it_was() {
    let two = Two::new();
    let fields = format!("{FIELDS},tags");
    let filters = ["status=assigned", "email__isnull=false", "ordering=created_at"];
    let list = [&filters.map(|filter| ["--filter", filter]).concat()[..], &["--fields", &fields]].concat();
    let wanted = two.leads(&two.full, LISTED);
    let rows = format!("{wanted} rows");
    two.export(&two.full, &[&list[..], &["--output", "leads.csv"]].concat()).is(0, &[&rows]);
    let text = two.read("leads.csv");
    let lines = table(&text);
    assert_eq!((lines[0].join(","), lines.len() as i64), (fields.clone(), wanted + 1));
    let mode = fs::metadata(two.installation.data_dir.path().join("leads.csv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "addresses are for whoever asked for them");
    let piped = two.export(&two.full, &list).is(0, &[]);
    assert_eq!((piped.said, piped.complained.as_str()), (text, ""), "the same, and nothing else");

    two.export(&two.full, &[&list[..], &["--output", "leads.xlsx"]].concat()).is(0, &[&rows]);
    let path = two.installation.data_dir.path().join("leads.xlsx");
    let sheet = open_workbook::<Xlsx<_>, _>(path).unwrap().worksheet_range("leads").unwrap();
    assert_eq!(sheet.height(), lines.len());
    for (line, row) in lines.iter().zip(sheet.rows()) {
        for (cell, shown) in line.iter().zip(row) {
            match shown {
                Data::Empty => assert_eq!(cell, ""),
                Data::Float(number) => assert_eq!(cell.parse::<f64>().unwrap(), *number),
                shown => assert_eq!(cell.strip_prefix('\'').unwrap_or(cell), shown.to_string()),
            }
        }
    }

    let made = format!("is done: {wanted} made, 0 changed, 0 left out, 0 refused");
    let imported = two.import(&two.empty, "leads.csv", &[]).is(0, &[&made]);
    assert_eq!(imported.complained, "");
    let of = |org: &str| {
        let org = format!("(SELECT id FROM organizations WHERE name = '{org}')");
        format!("SELECT {FIELDS} FROM leads WHERE org_id = {org} AND {LISTED}")
    };
    for (one, other) in [(&two.full, &two.empty), (&two.empty, &two.full)] {
        assert_eq!(
            two.installation.count(&format!("({} EXCEPT {}) x", of(one), of(other))),
            0,
            "{one} - {other}"
        );
    }
    let tags = "record_tags r JOIN leads l ON (l.org_id, l.id) = (r.org_id, r.record_id) JOIN organizations o ON o.id = l.org_id";
    let tagged = |org: &str| {
        two.installation.count(&format!(
            "{tags} WHERE o.name = '{org}' AND l.id IN (SELECT id FROM leads WHERE {LISTED})"
        ))
    };
    assert_eq!((tagged(&two.empty), tagged(&two.empty) > 50), (tagged(&two.full), true));
    // Summed, found, and told of like those that people enter.
    two.installation.run(&["search", "rebuild"]).is(0, &[&format!("lead: {wanted} records, 0 repaired")]);
    let sum = "tallies t JOIN organizations o ON o.id = t.org_id, generate_series(1, t.count) WHERE bucket LIKE 'assigned|%'";
    assert_eq!(two.installation.count(&format!("{sum} AND o.name = '{}'", two.empty)), wanted);

    let refused = format!("{wanted} rows were refused, so nothing was imported");
    two.import(&two.empty, "leads.csv", &[]).is(1, &[&refused, "is failed: 0 made", "row 1: email: "]);
    let left_out = format!("is done: 0 made, 0 changed, {wanted} left out, 0 refused");
    two.import(&two.empty, "leads.csv", &["--duplicates", "skip"]).is(0, &[&left_out]);
    assert_eq!(two.leads(&two.empty, "true"), wanted);
}

#[test]
fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    let two = Two::new();
    let mut text = String::from("Title;E-Mail;Fax;Amount\n");
    for n in 0..30 {
        text.push_str(&format!("lead {n};lead{n}@example.com;1;1.250,50\n"));
    }
    two.write("good.csv", &text);
    for n in 0..12 {
        text.push_str(&format!("bad {n};no address;1;1\n"));
    }
    two.write("bad.csv", &text);
    let before = two.left();
    let columns = ["Title -> title", "E-Mail -> email", "Fax -> (left out)", "Amount -> opportunity_amount"];
    two.import(&two.empty, "good.csv", &["--dry-run"])
        .is(0, &columns)
        .is(0, &["30 rows, 30 judged: 30 to be made, 0 to be changed, 0 to be left out, 0 to be refused"]);
    two.import(&two.empty, "bad.csv", &["--dry-run"])
        .is(
            1,
            &["row 31: email: ", "row 40: email: ", "and 2 rows more", "30 to be made", "12 to be refused"],
        )
        .lacks("row 41");
    two.import(&two.empty, "bad.csv", &["--dry-run", "--errors", "x.csv"]).is(2, &["--errors"]);
    assert_eq!(two.left(), before);
    assert_eq!(two.leads(&two.empty, "true"), 0);
}

#[test]
fn rows_that_are_refused_are_told_and_kept_in_a_file() {
    let two = Two::new();
    let mut text = String::from("title,email,note\n");
    for n in 0..20 {
        text.push_str(&format!("good {n},good{n}@example.com,\n"));
    }
    text.push_str("twice,GOOD1@example.com,=1+1\n");
    for n in 0..600 {
        text.push_str(&format!("bad {n},no address,x\n"));
    }
    two.write("leads.csv", &text);
    let mapping = ["--mapping", "{\"note\": null}"];
    let run = |rest: &[&str]| two.import(&two.empty, "leads.csv", &[&mapping[..], rest].concat());

    run(&[])
        .is(
            1,
            &["row 21: email: ", "row 30: email: ", "and 591 rows more: --errors FILE", "is failed: 0 made"],
        )
        .lacks("row 31");
    let folder_is_missing =
        run(&["--errors", "missing/errors.csv"]).is(1, &["can't write missing/errors.csv"]);
    folder_is_missing.lacks("import ");
    assert_eq!(two.installation.count("imports"), 1, "what can't be written is told before anything is done");
    run(&["--errors", "errors.csv"]).is(
        1,
        &[
            "601 rows were refused, so nothing was imported",
            "601 rows with what is wrong with them are in errors.csv",
        ],
    );
    assert_eq!(two.leads(&two.empty, "true"), 0, "all or nothing");
    let errors = table(&two.read("errors.csv"));
    assert_eq!(
        (errors.len(), &errors[0]),
        (602, &["row", "field", "message", "title", "email", "note"].map(str::to_owned).to_vec())
    );
    assert_eq!(
        (errors[1][0].as_str(), errors[1][5].as_str()),
        ("21", "'=1+1"),
        "no spreadsheet calculates with it"
    );
    assert_eq!(
        (errors[601][0].as_str(), errors[601][1].as_str(), errors[601][3].as_str()),
        ("621", "email", "bad 599")
    );

    fs::remove_file(two.installation.data_dir.path().join("errors.csv")).unwrap();
    let skipping = ["--mode", "skip_bad", "--errors", "errors.csv"];
    run(&skipping).is(1, &["is done: 20 made, 0 changed, 0 left out, 601 refused"]);
    assert_eq!((two.leads(&two.empty, "true"), table(&two.read("errors.csv")).len()), (20, 602));

    // Where nothing is refused there is no file.
    two.write("leads.csv", "title,email\none more,more@example.com\n");
    two.import(&two.empty, "leads.csv", &["--errors", "none.csv"]).is(0, &["1 made"]);
    let names = fs::read_dir(two.installation.data_dir.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["errors.csv", "files", "leads.csv"]);
}

#[test]
fn an_import_that_can_not_begin_says_why_and_leaves_nothing() {
    let two = Two::new();
    two.write("leads.csv", "title,email\none,one@example.com\n");
    two.write("fax.csv", "fax,telex\n1,2\n");
    two.write("header.csv", "title,email\n");
    two.write("empty.csv", "");
    two.write("book.csv", "PK\u{3}\u{4}");
    fs::create_dir(two.installation.data_dir.path().join("folder")).unwrap();
    let user: String = two
        .installation
        .superuser()
        .query_one("SELECT m.email FROM memberships m JOIN organizations o ON o.id = m.org_id WHERE o.name = $1 AND m.email <> $2 LIMIT 1", &[&two.empty, &ADMIN])
        .unwrap()
        .get(0);
    let org = two.empty.as_str();
    let before = two.left();
    for (arguments, code, pieces) in [
        (["leeds", "leads.csv", org, ADMIN], 1, ["there is no module leeds; did you mean leads?"].as_slice()),
        (["tags", "leads.csv", org, ADMIN], 1, &["there is no module tags"]),
        (["leads", "nowhere.csv", org, ADMIN], 1, &["can't read nowhere.csv", "No such file"]),
        (["leads", "folder", org, ADMIN], 1, &["can't read folder: it is no file"]),
        (["leads", "empty.csv", org, ADMIN], 1, &["file: the file has no header"]),
        (["leads", "header.csv", org, ADMIN], 1, &["file: the file has no rows"]),
        (["leads", "fax.csv", org, ADMIN], 1, &["file: no column of the file goes into a field"]),
        (
            ["leads", "book.csv", org, ADMIN],
            1,
            &["this is a workbook and no table of text: save it as CSV first"],
        ),
        (["leads", "leads.csv", "Nobody Ltd", ADMIN], 1, &["there is no organization \"Nobody Ltd\""]),
        (
            ["leads", "leads.csv", "0190b5a0-0000-7000-8000-000000000000", ADMIN],
            1,
            &["there is no organization \"0190b5a0"],
        ),
        (["leads", "leads.csv", org, "eve@example.com"], 1, &["eve@example.com is no active member"]),
        (["leads", "leads.csv", org, &user], 1, &["this needs the permission imports.add_import"]),
    ] {
        let [module, file, org, member] = arguments;
        let arguments = ["import", module, file, "--org", org, "--as", member];
        for dry_run in [[].as_slice(), &["--dry-run"]] {
            let answer = two.installation.run(&[&arguments[..], dry_run].concat()).is(code, pieces);
            assert_eq!(answer.said, "", "{arguments:?}");
        }
    }
    for wrong in [["--mode", "some"], ["--duplicates", "merge"], ["--date-format", "us"], ["--decimal", ";"]]
    {
        two.import(org, "leads.csv", &wrong).is(2, &[wrong[0]]);
    }
    for (wrong, piece) in [
        (["--delimiter", "ab"], "delimiter: must be one ASCII character"),
        (["--mapping", "x"], "mapping: "),
        (["--mapping", "{\"title\": \"titel\"}"], "titel"),
    ] {
        two.import(org, "leads.csv", &wrong).is(1, &[piece]);
    }
    assert_eq!(two.left(), before);
    two.installation.run(&["import", "leads", "leads.csv"]).is(2, &["--org", "--as"]);
}

#[test]
fn an_export_that_can_not_be_leaves_the_file_that_is_there() {
    let two = Two::new();
    two.write("there.csv", "what was there\n");
    let org = two.full.as_str();
    for (arguments, pieces) in [
        (
            ["leeds", "Nobody Ltd", ADMIN, "status=closed"],
            ["there is no module leeds; did you mean leads?"].as_slice(),
        ),
        (["leads", "Nobody Ltd", ADMIN, "status=closed"], &["there is no organization \"Nobody Ltd\""]),
        (["leads", org, "eve@example.com", "status=closed"], &["eve@example.com is no active member"]),
        (["leads", org, ADMIN, "stauts=closed"], &["stauts"]),
        (["leads", org, ADMIN, "status"], &["\"status\" is not NAME=VALUE"]),
        (["leads", org, ADMIN, "limit=3"], &["limit: ", "takes no limit"]),
        (["leads", org, ADMIN, "ordering=nothing"], &["ordering: "]),
    ] {
        let [module, org, member, filter] = arguments;
        for output in ["there.csv", "new.csv", "new.xlsx"] {
            let arguments =
                ["export", module, "--org", org, "--as", member, "--filter", filter, "--output", output];
            two.installation.run(&arguments).is(1, pieces);
        }
    }
    two.export(org, &["--fields", "titel", "--output", "there.csv"])
        .is(1, &["there is no field titel here; did you mean title?"]);
    two.export(org, &["--format", "xlsx"]).is(1, &["a workbook needs --output"]);
    two.export(org, &["--format", "pdf"]).is(2, &["one of csv, xlsx"]);
    two.export(org, &["--output", "missing/leads.csv"]).is(1, &["can't write missing/leads.csv"]);
    two.export(org, &["--output", "files"]).is(1, &["can't write files"]);
    assert_eq!(two.read("there.csv"), "what was there\n");
    let left = fs::read_dir(two.installation.data_dir.path()).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["files", "there.csv"]);
    // And takes its place once it is whole; a list of nothing is one too.
    two.export(org, &["--fields", "title", "--filter", "search=nobody at all", "--output", "there.csv"])
        .is(0, &["0 rows"]);
    assert_eq!(two.read("there.csv"), "title\r\n");
}

#[test]
fn a_member_exports_what_they_may_see() {
    let two = Two::new();
    let member = "SELECT m.id::text, m.email FROM memberships m JOIN organizations o ON o.id = m.org_id WHERE o.name = $1 AND m.email <> $2";
    let row = two.installation.superuser().query(member, &[&two.full, &ADMIN]).unwrap().remove(0);
    let (id, email): (String, String) = (row.get(0), row.get(1));
    let arguments = [
        "export",
        "leads",
        "--org",
        &two.full,
        "--as",
        &email,
        "--fields",
        "id",
        "--filter",
        "status__isnull=false",
    ];
    let seen = table(&two.installation.run(&arguments).is(0, &[]).said).len() as i64 - 1;
    let theirs = format!(
        "(created_by = '{id}' OR EXISTS (SELECT FROM record_assignees k WHERE k.record_id = leads.id AND k.membership_id = '{id}')
          OR EXISTS (SELECT FROM record_teams k JOIN team_members p ON (p.org_id, p.team_id) = (k.org_id, k.team_id)
             WHERE k.record_id = leads.id AND p.membership_id = '{id}'))"
    );
    assert_eq!(seen, two.leads(&two.full, &theirs));
    assert!(seen > 50 && seen < two.leads(&two.full, "true"), "{seen}");
}

/// Runs the program with a terminal for its complaints and its progress: what was said, and what the terminal shows.
fn on_a_terminal(two: &Two, arguments: &[&str]) -> (String, String) {
    let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admin"));
    command
        .args(arguments)
        .env_clear()
        .env("TERM", "xterm")
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CRM_DATA_DIR", two.installation.data_dir.path())
        .env("DATABASE_URL", &two.installation.database.app_url)
        .current_dir(two.installation.data_dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(terminal.slave));
    let child = command.spawn().unwrap();
    // The last one that writes to the terminal is then the child.
    drop(command);
    let screen = std::thread::spawn(move || {
        let (mut shown, mut part) = (Vec::new(), [0; 4096]);
        let mut master = fs::File::from(terminal.master);
        // A terminal that nobody writes to any more ends in an error.
        while let Ok(read @ 1..) = master.read(&mut part) {
            shown.extend(part.get(..read).unwrap());
        }
        String::from_utf8_lossy(&shown).into_owned()
    });
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    (String::from_utf8(output.stdout).unwrap(), screen.join().unwrap())
}

#[test]
fn progress_is_shown_on_a_terminal_and_never_among_what_is_said() {
    let two = Two::new();
    let export = [
        "export",
        "leads",
        "--org",
        &two.full,
        "--as",
        ADMIN,
        "--fields",
        "title,email",
        "--filter",
        "status=assigned",
    ];
    let plain = two.installation.run(&export).is(0, &[]);
    assert_eq!(plain.complained, "");
    let (said, shown) = on_a_terminal(&two, &export);
    assert_eq!(said, plain.said);
    assert!(shown.contains(" rows, "), "{shown:?}");
    two.write("leads.csv", &said);
    let (said, shown) =
        on_a_terminal(&two, &["import", "leads", "leads.csv", "--org", &two.empty, "--as", ADMIN]);
    assert!(said.starts_with("import ") && said.lines().count() == 1, "{said:?}");
    assert!(shown.contains(" rows, "), "{shown:?}");
}
