//! An organization of the demonstration before its leads: the people, the teams, the tags, what it sells, the ways that leads take.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use crm_access::BuiltinRole;
use crm_api::routes::SEARCHABLE;
use crm_core::rules::normalize_email;
use crm_core::{Caller, Db, MemberId, OrgId, OrgInfo, TenantTx, UserId, body};
use crm_identity::members::MEMBERS;
use crm_identity::orgs::NewOrg;
use crm_identity::{
    AccessClaims, Client, Identity, IdentitySettings, RefreshToken, Register, SignIn, SignedIn, TokenPair,
    TokenSettings,
};
use crm_leads::{LeadStage, NewPipeline};
use crm_records::tags::TagFields;
use crm_records::{Base, RecordInput, base_values};
use crm_schema::{leads, memberships, organizations, roles, user_orgs, users};
use crm_search::Searchable;
use crm_teams::TeamFields;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngCore, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::lead::{Board, Office, ascii};
use super::{Wanted, words};
use crate::database::{Database, told};

/// The kinds of record whose words are not loaded with them.
const LOADED: [&str; 3] = ["account", "contact", "opportunity"];

/// Where an organization is at home.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) currency: &'static str,
    pub(crate) country: &'static str,
    pub(crate) timezone: &'static str,
}

/// How many leads the organization of that name has, if it is there.
pub(super) fn existing(database: &Database, name: &str) -> Result<Option<i64>> {
    let org: Option<OrgId> = database.as_app(async |p| {
        let named = organizations::table.filter(organizations::name.eq(name));
        Ok(named.select(organizations::id).first(p.conn()?).await.optional()?)
    })?;
    let Some(id) = org else { return Ok(None) };
    let info = OrgInfo { id, name: name.to_owned(), currency: String::new(), timezone: Default::default() };
    let counted = async |t: &mut TenantTx| {
        let ours = leads::table.filter(leads::org_id.eq(t.org()));
        Ok(ours.count().get_result(t.conn()?).await?)
    };
    let db = database.app()?;
    crate::database::block_on(db.tenant(&Caller::system(info), counted))?.map_err(told).map(Some)
}

/// A person with an account, signed in, who founds organizations.
pub(super) struct Founder {
    db: Db,
    identity: Identity,
    claims: AccessClaims,
    tokens: TokenPair,
    /// The hash that the accounts of the other members share.
    password_hash: String,
}

impl Founder {
    /// Opens an account, or signs in to the one that is there.
    pub(super) async fn enter(db: Db, email: &str, password: &str) -> Result<Self> {
        let identity = Identity::new(db.clone(), own_settings()).map_err(told)?;
        let exists = db
            .platform(async |p| {
                let account = users::table.filter(users::email_normalized.eq(normalize_email(email)));
                diesel::select(diesel::dsl::exists(account))
                    .get_result(p.conn()?)
                    .await
                    .map_err(crm_core::Error::from)
            })
            .await
            .map_err(told)?;
        let SignedIn { tokens, .. } = if exists {
            let login = body::parse(object(json!({"email": email, "password": password}))).map_err(told)?;
            identity
                .login(&Client::default(), login)
                .await
                .and_then(SignIn::signed_in)
                .map_err(told)
                .with_context(|| {
                    format!("there is an account {email} already: give its --password, or another --email")
                })?
        } else {
            let body = json!({"email": email, "password": password, "confirm_password": password});
            let register = body::parse::<Register>(object(body)).map_err(told)?;
            identity.register(&Client::default(), register).await.map_err(told)?
        };
        let claims = identity.verify_access(&tokens.access_token).map_err(told)?;
        let password_hash = crm_identity::hash_password(password.to_owned()).await.map_err(told)?;
        Ok(Self { db, identity, claims, tokens, password_hash })
    }

    /// Founds an organization and fills it with people, teams and tags.
    pub(super) async fn found(&self, wanted: &Wanted) -> Result<(OrgId, Office)> {
        let Wanted { name, place, .. } = wanted;
        let new = NewOrg {
            name: name.clone(),
            currency: Some(place.currency.to_owned()),
            country: Some(place.country.to_owned()),
            timezone: Some(place.timezone.to_owned()),
        };
        let org = self.identity.create_org(&Client::default(), &self.claims, new).await.map_err(told)?;
        let office = self.work(org.id, async |t| self.fill(t, wanted).await).await?;
        Ok((org.id, office))
    }

    /// Works in one transaction of an organization of theirs. Nobody is told: the people are made up, and so are their addresses.
    pub(super) async fn work<T>(
        &self,
        org: OrgId,
        work: impl AsyncFnOnce(&mut TenantTx) -> crm_core::Result<T>,
    ) -> Result<T> {
        let founder = AccessClaims { org: Some(org), ..self.claims }.in_org().map_err(told)?;
        let quietly = self.db.tenant(&founder, async |t| {
            t.keep_quiet();
            work(t).await
        });
        quietly.await.map_err(told)
    }

    async fn fill(&self, t: &mut TenantTx, wanted: &Wanted) -> crm_core::Result<Office> {
        let mut rng = StdRng::seed_from_u64(wanted.seed);
        let role = user_role(t).await?;
        let mut members: Vec<_> = t.actor().into_iter().collect();
        for person in people(&wanted.name, wanted.members.saturating_sub(1), &mut rng) {
            members.push(self.hire(t, &person, role).await?);
        }
        let mut teams = Vec::new();
        for (number, (name, description)) in words::TEAMS.iter().enumerate() {
            let on_it = members.iter().skip(number % words::TEAMS.len()).step_by(2).copied().collect();
            let team = TeamFields { name: (*name).into(), description: (*description).into(), users: on_it };
            teams.push(crm_teams::create(t, team).await?.base.id);
        }
        let mut tags = Vec::new();
        for (name, color) in words::TAGS {
            let tag: TagFields = body::parse(object(json!({"name": name, "color": color})))?;
            tags.push(crm_records::tags::create(t, tag).await?.base.id);
        }
        for (name, sku, category, price) in words::PRODUCTS {
            let product = json!({"name": name, "sku": sku, "category": category, "price": price});
            crm_products::create(t, RecordInput::parse(object(product))?).await?;
        }
        let mut boards = Vec::new();
        for pipeline in words::PIPELINES {
            boards.push(board(t, pipeline, boards.is_empty()).await?);
        }
        let Place { currency, country, .. } = wanted.place;
        let members = members.into_iter().map(Uuid::from).collect();
        Ok(Office { members, teams, tags, boards, currency, country })
    }

    /// Makes somebody a member who was never invited: nobody reads mail to these addresses.
    async fn hire(&self, t: &mut TenantTx, person: &Person, role: Uuid) -> crm_core::Result<MemberId> {
        let (user, base, now) = (UserId::generate(), Base::new(t), t.now());
        let email = (users::email.eq(&person.email), users::email_normalized.eq(&person.email));
        let account = (
            users::id.eq(user),
            email,
            users::password_hash.eq(&self.password_hash),
            users::name.eq(&person.name),
            users::email_verified_at.eq(now),
        );
        diesel::insert_into(users::table).values(account).execute(t.conn()?).await?;
        crm_records::created(t, MEMBERS.kind, &base, None).await?;
        let membership = (
            base_values!(memberships, base),
            memberships::user_id.eq(user),
            memberships::email.eq(&person.email),
            memberships::email_normalized.eq(&person.email),
            memberships::role_id.eq(role),
            memberships::state.eq("active"),
            memberships::date_of_joining.eq(now.date_naive()),
        );
        diesel::insert_into(memberships::table).values(membership).execute(t.conn()?).await?;
        let listed = (user_orgs::user_id.eq(user), user_orgs::org_id.eq(base.org_id));
        diesel::insert_into(user_orgs::table).values(listed).execute(t.conn()?).await?;
        Ok(MemberId(base.id))
    }

    /// Has the search know what was loaded without it.
    pub(super) async fn describe(&self, org: OrgId, wanted: &Wanted) -> Result<()> {
        let Wanted { name, place, .. } = wanted;
        let timezone = place.timezone.parse()?;
        let info = OrgInfo { id: org, name: name.clone(), currency: place.currency.to_owned(), timezone };
        let loaded = |searchable: &&Searchable| LOADED.contains(&searchable.kind());
        for searchable in SEARCHABLE.iter().filter(loaded) {
            let who = Caller::system(info.clone());
            crm_search::rebuild(&self.db, &who, searchable, |_| ()).await.map_err(told)?;
        }
        Ok(())
    }

    /// Signs out.
    pub(super) async fn leave(self) -> Result<()> {
        let token = RefreshToken { refresh_token: self.tokens.refresh_token };
        self.identity.logout(&Client::default(), token).await.map_err(told)
    }
}

/// Tokens that are good within this process alone.
fn own_settings() -> IdentitySettings {
    let mut secret = [0; 32];
    rand::rng().fill_bytes(&mut secret);
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    IdentitySettings {
        tokens: TokenSettings::new(secret, "crm-admin"),
        frontend_url: String::new(),
        platform_admin_domains: Vec::new(),
    }
}

/// Makes a pipeline. A stage that says nothing of a lead's status is for nobody here.
async fn board(
    t: &mut TenantTx,
    &(name, description, stages): &(&str, &str, &[words::Stage]),
    is_default: bool,
) -> crm_core::Result<Board> {
    let new = NewPipeline {
        name: name.into(),
        description: description.into(),
        is_default,
        is_active: true,
        create_default_stages: stages.is_empty(),
    };
    let pipeline = crm_leads::create_pipeline(t, new).await?;
    let mut made = pipeline.stages;
    for (name, color, stage_type, status, win_probability) in stages {
        let stage = json!({"name": name, "color": color, "stage_type": stage_type, "maps_to_status": status,
            "win_probability": win_probability});
        made.push(crm_leads::create_stage(t, pipeline.base.id, body::parse(object(stage))?).await?);
    }
    let of = |stage: &LeadStage| stage.fields.maps_to_status.map(|status| (stage.base.id, status));
    Ok(made.iter().filter_map(of).collect())
}

async fn user_role(t: &mut TenantTx) -> crm_core::Result<Uuid> {
    let role = roles::org_id.eq(t.org()).and(roles::name.eq(BuiltinRole::User.as_str()));
    let builtin = roles::table.filter(role).filter(roles::is_builtin.eq(true));
    Ok(builtin.select(roles::id).first(t.conn()?).await?)
}

struct Person {
    name: String,
    email: String,
}

/// Different people with addresses of the organization's own domain.
fn people(org: &str, number: usize, rng: &mut StdRng) -> Vec<Person> {
    let domain = ascii(org);
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    while all.len() < number {
        let [first, last] = [words::FIRST_NAMES, words::LAST_NAMES]
            .map(|names| names.choose(rng).copied().unwrap_or_default());
        let email = format!("{}.{}@{domain}.example", ascii(first), ascii(last));
        if seen.insert(email.clone()) {
            all.push(Person { name: format!("{first} {last}"), email });
        }
    }
    all
}

/// A JSON object as a body.
pub(super) fn object(value: Value) -> body::Object {
    match value {
        Value::Object(object) => object,
        _ => body::Object::new(),
    }
}
