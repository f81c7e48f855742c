use std::collections::BTreeSet;
use std::sync::Arc;

use crm_core::{Caller, Error, FieldCode, Grant, Grants, OrgId, OrgInfo, Principal, Scope};

use super::*;

/// The grants of a role written `leads: all view add, tasks: own view`.
fn grants(text: &str) -> Grants {
    let grant = |text: &str| {
        let (module, rest) = text.split_once(':').unwrap();
        let mut words = rest.split_whitespace();
        let scope = Scope::from_word(words.next().unwrap()).unwrap();
        (module.trim().to_owned(), Grant { scope, actions: words.map(str::to_owned).collect() })
    };
    text.split(',').filter(|part| !part.is_empty()).map(grant).collect()
}

fn member(grants: Grants) -> Principal {
    Principal::User { is_superuser: false, in_tenant: true, grants: Some(Arc::new(grants)) }
}

fn superuser() -> Principal {
    Principal::User { is_superuser: true, in_tenant: true, grants: None }
}

fn outside(is_superuser: bool) -> Principal {
    Principal::User { is_superuser, in_tenant: false, grants: Some(Arc::new(grants("leads: all view"))) }
}

/// What a backend says to a permission and to a module.
fn verdicts(backend: &dyn Backend, principal: &Principal) -> [Verdict; 2] {
    [backend.has_perm(principal, "leads.view_lead"), backend.has_module_perms(principal, "leads")]
}

/// A backend of one opinion.
struct Always(Verdict);

impl Backend for Always {
    fn has_perm(&self, _: &Principal, _: &str) -> Verdict {
        self.0
    }
    fn has_module_perms(&self, _: &Principal, _: &str) -> Verdict {
        self.0
    }
}

/// A backend that must not be asked.
struct NeverAsked;

impl Backend for NeverAsked {
    fn has_perm(&self, _: &Principal, perm: &str) -> Verdict {
        panic!("asked for {perm:?}")
    }
    fn has_module_perms(&self, _: &Principal, module: &str) -> Verdict {
        panic!("asked for {module:?}")
    }
}

const YES: Verdict = Verdict::Allow(Scope::All);
const OWN: Verdict = Verdict::Allow(Scope::Own);
const NO: Verdict = Verdict::Deny;
const PASS: Verdict = Verdict::Abstain;

#[test]
fn a_permission_has_exactly_two_parts_and_its_action_ends_at_the_first_underscore() {
    for (text, want) in [
        ("products.add_product", Some(("products", "add"))),
        ("products.add", Some(("products", "add"))),
        ("user_roles.change_user_role", Some(("user_roles", "change"))),
        ("leads.import__x", Some(("leads", "import"))),
        ("leads._lead", Some(("leads", ""))),
        ("", None),
        (".", None),
        ("leads", None),
        ("view_lead", None),
        ("leads.", None),
        (".view_lead", None),
        ("leads.view_lead.", None),
        ("leads.view.lead", None),
        ("leads..view_lead", None),
    ] {
        let got = Permission::parse(text).map(|p| (p.module, p.action));
        assert_eq!(got, want, "{text:?}");
    }
}

#[test]
fn the_first_backend_that_does_not_abstain_decides() {
    for (chain, want) in [
        ([YES, NO], Some(Scope::All)),
        ([NO, YES], None),
        ([PASS, OWN], Some(Scope::Own)),
        ([OWN, YES], Some(Scope::Own)),
        ([PASS, NO], None),
    ] {
        let [first, second] = chain.map(Always);
        let backends: [&dyn Backend; 2] = [&first, &second];
        let judge = Chain::new(&backends);
        assert_eq!(judge.scope_of(&Principal::Anonymous, "leads.view_lead"), want, "{chain:?}");
        assert_eq!(judge.has_perm(&Principal::Anonymous, "leads.view_lead"), want.is_some(), "{chain:?}");
        assert_eq!(judge.has_module_perms(&Principal::Anonymous, "leads"), want.is_some(), "{chain:?}");
    }
}

#[test]
fn when_all_backends_abstain_the_answer_is_no() {
    for backends in [&[] as &[&dyn Backend], &[&Always(PASS), &Always(PASS)]] {
        let judge = Chain::new(backends);
        assert_eq!(judge.scope_of(&Principal::System, "leads.view_lead"), None);
        assert!(!judge.has_module_perms(&Principal::System, "leads"));
    }
}

#[test]
fn a_malformed_permission_is_denied_to_everybody_before_any_backend_is_asked() {
    let backends: [&dyn Backend; 1] = [&NeverAsked];
    for perm in ["", "leads", "leads.", ".view_lead", "leads.view.lead"] {
        assert_eq!(Chain::new(&backends).scope_of(&superuser(), perm), None, "{perm:?}");
        for principal in [Principal::System, superuser(), Principal::PlatformAdmin { is_superuser: true }] {
            assert!(!has_perm(&principal, perm), "{perm:?} {principal:?}");
        }
    }
}

#[test]
fn the_program_itself_may_do_everything() {
    assert_eq!(verdicts(&SystemBackend, &Principal::System), [YES, YES]);
    assert_eq!(scope_of(&Principal::System, "leads.delete_lead"), Some(Scope::All));
    assert!(has_module_perms(&Principal::System, "leads"));
}

#[test]
fn the_system_backend_judges_nobody_else() {
    for other in [Principal::Anonymous, superuser(), Principal::PlatformAdmin { is_superuser: true }] {
        assert_eq!(verdicts(&SystemBackend, &other), [PASS, PASS], "{other:?}");
    }
}

#[test]
fn whoever_is_not_signed_in_has_nothing() {
    assert_eq!(verdicts(&TenantRoleBackend, &Principal::Anonymous), [NO, NO]);
    assert!(!has_perm(&Principal::Anonymous, "leads.view_lead"));
    assert!(!has_module_perms(&Principal::Anonymous, "leads"));
}

#[test]
fn a_platform_administrator_is_judged_by_their_superuser_flag_alone() {
    for (is_superuser, verdict) in [(true, YES), (false, NO)] {
        let admin = Principal::PlatformAdmin { is_superuser };
        assert_eq!(verdicts(&TenantRoleBackend, &admin), [PASS, PASS]);
        assert_eq!(verdicts(&PlatformBackend, &admin), [verdict, verdict]);
        assert_eq!(scope_of(&admin, "leads.view_lead"), is_superuser.then_some(Scope::All));
        assert_eq!(has_module_perms(&admin, "leads"), is_superuser);
    }
}

#[test]
fn the_platform_backend_judges_nobody_else() {
    for other in [Principal::Anonymous, Principal::System, superuser(), outside(true)] {
        assert_eq!(verdicts(&PlatformBackend, &other), [PASS, PASS], "{other:?}");
    }
}

#[test]
fn a_tenant_superuser_has_everything_inside_their_tenant() {
    assert_eq!(verdicts(&TenantRoleBackend, &superuser()), [YES, YES]);
    assert_eq!(scope_of(&superuser(), "org.change_org"), Some(Scope::All));
    let scoped = Principal::User {
        is_superuser: true,
        in_tenant: true,
        grants: Some(Arc::new(grants("leads: own view"))),
    };
    assert_eq!(scope_of(&scoped, "leads.view_lead"), Some(Scope::All));
    assert!(has_module_perms(&scoped, "tasks"));
}

#[test]
fn a_tenant_superuser_has_nothing_outside_a_tenant() {
    assert_eq!(verdicts(&TenantRoleBackend, &outside(true)), [NO, NO]);
    assert!(!has_perm(&outside(true), "leads.view_lead"));
}

#[test]
fn a_tenant_user_has_no_role_permission_outside_a_tenant() {
    assert_eq!(verdicts(&TenantRoleBackend, &outside(false)), [NO, NO]);
    assert!(!has_perm(&outside(false), "leads.view_lead"));
    assert!(!has_module_perms(&outside(false), "leads"));
}

#[test]
fn a_tenant_user_without_a_role_has_nothing() {
    let roleless = Principal::User { is_superuser: false, in_tenant: true, grants: None };
    assert_eq!(verdicts(&TenantRoleBackend, &roleless), [NO, NO]);
    assert!(!has_perm(&roleless, "leads.view_lead"));
}

#[test]
fn a_role_allows_the_actions_it_lists_for_a_module_on_the_records_of_its_scope() {
    let who = member(grants("leads: own view change, tasks: all add"));
    for (perm, want) in [
        ("leads.view_lead", Some(Scope::Own)),
        ("leads.view", Some(Scope::Own)),
        ("leads.change_lead_status", Some(Scope::Own)),
        ("tasks.add_task", Some(Scope::All)),
        ("leads.add_lead", None),
        ("leads.views_lead", None),
        ("leads.vie", None),
        ("leads.VIEW_lead", None),
        ("leads._view", None),
        ("tasks.view_task", None),
        ("cases.view_case", None),
        ("lead.view_lead", None),
    ] {
        assert_eq!(scope_of(&who, perm), want, "{perm}");
        assert_eq!(has_perm(&who, perm), want.is_some(), "{perm}");
    }
}

#[test]
fn a_module_is_open_exactly_when_the_role_lists_an_action_for_it() {
    let who = member(grants("leads: own view, tasks: all"));
    for (module, want) in [("leads", true), ("tasks", false), ("cases", false), ("", false)] {
        assert_eq!(has_module_perms(&who, module), want, "{module}");
    }
}

#[test]
fn requiring_a_permission_gives_its_scope_or_a_refusal_that_names_it() {
    let org = OrgInfo {
        id: OrgId::generate(),
        name: "Acme".into(),
        currency: "EUR".into(),
        timezone: "UTC".parse().unwrap(),
    };
    let caller = Caller { principal: member(grants("leads: own view")), ..Caller::system(org) };
    assert_eq!(caller.require("leads.view_lead").unwrap(), Scope::Own);
    let refused = caller.require("leads.add_lead").unwrap_err();
    assert!(matches!(refused, Error::Forbidden(_)));
    assert_eq!(refused.to_string(), "this needs the permission leads.add_lead");
}

const ROLES: [&str; 6] = ["ADMIN", "USER", "OWNER", "MANAGER", "FLORIST", "COURIER"];

/// What each role may do: v = view, a = add, c = change, d = delete; `own` where it is not on all records.
#[rustfmt::skip]
const TABLE: &[(&str, [&str; 6])] = &[
    //                 ADMIN   USER        OWNER   MANAGER FLORIST COURIER
    ("leads",         ["vacd", "vacd own", "",     "",     "",     ""]),
    ("accounts",      ["vacd", "vacd own", "",     "",     "",     ""]),
    ("contacts",      ["vacd", "vacd own", "",     "",     "",     ""]),
    ("opportunities", ["vacd", "vacd own", "",     "",     "",     ""]),
    ("cases",         ["vacd", "vacd own", "",     "",     "",     ""]),
    ("tasks",         ["vacd", "vacd own", "",     "",     "",     ""]),
    ("boards",        ["vacd", "vacd own", "",     "",     "",     ""]),
    ("invoices",      ["vacd", "vacd own", "",     "",     "",     ""]),
    ("events",        ["vacd", "vacd own", "",     "",     "",     ""]),
    ("planner",       ["vacd", "vacd own", "",     "",     "",     ""]),
    ("emails",        ["vacd", "vacd own", "",     "",     "",     ""]),
    ("marketing",     ["vacd", "vacd own", "",     "",     "",     ""]),
    ("documents",     ["vacd", "vacd own", "",     "",     "",     ""]),
    ("teams",         ["vacd", "v",        "",     "",     "",     ""]),
    ("tags",          ["vacd", "v",        "",     "",     "",     ""]),
    ("pipelines",     ["vacd", "v",        "",     "",     "",     ""]),
    ("goals",         ["vacd", "v own",    "",     "",     "",     ""]),
    ("solutions",     ["vacd", "vacd own", "",     "",     "",     ""]),
    ("service_settings", ["vacd", "v",     "",     "",     "",     ""]),
    ("products",      ["vacd", "v",        "vacd", "vacd", "v",    ""]),
    ("inventory",     ["vacd", "",         "vacd", "vacd", "vc",   ""]),
    ("orders",        ["vacd", "",         "vacd", "vacd", "vc",   "vc"]),
    ("clients",       ["vacd", "",         "vacd", "vacd", "",     ""]),
    ("suppliers",     ["vacd", "",         "vacd", "vac",  "",     ""]),
    ("user_roles",    ["vacd", "",         "vacd", "",     "",     ""]),
    ("payments",      ["vacd", "",         "vacd", "v",    "",     ""]),
    ("users",         ["vacd", "",         "",     "",     "",     ""]),
    ("roles",         ["vacd", "",         "",     "",     "",     ""]),
    ("org",           ["vacd", "",         "",     "",     "",     ""]),
    ("webhooks",      ["vacd", "",         "",     "",     "",     ""]),
    ("custom_fields", ["vacd", "",         "",     "",     "",     ""]),
    ("mail",          ["vacd", "",         "",     "",     "",     ""]),
    ("audit",         ["vacd", "",         "",     "",     "",     ""]),
    ("web_forms",     ["vacd", "",         "",     "",     "",     ""]),
    ("imports",       ["vacd", "",         "",     "",     "",     ""]),
];

#[test]
fn every_builtin_role_allows_what_the_table_says_and_no_more() {
    assert_eq!(BuiltinRole::WORDS, ROLES);
    for (column, word) in ROLES.iter().enumerate() {
        let grants = BuiltinRole::from_word(word).unwrap().grants();
        let granted = TABLE.iter().filter(|(_, cells)| !cells[column].is_empty()).count();
        assert_eq!(grants.len(), granted, "{word} grants a module that is not in the table");
        let who = member(grants.clone());
        for (module, cells) in TABLE {
            let (letters, scope) = match cells[column].split_once(" own") {
                Some((letters, _)) => (letters, Scope::Own),
                None => (cells[column], Scope::All),
            };
            for action in ["view", "add", "change", "delete", "export"] {
                let want = letters.contains(&action[..1]).then_some(scope);
                assert_eq!(
                    scope_of(&who, &format!("{module}.{action}_thing")),
                    want,
                    "{word} {module} {action}"
                );
            }
            let listed = grants.get(*module).map_or(0, |grant| grant.actions.len());
            assert_eq!(listed, letters.len(), "{word} {module}");
            assert_eq!(has_module_perms(&who, module), !letters.is_empty(), "{word} {module}");
        }
    }
}

#[test]
fn only_admin_is_a_superuser() {
    for word in ROLES {
        assert_eq!(BuiltinRole::from_word(word).unwrap().is_superuser(), word == "ADMIN", "{word}");
    }
}

#[test]
fn the_module_list_is_the_table_s_without_repetition() {
    let names: Vec<_> = MODULES.iter().map(|module| module.name).collect();
    assert_eq!(names, TABLE.iter().map(|(module, _)| *module).collect::<Vec<_>>());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    assert_eq!(ACTIONS, ["view", "add", "change", "delete"]);
}

#[test]
fn the_builtin_roles_obey_the_rules_for_custom_ones() {
    for word in ROLES {
        assert_eq!(validate_grants(&BuiltinRole::from_word(word).unwrap().grants()), Ok(()), "{word}");
    }
}

/// Field, code and message of the faults of `text`.
fn faults(text: &str) -> Vec<(String, FieldCode, String)> {
    let found = validate_grants(&grants(text)).err().unwrap_or_default();
    found.into_iter().map(|fault| (fault.field, fault.code, fault.message)).collect()
}

fn fault(field: &str, code: FieldCode, message: &str) -> (String, FieldCode, String) {
    (field.into(), code, message.into())
}

#[test]
fn a_custom_role_may_grant_known_actions_in_known_modules() {
    for text in ["", "leads: own view", "leads: all delete add, orders: own view, boards: own change"] {
        assert_eq!(faults(text), [], "{text}");
    }
}

#[test]
fn an_unknown_module_is_refused_with_the_nearest_name() {
    let code = FieldCode::NotAChoice;
    let near = fault("grants.laeds", code, "there is no module laeds; did you mean leads?");
    assert_eq!(faults("laeds: own view"), [near]);
    assert_eq!(
        faults("warehouse9: all view"),
        [fault("grants.warehouse9", code, "there is no module warehouse9")]
    );
}

#[test]
fn an_unknown_action_is_refused() {
    let message = r#""edit" is not one of view, add, change, delete"#;
    assert_eq!(
        faults("leads: own view edit"),
        [fault("grants.leads.actions.1", FieldCode::NotAChoice, message)]
    );
}

#[test]
fn a_grant_without_actions_is_refused() {
    let message = "must name at least one of view, add, change, delete";
    assert_eq!(faults("leads: own"), [fault("grants.leads.actions", FieldCode::Required, message)]);
}

#[test]
fn an_action_named_twice_is_refused() {
    let want = fault("grants.leads.actions.2", FieldCode::InvalidValue, "view is named twice");
    assert_eq!(faults("leads: own view add view"), [want]);
}

#[test]
fn administrative_modules_are_granted_only_on_all_records() {
    for module in
        ["users", "roles", "org", "webhooks", "custom_fields", "mail", "audit", "web_forms", "imports"]
    {
        let message = format!("{module} can only be granted with the scope all");
        let want = fault(&format!("grants.{module}.scope"), FieldCode::NotAllowed, &message);
        assert_eq!(faults(&format!("{module}: own view")), [want]);
        assert_eq!(faults(&format!("{module}: all view")), []);
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let fields: Vec<_> =
        faults("laeds: own edit, org: own, tasks: own").into_iter().map(|(f, ..)| f).collect();
    let want = [
        "grants.laeds",
        "grants.laeds.actions.0",
        "grants.org.scope",
        "grants.org.actions",
        "grants.tasks.actions",
    ];
    assert_eq!(fields, want);
}
