use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{NEEDED, Programs, find_programs, first_complete, versions};
use crate::Error;

/// A folder with programs that only know their version.
fn installation(dir: &Path, version: &str) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    for program in NEEDED {
        let file = dir.join(program);
        fs::write(&file, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    dir.canonicalize().unwrap()
}

#[test]
fn not_found_says_where_it_looked_and_what_to_install() {
    let folders = ["/nowhere/one", "/nowhere/two"].map(PathBuf::from);
    let error = first_complete(folders.into_iter(), |_| true).unwrap_err();
    assert!(matches!(&error, Error::ProgramsNotFound { looked_in } if looked_in.len() == 2));
    let text = error.to_string();
    for part in [
        "/nowhere/one",
        "/nowhere/two",
        "apt install postgresql",
        "dnf install",
        "pacman",
        "apk add",
        "brew install",
        "Windows",
        "PG_BIN_DIR",
        "DATABASE_URL",
    ] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[test]
fn a_link_to_one_program_leads_to_all() {
    let tmp = tempfile::tempdir().unwrap();
    let real = installation(&tmp.path().join("real/bin"), "15.1");
    let path_dir = tmp.path().join("path");
    fs::create_dir(&path_dir).unwrap();
    symlink(real.join("initdb"), path_dir.join("initdb")).unwrap();
    assert_eq!(first_complete([path_dir].into_iter(), |_| true).unwrap(), real);
}

#[test]
fn an_incomplete_folder_is_passed_over() {
    let tmp = tempfile::tempdir().unwrap();
    let broken = installation(&tmp.path().join("broken"), "15.1");
    fs::set_permissions(broken.join("pg_ctl"), fs::Permissions::from_mode(0o644)).unwrap();
    let whole = installation(&tmp.path().join("whole"), "15.1");
    assert_eq!(first_complete([broken, whole.clone()].into_iter(), |_| true).unwrap(), whole);
}

#[test]
fn newest_version_first() {
    let tmp = tempfile::tempdir().unwrap();
    for name in ["pgsql-9", "pgsql-16", "pgsql-15", "pgsql-old", "other-17"] {
        fs::create_dir(tmp.path().join(name)).unwrap();
    }
    let found = versions(tmp.path(), "pgsql-", "bin");
    assert_eq!(found, ["pgsql-16/bin", "pgsql-15/bin", "pgsql-9/bin"].map(|dir| tmp.path().join(dir)));
}

#[test]
fn an_existing_cluster_gets_programs_of_its_major_version_or_an_error() {
    let tmp = tempfile::tempdir().unwrap();
    let installed =
        ["17.2 (Debian 17.2-1)", "16.4"].map(|version| installation(&tmp.path().join(version), version));
    let find = |made_by| Programs::find_among(installed.clone().into_iter(), made_by, Path::new("/data"));

    assert_eq!(find(None).unwrap().version, "17.2 (Debian 17.2-1)");
    assert_eq!(find(Some("16")).unwrap().bin_dir, installed[1]);
    let error = find(Some("15")).unwrap_err();
    assert!(
        matches!(&error, Error::OtherMajor { cluster, found, .. } if cluster == "15" && found.len() == 2)
    );
    assert!(
        error.to_string().contains("made by PostgreSQL 15, but only 17.2 (Debian 17.2-1), 16.4"),
        "{error}"
    );
}

#[test]
fn this_machine_has_programs() {
    let bin_dir = find_programs().unwrap();
    assert!(NEEDED.iter().all(|program| bin_dir.join(program).is_file()), "{}", bin_dir.display());
}
