use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "a secret of more than 32 bytes for tests";
const ISSUER: &str = "https://crm.example";

fn tokens() -> Tokens {
    Tokens::new(&TokenSettings::new(SECRET, ISSUER)).unwrap()
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn bearer() -> Bearer {
    Bearer {
        user: UserId::generate(),
        session: SessionId::generate(),
        org: Some(OrgId::generate()),
        kind: TokenKind::Member,
    }
}

/// Claims that are right in every respect, with some replaced; null takes one out.
fn claims(changes: Value) -> Value {
    let at = now().timestamp();
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "typ": "access", "kind": "member", "iat": at, "nbf": at, "exp": at + 60,
        "sub": UserId::generate(), "sid": SessionId::generate(), "jti": Uuid::now_v7(), "org": OrgId::generate(),
    });
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
            _ => claims[key] = value.clone(),
        }
    }
    claims
}

/// A token signed with HS256, whatever its header says.
fn signed(header: &Value, claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn hs256(changes: Value) -> String {
    signed(&json!({"alg": "HS256", "typ": "JWT"}), &claims(changes), SECRET)
}

#[test]
fn a_token_says_what_it_was_made_for() {
    let (tokens, bearer) = (tokens(), bearer());
    let read = tokens.verify_access(&tokens.access(&bearer, now()).unwrap(), now()).unwrap();
    assert_eq!(
        (read.user, read.session, read.org, read.kind),
        (bearer.user, bearer.session, bearer.org, bearer.kind)
    );
    let jti = Uuid::now_v7();
    let read = tokens.verify_refresh(&tokens.refresh(&bearer, jti, now()).unwrap(), now()).unwrap();
    assert_eq!((read.jti, read.bearer), (jti, bearer));
}

#[test]
fn only_a_member_with_an_organization_is_a_caller_in_one() {
    let claims = |org, kind| AccessClaims {
        user: UserId::generate(),
        session: SessionId::generate(),
        org,
        kind,
        at: now(),
    };
    let org = OrgId::generate();
    assert_eq!(claims(Some(org), TokenKind::Member).in_org().unwrap().org, org);
    for (org, kind) in
        [(None, TokenKind::Member), (None, TokenKind::Platform), (Some(org), TokenKind::Platform)]
    {
        assert_eq!(claims(org, kind).in_org().unwrap_err().code(), Code::NoOrganization);
    }
}

#[test]
fn tokens_last_as_long_as_the_settings_say() {
    let (tokens, bearer) = (tokens(), bearer());
    let (access, refresh) =
        (tokens.access(&bearer, now()).unwrap(), tokens.refresh(&bearer, Uuid::now_v7(), now()).unwrap());
    let (day, second) = (TimeDelta::days(1), TimeDelta::seconds(1));
    assert!(tokens.verify_access(&access, now() + day - second).is_ok());
    assert!(tokens.verify_access(&access, now() + day).is_err());
    assert!(tokens.verify_refresh(&refresh, now() + day * 365 - second).is_ok());
    assert!(tokens.verify_refresh(&refresh, now() + day * 365).is_err());
}

#[test]
fn a_clock_may_be_a_few_seconds_ahead_and_no_more() {
    let tokens = tokens();
    for (ahead, accepted) in [(0, true), (5, true), (6, false)] {
        let at = now().timestamp() + ahead;
        for claim in ["iat", "nbf"] {
            let got = tokens.verify_access(&hs256(json!({claim: at})), now());
            assert_eq!(got.is_ok(), accepted, "{claim} {ahead} seconds ahead");
        }
    }
}

#[test]
fn hostile_tokens_are_refused() {
    let (tokens, bearer, at) = (tokens(), bearer(), now().timestamp());
    assert!(tokens.verify_access(&hs256(json!({})), now()).is_ok(), "the corpus starts from a good token");
    let good = tokens.access(&bearer, now()).unwrap();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let with_header = |header: Value| signed(&header, &claims(json!({})), SECRET);
    let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let hs384 = jsonwebtoken::encode(
        &Header::new(Algorithm::HS384),
        &claims(json!({})),
        &EncodingKey::from_secret(SECRET.as_bytes()),
    );

    let corpus = [
        ("alg none", format!("{}.{payload}.", encoded(json!({"alg": "none", "typ": "JWT"})))),
        ("alg none, signed", with_header(json!({"alg": "none"}))),
        ("alg None", with_header(json!({"alg": "None"}))),
        ("alg missing", with_header(json!({"typ": "JWT"}))),
        ("alg null", with_header(json!({"alg": null}))),
        ("alg HS384, rightly signed", hs384.unwrap()),
        ("alg HS512 over an HS256 signature", with_header(json!({"alg": "HS512"}))),
        ("alg RS256 over an HS256 signature", with_header(json!({"alg": "RS256"}))),
        ("alg ES256 over an HS256 signature", with_header(json!({"alg": "ES256"}))),
        ("header not an object", with_header(json!("HS256"))),
        (
            "other secret",
            signed(&json!({"alg": "HS256"}), &claims(json!({})), "another secret of more than 32 bytes"),
        ),
        ("empty secret", signed(&json!({"alg": "HS256"}), &claims(json!({})), "")),
        ("other issuer", hs256(json!({"iss": "https://evil.example"}))),
        ("no issuer", hs256(json!({"iss": null}))),
        ("issuers", hs256(json!({"iss": [ISSUER, "https://evil.example"]}))),
        ("other audience", hs256(json!({"aud": "another"}))),
        ("no audience", hs256(json!({"aud": null}))),
        ("audiences", hs256(json!({"aud": [AUDIENCE, "another"]}))),
        ("other use", hs256(json!({"typ": "invite"}))),
        ("no use", hs256(json!({"typ": null}))),
        ("refresh token", tokens.refresh(&bearer, Uuid::now_v7(), now()).unwrap()),
        ("expired now", hs256(json!({"exp": at}))),
        ("expired long ago", hs256(json!({"exp": 0}))),
        ("expired before the epoch", hs256(json!({"exp": -1}))),
        ("no expiry", hs256(json!({"exp": null}))),
        ("expiry in words", hs256(json!({"exp": "tomorrow"}))),
        ("expiry beyond all numbers", hs256(json!({"exp": 1e300}))),
        ("not valid yet", hs256(json!({"nbf": at + 3600}))),
        ("no beginning", hs256(json!({"nbf": null}))),
        ("made in the future", hs256(json!({"iat": at + 3600}))),
        ("no time of making", hs256(json!({"iat": null}))),
        ("no subject", hs256(json!({"sub": null}))),
        ("subject not an id", hs256(json!({"sub": "admin"}))),
        ("no session", hs256(json!({"sid": null}))),
        ("organization not an id", hs256(json!({"org": "*"}))),
        ("unknown kind", hs256(json!({"kind": "root"}))),
        ("no kind", hs256(json!({"kind": null}))),
        ("huge", hs256(json!({"more": "x".repeat(MAX_LENGTH)}))),
        ("huge garbage", "a.".repeat(1_000_000)),
        ("no signature", format!("{message}.")),
        ("no signature and no dot", message.to_owned()),
        ("truncated signature", good[..good.len() - 1].to_owned()),
        ("longer signature", format!("{good}AAAA")),
        ("another payload", format!("{header}.{}.{signature}", encoded(claims(json!({}))))),
        ("parts exchanged", format!("{payload}.{header}.{signature}")),
        ("a fourth part", format!("{good}.{signature}")),
        ("a part in front", format!("{header}.{good}")),
        ("padded", format!("{good}=")),
        ("with spaces", format!(" {good} ")),
        ("with a newline", format!("{good}\n")),
        ("with the scheme", format!("Bearer {good}")),
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("more dots", "....".to_owned()),
        ("no header", format!(".{payload}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("payload not JSON", format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("not json"))),
        ("payload not UTF-8", format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode([0xff, 0xfe]))),
        ("garbage", "\u{0}\u{1}💥%00".to_owned()),
        ("null", "null".to_owned()),
    ];
    for (what, token) in corpus {
        let refused = tokens.verify_access(&token, now()).expect_err(what);
        assert_eq!(refused.code(), Code::Unauthenticated, "{what}");
        if what != "refresh token" {
            assert!(tokens.verify_refresh(&token, now()).is_err(), "{what}, as a refresh token");
        }
    }
    assert!(tokens.verify_refresh(&good, now()).is_err(), "an access token refreshes nothing");
}

#[test]
fn every_bit_of_the_signature_counts() {
    let tokens = tokens();
    let good = tokens.access(&bearer(), now()).unwrap();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for bit in 0..signature.len() * 8 {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(flipped));
        assert!(tokens.verify_access(&token, now()).is_err(), "bit {bit}");
    }
}

#[test]
fn a_short_secret_signs_nothing() {
    assert!(Tokens::new(&TokenSettings::new("x".repeat(31), ISSUER)).is_err());
    assert!(Tokens::new(&TokenSettings::new("x".repeat(32), ISSUER)).is_ok());
}

#[test]
fn a_secret_is_not_shown() {
    let settings = TokenSettings::new(SECRET, ISSUER);
    for shown in [format!("{settings:?}"), format!("{:?}", Tokens::new(&settings).unwrap())] {
        assert!(!shown.contains("secret of more"), "{shown}");
    }
}
