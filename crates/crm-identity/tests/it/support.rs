//! People and organizations to test with.

use std::time::Duration;

use crm_core::{Clock, Code, Db, DbSettings, MemberId, OrgId, PlatformTx, Result, TenantTx};
use crm_identity::members::Member;
use crm_identity::{
    AcceptInvitation, AccessClaims, Client, Identity, IdentitySettings, Invite, Login, MemberClaims,
    NewPlatformAdmin, Register, SignedIn, SwitchOrg, TokenSettings, VerifyEmail, grant_platform_admin,
    members, orgs,
};
use crm_jobs::Job;
use crm_schema::{account_mails, mails, security_events, users};
use crm_testkit::Database;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const NEW_PASSWORD: &str = "another horse battery";

/// Identity on a database, and a look at what it leaves for other parts of the program.
pub(crate) struct World {
    pub(crate) identity: Identity,
    pub(crate) db: Db,
    owner: Db,
    /// Kept until the test is over.
    _database: Database,
}

impl World {
    /// The one of most tests, which leave its clock alone.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<World> = OnceCell::const_new();
        SHARED.get_or_init(Self::fresh).await
    }

    /// One of its own, for a test that moves the clock.
    pub(crate) async fn fresh() -> Self {
        let database = crm_testkit::fresh_database().await;
        let db = database.db.clone();
        // Reads the rows of every organization.
        let settings =
            DbSettings { url: database.super_url.clone(), pool_size: 2, wait: Duration::from_secs(30) };
        let owner = Db::connect(&settings, Clock::default()).unwrap();
        let settings = IdentitySettings {
            tokens: TokenSettings::new("a secret of more than 32 bytes for tests", "https://crm.example"),
            frontend_url: "https://app.example/".into(),
            platform_admin_domains: vec!["ops.example".into()],
        };
        let identity = Identity::new(db.clone(), settings).unwrap();
        Self { identity, db, owner, _database: database }
    }

    /// Somebody with an account and no organization.
    pub(crate) async fn person(&self) -> Person {
        self.person_at("example.com").await
    }

    /// The same with an address in a domain.
    pub(crate) async fn person_at(&self, domain: &str) -> Person {
        let email = address(domain);
        let signed_in = self.identity.register(&client(), registration(&email)).await.unwrap();
        self.somebody(email, &signed_in)
    }

    pub(crate) fn somebody(&self, email: String, signed_in: &SignedIn) -> Person {
        let claims = self.identity.verify_access(&signed_in.tokens.access_token).unwrap();
        Person { email, claims, refresh_token: signed_in.tokens.refresh_token.clone() }
    }

    /// Follows the link that proves somebody's address.
    pub(crate) async fn verify(&self, person: &Person) {
        let token = self.mailed_token(&person.email).await;
        self.identity.verify_email(&client(), VerifyEmail { token }).await.unwrap();
    }

    /// Shuts an account out everywhere.
    pub(crate) async fn shut_out(&self, person: &Person) {
        let change = diesel::update(users::table.find(person.claims.user)).set(users::is_active.eq(false));
        self.db
            .platform(async |p| change.execute(p.conn()?).await.map_err(crm_core::Error::from))
            .await
            .unwrap();
    }

    /// A platform administrator.
    pub(crate) async fn root(&self) -> Person {
        let root = self.person().await;
        self.verify(&root).await;
        let new =
            NewPlatformAdmin { email: &root.email, password_hash: None, is_superuser: true, by: "test" };
        self.db.platform(async |p| grant_platform_admin(p, new).await).await.unwrap();
        root
    }

    /// Somebody who has founded an organization and works in it.
    pub(crate) async fn founder(&self) -> Person {
        let person = self.person().await;
        self.found(&person).await
    }

    /// The person, working in an organization that they have just founded.
    pub(crate) async fn found(&self, person: &Person) -> Person {
        let org = self.identity.create_org(&client(), &person.claims, new_org("Acme")).await.unwrap();
        self.switched(person, org.id).await
    }

    /// The person, working in another organization of theirs.
    pub(crate) async fn switched(&self, person: &Person, org_id: OrgId) -> Person {
        let switched =
            self.identity.switch_org(&client(), &person.claims, SwitchOrg { org_id }).await.unwrap();
        let claims = self.identity.verify_access(&switched.tokens.access_token).unwrap();
        Person { email: person.email.clone(), claims, refresh_token: switched.tokens.refresh_token }
    }

    /// Invites somebody and answers the invitation with the token they are sent.
    pub(crate) async fn invited(&self, by: &Person, email: &str, role: &str) -> (Member, String) {
        let member = self
            .tenant(by, async |t| self.identity.invite(t, &client(), invite(email, role)).await)
            .await
            .unwrap();
        (member, self.mailed_token(email).await)
    }

    /// Somebody new who has joined the organization of `by` in a role.
    pub(crate) async fn joined(&self, by: &Person, role: &str) -> Person {
        let email = address("example.com");
        let (_, token) = self.invited(by, &email, role).await;
        let signed_in = self.identity.accept_invitation(&client(), None, acceptance(&token)).await.unwrap();
        self.somebody(email, &signed_in)
    }

    /// Runs `work` for the person in the organization of their token.
    pub(crate) async fn tenant<T>(
        &self,
        who: &Person,
        work: impl AsyncFnOnce(&mut TenantTx) -> Result<T>,
    ) -> Result<T> {
        self.db.tenant(&who.caller(), work).await
    }

    /// The membership of a person in the organization of their token.
    pub(crate) async fn membership(&self, who: &Person) -> Member {
        self.tenant(who, async |t| {
            let MemberId(id) = t.actor().unwrap();
            members::find(t, id).await
        })
        .await
        .unwrap()
    }

    /// The settings of the organization of a person's token.
    pub(crate) async fn org(&self, who: &Person) -> orgs::Organization {
        self.tenant(who, async |t| orgs::settings(t).await).await.unwrap()
    }

    /// Template and data of the mails to an address, of organizations and outside, oldest first.
    pub(crate) async fn mails(&self, to: &str) -> Vec<Value> {
        let inside = mails::table.filter(mails::to_address.eq(to));
        let outside = account_mails::table.filter(account_mails::to_address.eq(to));
        let load = async |p: &mut PlatformTx| {
            let columns = (mails::id, mails::template, mails::data);
            let mut found: Vec<(Uuid, String, Value)> = inside.select(columns).load(p.conn()?).await?;
            let columns = (account_mails::id, account_mails::template, account_mails::data);
            found.extend(outside.select(columns).load::<(Uuid, String, Value)>(p.conn()?).await?);
            Ok::<_, crm_core::Error>(found)
        };
        let mut found = self.owner.platform(load).await.unwrap();
        found.sort_by_key(|(id, ..)| *id);
        found.into_iter().map(|(_, template, data)| json!({"template": template, "data": data})).collect()
    }

    /// The templates of the mails to an address, oldest first.
    pub(crate) async fn mailed(&self, to: &str) -> Vec<String> {
        self.mails(to).await.iter().map(|mail| mail["template"].as_str().unwrap().to_owned()).collect()
    }

    /// The token in the link of the latest mail to an address.
    pub(crate) async fn mailed_token(&self, to: &str) -> String {
        let mails = self.mails(to).await;
        let link = mails.last().and_then(|mail| mail.pointer("/data/link")?.as_str()).expect("a link");
        link.split_once("?token=").expect("a token").1.to_owned()
    }

    /// Does the jobs of this crate that concern an address, as a worker would, and answers how many there were.
    pub(crate) async fn work_off(&self, email: &str) -> usize {
        #[expect(
            clippy::disallowed_methods,
            reason = "a worker's own type is loaded by the names of the columns"
        )]
        let query = diesel::sql_query(
            "UPDATE jobs SET state = 'leased', lease = gen_random_uuid(), attempts = attempts + 1 \
             WHERE kind = ANY($1) AND state = 'ready' AND (payload->>'email_normalized' = $2 \
             OR payload->>'user' = (SELECT u.id::text FROM users u WHERE u.email_normalized = $2)) \
             RETURNING id, org_id, kind, payload, attempts, lease",
        );
        let kinds = vec![
            crm_identity::PASSWORD_RESET_REQUESTED,
            crm_identity::SIGN_IN_MAIL_REQUESTED,
            crm_identity::ACCOUNT_CLAIMED,
        ];
        let query = query
            .bind::<diesel::sql_types::Array<diesel::sql_types::Text>, _>(kinds)
            .bind::<diesel::sql_types::Text, _>(email.to_lowercase());
        let jobs: Vec<Job> = self
            .owner
            .platform(async |p| query.load(p.conn()?).await.map_err(crm_core::Error::from))
            .await
            .unwrap();
        for job in &jobs {
            self.identity.handle(job).await.expect("a job of ours").unwrap();
        }
        jobs.len()
    }

    /// What the audit trail says of a person, oldest first.
    pub(crate) async fn events(&self, who: &Person) -> Vec<(String, bool)> {
        let of = security_events::table.filter(security_events::user_id.eq(who.claims.user));
        let columns = (security_events::event, security_events::success);
        let query = of.order_by(security_events::id).select(columns);
        self.db.platform(async |p| query.load(p.conn()?).await.map_err(crm_core::Error::from)).await.unwrap()
    }

    /// The latest of them.
    pub(crate) async fn last_event(&self, who: &Person) -> (String, bool) {
        self.events(who).await.pop().unwrap()
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Result<SignedIn> {
        self.identity.login(&client(), login(email, password, None)).await?.signed_in()
    }
}

/// Somebody signed in.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) email: String,
    pub(crate) claims: AccessClaims,
    pub(crate) refresh_token: String,
}

impl Person {
    pub(crate) fn caller(&self) -> MemberClaims {
        self.claims.in_org().unwrap()
    }
}

pub(crate) fn client() -> Client {
    Client::default()
}

pub(crate) fn address(domain: &str) -> String {
    format!("Ann.{}@{domain}", Uuid::now_v7().simple())
}

pub(crate) fn registration(email: &str) -> Register {
    body(json!({"email": email, "password": PASSWORD, "confirm_password": PASSWORD, "name": "Ann"})).unwrap()
}

pub(crate) fn login(email: &str, password: &str, org_id: Option<OrgId>) -> Login {
    body(json!({"email": email, "password": password, "org_id": org_id})).unwrap()
}

pub(crate) fn invite(email: &str, role: &str) -> Invite {
    body(json!({"email": email, "role": role})).unwrap()
}

pub(crate) fn acceptance(token: &str) -> AcceptInvitation {
    body(json!({"token": token, "name": "Bob", "password": PASSWORD, "confirm_password": PASSWORD})).unwrap()
}

pub(crate) fn new_org(name: &str) -> orgs::NewOrg {
    body(json!({"name": name})).unwrap()
}

/// Reads a body as a request does.
pub(crate) fn body<T: serde::de::DeserializeOwned + validator::Validate>(value: Value) -> Result<T> {
    crm_core::body::parse(value.as_object().expect("an object").clone())
}

/// A merge patch.
pub(crate) fn patch(value: Value) -> crm_records::Edit {
    crm_records::Edit::patch(value.as_object().expect("an object").clone())
}

/// A replacement.
pub(crate) fn put(value: Value) -> crm_records::Edit {
    crm_records::Edit { partial: false, ..patch(value) }
}

/// How something was refused.
#[track_caller]
pub(crate) fn refusal<T>(result: Result<T>) -> Code {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.code(),
    }
}

/// How it was refused, and because of which fields.
#[track_caller]
pub(crate) fn faults<T>(result: Result<T>) -> (Code, Vec<String>) {
    match result {
        Err(crm_core::Error::Fields(code, fields)) => {
            (code, fields.into_iter().map(|fault| fault.field).collect())
        }
        Err(error) => (error.code(), Vec::new()),
        Ok(_) => panic!("it was not refused"),
    }
}
