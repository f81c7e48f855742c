use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use crm_core::Code;
use crm_identity::{
    BeginOidc, Client, FinishOidc, Identity, OidcBegun, OidcProvider, OidcSettings, SignIn, SignedIn,
};
use crm_schema::security_events;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::support::{PASSWORD, Person, World, address, body, client, faults, refusal};

const CLIENT_ID: &str = "amphora";
const CLIENT_SECRET: &str = "what only the two know";
const PAGE: &str = "https://app.example/oidc/callback";

/// A key that tokens are signed with.
#[derive(Clone)]
struct Key {
    id: String,
    private: Vec<u8>,
    public: Vec<u8>,
}

impl Key {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        Self { id: Uuid::new_v4().to_string(), private: private.as_ref().to_vec(), public }
    }

    /// As it stands in the provider's key set: an uncompressed point is a 4 and two coordinates.
    fn shown(&self) -> Value {
        let [x, y] = [1..33, 33..65].map(|part| URL_SAFE_NO_PAD.encode(&self.public[part]));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y})
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.private)).unwrap()
    }
}

/// A provider of identities, and this installation as a client of it.
struct Issuer {
    server: MockServer,
    name: String,
    identity: Identity,
    keys: Arc<Mutex<Vec<Key>>>,
    token: Arc<Mutex<ResponseTemplate>>,
}

fn settings(name: &str, issuer: &str, timeout: Duration) -> OidcSettings {
    let provider = OidcProvider {
        name: name.to_owned(),
        label: "Example Ltd".into(),
        issuer: issuer.to_owned(),
        client_id: CLIENT_ID.into(),
        client_secret: CLIENT_SECRET.into(),
    };
    OidcSettings { providers: vec![provider], timeout }
}

impl Issuer {
    async fn new(world: &World) -> Self {
        let server = MockServer::start().await;
        let uri = server.uri();
        let discovery = json!({
            "issuer": uri,
            "authorization_endpoint": format!("{uri}/authorize"),
            "token_endpoint": format!("{uri}/token"),
            "jwks_uri": format!("{uri}/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        });
        let keys = Arc::new(Mutex::new(vec![Key::new()]));
        let token = Arc::new(Mutex::new(ResponseTemplate::new(500)));
        let serve = |at: &str| Mock::given(method("GET")).and(path(at.to_owned()));
        serve("/.well-known/openid-configuration")
            .respond_with(ResponseTemplate::new(200).set_body_json(discovery))
            .mount(&server)
            .await;
        let shown = keys.clone();
        serve("/keys")
            .respond_with(move |_: &Request| {
                let keys: Vec<_> = shown.lock().unwrap().iter().map(Key::shown).collect();
                ResponseTemplate::new(200).set_body_json(json!({"keys": keys}))
            })
            .mount(&server)
            .await;
        let answer = token.clone();
        Mock::given(method("POST"))
            .and(path("/token"))
            .respond_with(move |_: &Request| answer.lock().unwrap().clone())
            .mount(&server)
            .await;
        let name = format!("p{}", Uuid::now_v7().simple());
        let settings = settings(&name, &uri, Duration::from_secs(20));
        let identity = world.identity.clone().with_oidc(settings).unwrap();
        Self { server, name, identity, keys, token }
    }

    fn key(&self) -> Key {
        self.keys.lock().unwrap()[0].clone()
    }

    async fn begin(&self) -> Begun {
        let input: BeginOidc = body(json!({"provider": self.name, "redirect_uri": PAGE})).unwrap();
        Begun::new(self.identity.begin_oidc(&client(), input).await.unwrap())
    }

    /// What a good provider says of somebody.
    fn claims(&self, world: &World, begun: &Begun, email: &str) -> Value {
        let now = world.db.clock().now().timestamp();
        json!({
            "iss": self.server.uri(), "aud": CLIENT_ID, "sub": format!("subject of {}", email.to_lowercase()),
            "iat": now, "exp": now + 300, "nonce": begun.query("nonce"),
            "email": email, "email_verified": true, "name": "Ann of the provider",
        })
    }

    fn answers(&self, id_token: &str) {
        let body = json!({"access_token": "unused", "token_type": "Bearer", "id_token": id_token});
        self.answers_with(ResponseTemplate::new(200).set_body_json(body));
    }

    fn answers_with(&self, answer: ResponseTemplate) {
        *self.token.lock().unwrap() = answer;
    }

    async fn finish(&self, begun: &Begun) -> crm_core::Result<SignIn> {
        let input: FinishOidc = body(json!({"code": "the code", "state": begun.begun.state})).unwrap();
        self.identity.finish_oidc(&client(), input).await
    }

    /// A whole sign-in with claims that differ from the good ones.
    async fn try_with(
        &self,
        world: &World,
        email: &str,
        differ: impl FnOnce(&mut Value),
    ) -> crm_core::Result<SignedIn> {
        let begun = self.begin().await;
        let mut claims = self.claims(world, &begun, email);
        differ(&mut claims);
        self.answers(&self.key().sign(&claims));
        self.finish(&begun).await?.signed_in()
    }

    async fn sign_in(&self, world: &World, email: &str) -> crm_core::Result<SignedIn> {
        self.try_with(world, email, |_| ()).await
    }

    /// Why sign-ins by this provider were refused, oldest first.
    async fn refusals(&self, world: &World) -> Vec<String> {
        let rows = security_events::table.filter(security_events::event.eq("oidc_refused"));
        let rows = rows.order_by(security_events::id).select(security_events::detail);
        let load =
            async |p: &mut crm_core::PlatformTx| rows.load(p.conn()?).await.map_err(crm_core::Error::from);
        let rows: Vec<Value> = world.db.platform(load).await.unwrap();
        let here = rows.into_iter().filter(|detail| detail["provider"] == self.name.as_str());
        here.map(|detail| detail["reason"].as_str().unwrap().to_owned()).collect()
    }
}

/// A sign-in that was begun.
struct Begun {
    begun: OidcBegun,
    query: Vec<(String, String)>,
}

impl Begun {
    fn new(begun: OidcBegun) -> Self {
        let query = begun.authorization_url.split_once('?').unwrap().1;
        Self { query: serde_urlencoded::from_str(query).unwrap(), begun }
    }

    fn query(&self, name: &str) -> &str {
        self.query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

#[tokio::test]
async fn a_provider_is_asked_with_state_nonce_and_a_challenge_that_the_token_request_answers() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let providers = serde_json::to_value(issuer.identity.oidc_providers()).unwrap();
    assert_eq!(providers, json!({"providers": [{"name": issuer.name, "label": "Example Ltd"}]}));
    let begun = issuer.begin().await;
    assert!(begun.begun.authorization_url.starts_with(&format!("{}/authorize?", issuer.server.uri())));
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", PAGE),
        ("scope", "openid email profile"),
        ("code_challenge_method", "S256"),
        ("state", &begun.begun.state),
    ] {
        assert_eq!(begun.query(name), value, "{name}");
    }
    assert!(begun.query("state").len() >= 40 && begun.query("nonce").len() >= 40);
    let another = issuer.begin().await;
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(begun.query(name), another.query(name), "{name}");
    }

    let email = address("example.com");
    issuer.answers(&issuer.key().sign(&issuer.claims(world, &begun, &email)));
    let signed_in = issuer.finish(&begun).await.unwrap().signed_in().unwrap();
    assert_eq!(
        (signed_in.user.email.as_str(), signed_in.user.name.as_str()),
        (email.as_str(), "Ann of the provider")
    );
    assert!(signed_in.user.email_verified_at.is_some() && signed_in.current_org.is_none());
    let requests = issuer.server.received_requests().await.unwrap();
    let asked = requests.iter().find(|request| request.url.path() == "/token").unwrap();
    let form: Vec<(String, String)> = serde_urlencoded::from_bytes(&asked.body).unwrap();
    let sent = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    assert_eq!(
        (sent("grant_type"), sent("code"), sent("redirect_uri")),
        ("authorization_code", "the code", PAGE)
    );
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(sent("code_verifier")));
    assert_eq!(challenge, begun.query("code_challenge"));
    let authorization = asked.headers.get("authorization").unwrap().to_str().unwrap();
    assert!(authorization.starts_with("Basic "), "the client proves itself");
    let person = world.somebody(email.clone(), &signed_in);
    let events: Vec<_> = world.events(&person).await.into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, ["registered", "oidc_linked", "login_success"]);
    assert_eq!(world.mailed(&email).await, ["welcome"]);
}

#[tokio::test]
async fn an_identity_opens_one_account_however_its_address_is_written() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let person = world.founder().await;
    world.verify(&person).await;
    let first = issuer.sign_in(world, &person.email.to_uppercase()).await.unwrap();
    assert_eq!(first.user.id, person.claims.user);
    assert_eq!(first.current_org.map(|org| org.id), person.claims.org, "the only one");
    assert!(world.login(&person.email, PASSWORD).await.is_ok(), "a proven account keeps its password");
    assert!(world.identity.me(&person.claims).await.is_ok());
    let sub = json!(format!("subject of {}", person.email.to_lowercase()));
    let moved = issuer.try_with(world, &address("example.com"), |claims| claims["sub"] = sub).await.unwrap();
    assert_eq!(moved.user.id, person.claims.user, "the identity counts, not its present address");
    let begun: Vec<_> = world.events(&person).await;
    assert_eq!(begun.iter().filter(|(event, _)| event == "oidc_linked").count(), 1);
}

#[tokio::test]
async fn what_proves_nothing_is_refused() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let person = world.person().await;
    world.verify(&person).await;
    type Differ = fn(&mut Value);
    let cases: [(Differ, Code, &str); 12] = [
        (|claims| claims["nonce"] = json!("another"), Code::InvalidCredentials, "wrong_nonce"),
        (
            |claims| drop(claims.as_object_mut().unwrap().remove("nonce")),
            Code::InvalidCredentials,
            "wrong_nonce",
        ),
        (|claims| claims["aud"] = json!("another"), Code::InvalidCredentials, "wrong_audience"),
        (|claims| claims["aud"] = json!([CLIENT_ID, "another"]), Code::InvalidCredentials, "wrong_audience"),
        (|claims| claims["iss"] = json!("https://evil.example"), Code::InvalidCredentials, "wrong_issuer"),
        (|claims| claims["exp"] = claims["iat"].clone(), Code::InvalidCredentials, "expired"),
        (
            |claims| claims["iat"] = claims["exp"].as_i64().map(|at| at + 60).into(),
            Code::InvalidCredentials,
            "expired",
        ),
        (|claims| claims["email_verified"] = json!(false), Code::Forbidden, "unverified_email"),
        (|claims| claims["email_verified"] = json!("false"), Code::Forbidden, "unverified_email"),
        (
            |claims| drop(claims.as_object_mut().unwrap().remove("email_verified")),
            Code::Forbidden,
            "unverified_email",
        ),
        (|claims| drop(claims.as_object_mut().unwrap().remove("email")), Code::Forbidden, "no_email"),
        (|claims| claims["email"] = json!("not an address"), Code::Forbidden, "no_email"),
    ];
    for (differ, code, reason) in cases {
        assert_eq!(refusal(issuer.try_with(world, &person.email, differ).await), code, "{reason}");
        assert_eq!(issuer.refusals(world).await.pop().unwrap(), reason);
    }
    let count = world.events(&person).await.iter().filter(|(event, _)| event == "oidc_linked").count();
    assert_eq!(count, 0);
    let text = issuer.try_with(world, &person.email, |claims| claims["email_verified"] = json!("true")).await;
    assert_eq!(text.unwrap().user.id, person.claims.user, "some write it as text");
}

#[tokio::test]
async fn only_the_provider_can_sign() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let email = address("example.com");
    let forged: [&dyn Fn(&Value) -> String; 4] = [
        &|claims| Key { id: issuer.key().id, ..Key::new() }.sign(claims),
        &|claims| Key::new().sign(claims),
        &|claims| {
            let key = EncodingKey::from_secret(CLIENT_SECRET.as_bytes());
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
        },
        &|claims| {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            format!("{}.{}.", part(&json!({"alg": "none"})), part(claims))
        },
    ];
    for forge in forged {
        let begun = issuer.begin().await;
        issuer.answers(&forge(&issuer.claims(world, &begun, &email)));
        assert_eq!(refusal(issuer.finish(&begun).await), Code::InvalidCredentials);
    }
    assert_eq!(issuer.refusals(world).await, ["wrong_signature"; 4]);
}

#[tokio::test]
async fn a_new_key_of_the_provider_is_found() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let email = address("example.com");
    assert!(issuer.sign_in(world, &email).await.is_ok());
    issuer.keys.lock().unwrap().insert(0, Key::new());
    assert!(issuer.sign_in(world, &email).await.is_ok());
    let requests = issuer.server.received_requests().await.unwrap();
    let count = |at: &str| requests.iter().filter(|request| request.url.path() == at).count();
    assert_eq!((count("/keys"), count("/token")), (2, 2), "what the provider says of itself is kept");
}

#[tokio::test]
async fn a_state_serves_once_and_for_ten_minutes() {
    let world = World::fresh().await;
    let issuer = Issuer::new(&world).await;
    let email = address("example.com");
    let begun = issuer.begin().await;
    issuer.answers(&issuer.key().sign(&issuer.claims(&world, &begun, &email)));
    assert!(issuer.finish(&begun).await.is_ok());
    assert_eq!(refusal(issuer.finish(&begun).await), Code::TokenUnusable);
    let late = issuer.begin().await;
    world.db.clock().advance(TimeDelta::minutes(10));
    issuer.answers(&issuer.key().sign(&issuer.claims(&world, &late, &email)));
    assert_eq!(refusal(issuer.finish(&late).await), Code::TokenUnusable);
    let foreign: FinishOidc = body(json!({"code": "c", "state": "never given out"})).unwrap();
    assert_eq!(refusal(issuer.identity.finish_oidc(&client(), foreign).await), Code::TokenUnusable);
    assert_eq!(issuer.identity.sweep().await.unwrap(), 1, "the one that was begun and not finished");
}

#[tokio::test]
async fn people_come_back_to_the_front_end_and_nowhere_else() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let begin = async |provider: &str, redirect_uri: &str| {
        let input: BeginOidc = body(json!({"provider": provider, "redirect_uri": redirect_uri}))?;
        issuer.identity.begin_oidc(&client(), input).await.map(drop)
    };
    for elsewhere in [
        "https://evil.example/",
        "https://app.example.evil.example/",
        "https://app.example@evil.example/",
        "http://app.example/oidc",
        "https://app.example/#fragment",
        "/oidc",
    ] {
        assert_eq!(faults(begin(&issuer.name, elsewhere).await).1, ["redirect_uri"], "{elsewhere}");
    }
    assert!(begin(&issuer.name, "https://app.example/").await.is_ok());
    assert_eq!(faults(begin("nobody", PAGE).await).1, ["provider"]);
    assert!(world.identity.oidc_providers().providers.is_empty());
}

#[tokio::test]
async fn a_provider_in_trouble_is_no_fault_of_ours() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let begun = issuer.begin().await;
    issuer.answers_with(ResponseTemplate::new(502));
    assert_eq!(refusal(issuer.finish(&begun).await), Code::Unavailable);
    for (answer, reason) in [
        (ResponseTemplate::new(400).set_body_json(json!({"error": "invalid_grant"})), "code_refused"),
        (ResponseTemplate::new(302).insert_header("location", "https://evil.example/"), "unusable_answer"),
        (ResponseTemplate::new(200).set_body_string("<html>"), "unusable_answer"),
        (
            ResponseTemplate::new(200).set_body_json(json!({"access_token": "a", "token_type": "Bearer"})),
            "no_id_token",
        ),
    ] {
        let begun = issuer.begin().await;
        issuer.answers_with(answer);
        assert_eq!(refusal(issuer.finish(&begun).await), Code::InvalidCredentials, "{reason}");
        assert_eq!(issuer.refusals(world).await.pop().unwrap(), reason);
    }
    let begun = issuer.begin().await;
    issuer.answers_with(ResponseTemplate::new(200).set_body_string("x".repeat(600_000)));
    assert_eq!(refusal(issuer.finish(&begun).await), Code::Unavailable, "nobody reads that much");
}

#[tokio::test]
async fn a_provider_that_is_away_or_slow_is_waited_for_briefly() {
    let world = World::shared().await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let slow = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_delay(Duration::from_secs(60)))
        .mount(&slow)
        .await;
    for issuer in [format!("http://{free}"), slow.uri()] {
        let settings = settings("away", &issuer, Duration::from_millis(300));
        let identity = world.identity.clone().with_oidc(settings).unwrap();
        let input: BeginOidc = body(json!({"provider": "away", "redirect_uri": PAGE})).unwrap();
        let started = Instant::now();
        let refused = identity.begin_oidc(&client(), input).await.map(drop);
        assert_eq!(refusal(refused), Code::Unavailable, "{issuer}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_provider_that_gives_an_address_to_somebody_else_does_not_give_the_account() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let email = address("example.com");
    let first = issuer.sign_in(world, &email).await.unwrap();
    let other = issuer.try_with(world, &email, |claims| claims["sub"] = json!("a successor")).await;
    assert_eq!(refusal(other), Code::Forbidden);
    assert_eq!(issuer.refusals(world).await, ["another_identity"]);
    let another_provider = Issuer::new(world).await;
    assert_eq!(another_provider.sign_in(world, &email).await.unwrap().user.id, first.user.id);
}

#[tokio::test]
async fn an_account_that_somebody_else_made_is_taken_from_them() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let squatter = world.person().await;
    let owner = issuer.sign_in(world, &squatter.email).await.unwrap();
    assert_eq!(owner.user.id, squatter.claims.user);
    assert_eq!(refusal(world.identity.me(&squatter.claims).await), Code::Unauthenticated);
    assert_eq!(refusal(world.login(&squatter.email, PASSWORD).await), Code::InvalidCredentials);
    assert!(world.identity.me(&world.somebody(squatter.email.clone(), &owner).claims).await.is_ok());
}

#[tokio::test]
async fn whoever_is_shut_out_stays_out() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let known = issuer.sign_in(world, &address("example.com")).await.unwrap();
    let known = world.somebody(known.user.email.clone(), &known);
    let unlinked = world.person().await;
    for person in [known, unlinked] {
        world.shut_out(&person).await;
        assert_eq!(refusal(issuer.sign_in(world, &person.email).await), Code::Forbidden);
        assert_eq!(world.last_event(&person).await, ("login_failure".into(), false));
    }
}

#[tokio::test]
async fn of_two_first_sign_ins_at_once_both_find_one_account() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let other = Issuer::new(world).await;
    let email = address("example.com");
    let both = [issuer.sign_in(world, &email), other.sign_in(world, &email)];
    let done = futures_util::future::join_all(both).await;
    let ids: Vec<_> = done.into_iter().map(|done| done.unwrap().user.id).collect();
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn the_second_factor_is_asked_for_here_too() {
    let world = World::shared().await;
    let issuer = Issuer::new(world).await;
    let person = world.person().await;
    world.verify(&person).await;
    protect(world, &person).await;
    assert_eq!(refusal(issuer.sign_in(world, &person.email).await), Code::InvalidCredentials);
    let begun = issuer.begin().await;
    issuer.answers(&issuer.key().sign(&issuer.claims(world, &begun, &person.email)));
    assert!(matches!(issuer.finish(&begun).await.unwrap(), SignIn::SecondFactor(_)));
}

async fn protect(world: &World, person: &Person) {
    let setup = world.identity.set_up_two_factor(&person.claims).await.unwrap();
    let secret = totp_rs::Secret::try_from_base32(&setup.secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let now = world.db.clock().now().timestamp().cast_unsigned();
    let code = body(json!({"code": totp.generate(now).to_string()})).unwrap();
    world.identity.enable_two_factor(&client(), &person.claims, code).await.unwrap();
}

#[tokio::test]
async fn whoever_begins_and_never_finishes_is_slowed_down() {
    let world = World::fresh().await;
    let issuer = Issuer::new(&world).await;
    let somebody = Client { ip: Some("192.0.2.8".parse::<IpAddr>().unwrap()), ..client() };
    let begin = async || {
        let input: BeginOidc = body(json!({"provider": issuer.name, "redirect_uri": PAGE})).unwrap();
        issuer.identity.begin_oidc(&somebody, input).await.map(drop)
    };
    for _ in 0..20 {
        begin().await.unwrap();
    }
    assert_eq!(refusal(begin().await), Code::TooManyRequests);
}
