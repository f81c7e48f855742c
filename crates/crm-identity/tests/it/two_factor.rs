use chrono::TimeDelta;
use crm_core::{Code, OrgId};
use crm_identity::{
    DisableTwoFactor, Factor, ResetPassword, SecondFactorRequired, SignIn, SignedIn, TwoFactor,
    TwoFactorCode, TwoFactorSetup, VerifySecondFactor,
};
use crm_schema::{recovery_codes, totp_factors};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use crate::support::{NEW_PASSWORD, PASSWORD, Person, World, body, client, faults, login, refusal};

/// Somebody's authenticator.
struct Authenticator(Secret);

impl Authenticator {
    fn new(setup: &TwoFactorSetup) -> Self {
        Self(Secret::try_from_base32(&setup.secret).unwrap())
    }

    /// What it shows so many seconds from now.
    fn code(&self, world: &World, seconds: i64) -> String {
        let at = world.db.clock().now() + TimeDelta::seconds(seconds);
        let totp = Builder::new().with_secret(self.0.clone()).build().unwrap();
        totp.generate(at.timestamp().cast_unsigned()).to_string()
    }
}

/// Somebody with a second factor, whose present code is used.
async fn protected(world: &World, person: &Person) -> (Authenticator, Vec<String>) {
    let setup = world.identity.set_up_two_factor(&person.claims).await.unwrap();
    let authenticator = Authenticator::new(&setup);
    let code = code(&authenticator.code(world, 0));
    let codes = world.identity.enable_two_factor(&client(), &person.claims, code).await.unwrap();
    (authenticator, codes.recovery_codes)
}

fn code(code: &str) -> TwoFactorCode {
    body(json!({"code": code})).unwrap()
}

fn off(evidence: Value) -> DisableTwoFactor {
    body(evidence).unwrap()
}

async fn asked(world: &World, email: &str) -> SecondFactorRequired {
    asked_for(world, email, None).await
}

async fn asked_for(world: &World, email: &str, org: Option<OrgId>) -> SecondFactorRequired {
    match world.identity.login(&client(), login(email, PASSWORD, org)).await.unwrap() {
        SignIn::SecondFactor(asked) => asked,
        SignIn::Done(_) => panic!("no second factor was asked for"),
    }
}

fn answer(challenge: &SecondFactorRequired, evidence: Value) -> VerifySecondFactor {
    let mut answer = evidence;
    answer["challenge"] = challenge.challenge.as_str().into();
    body(answer).unwrap()
}

async fn verify(
    world: &World,
    challenge: &SecondFactorRequired,
    evidence: Value,
) -> crm_core::Result<SignedIn> {
    world.identity.verify_second_factor(&client(), answer(challenge, evidence)).await
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_a_code_has_switched_it_on() {
    let world = World::shared().await;
    let person = world.founder().await;
    let status = async || world.identity.two_factor(&person.claims).await.unwrap();
    assert_eq!(status().await, TwoFactor { enabled: false, recovery_codes_left: 0 });
    let setup = world.identity.set_up_two_factor(&person.claims).await.unwrap();
    assert!(setup.otpauth_url.starts_with("otpauth://totp/Amphora:Ann."), "{}", setup.otpauth_url);
    assert!(setup.otpauth_url.contains(&format!("secret={}", setup.secret)));
    assert!(world.login(&person.email, PASSWORD).await.is_ok(), "not asked for yet");
    let authenticator = Authenticator::new(&setup);
    let wrong = world.identity.enable_two_factor(&client(), &person.claims, code("12345")).await;
    assert_eq!(faults(wrong), (Code::ValidationFailed, vec!["code".to_owned()]));
    assert!(!status().await.enabled);
    let codes = code(&authenticator.code(world, 0));
    let codes = world.identity.enable_two_factor(&client(), &person.claims, codes).await.unwrap();
    assert_eq!(codes.recovery_codes.len(), 10);
    assert_eq!(status().await, TwoFactor { enabled: true, recovery_codes_left: 10 });
    assert_eq!(world.last_event(&person).await, ("two_factor_enabled".into(), true));
    assert_eq!(world.mailed(&person.email).await.last().unwrap(), "two_factor_changed");
    assert!(world.identity.me(&person.claims).await.is_ok(), "the session goes on");

    let asked = asked(world, &person.email).await;
    assert_eq!(
        (asked.methods.as_slice(), asked.expires_in),
        (&[Factor::Totp, Factor::RecoveryCode][..], 300)
    );
    assert_eq!(refusal(world.identity.verify_access(&asked.challenge)), Code::Unauthenticated);
    assert_eq!(refusal(world.login(&person.email, PASSWORD).await), Code::InvalidCredentials);
    assert_eq!(refusal(world.login(&person.email, "wrong").await), Code::InvalidCredentials);
    let signed_in = verify(world, &asked, json!({"code": authenticator.code(world, 30)})).await.unwrap();
    assert_eq!(signed_in.user.id, person.claims.user);
    assert_eq!(signed_in.current_org.map(|org| org.id), person.claims.org);
    assert_eq!(world.last_event(&person).await, ("login_success".into(), true));
    let again = verify(world, &asked, json!({"recovery_code": codes.recovery_codes[0]})).await;
    assert_eq!(refusal(again), Code::TokenUnusable, "a challenge is answered once");
    assert_eq!(status().await.recovery_codes_left, 10);
}

#[tokio::test]
async fn a_code_is_taken_once_and_for_a_minute_and_a_half() {
    let world = World::fresh().await;
    let person = world.person().await;
    let (authenticator, _) = protected(&world, &person).await;
    world.db.clock().advance(TimeDelta::minutes(10));
    for (seconds, taken) in
        [(-60, false), (60, false), (-30, true), (-30, false), (0, true), (30, true), (0, false)]
    {
        let asked = asked(&world, &person.email).await;
        let code = authenticator.code(&world, seconds);
        let done = verify(&world, &asked, json!({"code": code})).await;
        assert_eq!(done.is_ok(), taken, "the code of {seconds} seconds from now");
        if !taken {
            assert_eq!(world.last_event(&person).await, ("two_factor_failed".into(), false));
        }
    }
}

#[tokio::test]
async fn of_two_who_use_a_code_at_once_one_gets_in() {
    let world = World::shared().await;
    let person = world.person().await;
    let (authenticator, recovery) = protected(world, &person).await;
    let code = authenticator.code(world, 30);
    let challenges = [asked(world, &person.email).await, asked(world, &person.email).await];
    let both = challenges.iter().map(|asked| verify(world, asked, json!({"code": code})));
    let done = futures_util::future::join_all(both).await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 1);

    let asked = asked(world, &person.email).await;
    let both = recovery.iter().take(2).map(|code| verify(world, &asked, json!({"recovery_code": code})));
    let done = futures_util::future::join_all(both).await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 1, "one challenge");
    let left = world.identity.two_factor(&person.claims).await.unwrap().recovery_codes_left;
    assert_eq!(left, 9, "who came too late keeps the code");
}

#[tokio::test]
async fn a_recovery_code_stands_in_once() {
    let world = World::shared().await;
    let person = world.person().await;
    let (_, recovery) = protected(world, &person).await;
    let typed = recovery[0].to_lowercase().replace('-', " ");
    let asked_once = asked(world, &person.email).await;
    assert!(verify(world, &asked_once, json!({"recovery_code": typed})).await.is_ok());
    assert!(world.events(&person).await.contains(&("recovery_code_used".into(), true)));
    let again = asked(world, &person.email).await;
    let used = verify(world, &again, json!({"recovery_code": recovery[0]})).await;
    assert_eq!(refusal(used), Code::InvalidCredentials);
    assert!(
        verify(world, &again, json!({"recovery_code": recovery[1]})).await.is_ok(),
        "a wrong code costs no challenge"
    );
    assert_eq!(world.identity.two_factor(&person.claims).await.unwrap().recovery_codes_left, 8);
    let stranger = world.person().await;
    protected(world, &stranger).await;
    let foreign = asked(world, &stranger.email).await;
    let code = json!({"recovery_code": recovery[2]});
    assert_eq!(refusal(verify(world, &foreign, code).await), Code::InvalidCredentials);
    for evidence in [json!({}), json!({"code": "1", "recovery_code": "2"})] {
        assert_eq!(faults(verify(world, &foreign, evidence).await).1, ["code"]);
    }
}

#[tokio::test]
async fn nothing_that_is_stored_makes_a_code() {
    let world = World::shared().await;
    let person = world.person().await;
    let setup = world.identity.set_up_two_factor(&person.claims).await.unwrap();
    let code = code(&Authenticator::new(&setup).code(world, 0));
    let codes =
        world.identity.enable_two_factor(&client(), &person.claims, code).await.unwrap().recovery_codes;
    let stored: (String, Vec<String>) = world
        .db
        .platform(async |p| {
            let user = person.claims.user;
            let secret = totp_factors::table.find(user).select(totp_factors::secret).first(p.conn()?).await?;
            let digests = recovery_codes::table.filter(recovery_codes::user_id.eq(user));
            let digests = digests.select(recovery_codes::digest).load(p.conn()?).await?;
            Ok::<_, crm_core::Error>((secret, digests))
        })
        .await
        .unwrap();
    let plain = Secret::try_from_base32(&setup.secret).unwrap();
    assert!(stored.0.len() > 40 && !stored.0.contains(&setup.secret));
    assert!(!stored.0.as_bytes().windows(plain.as_bytes().len()).any(|window| window == plain.as_bytes()));
    assert!(stored.1.len() == 10 && stored.1.iter().all(|digest| digest.len() == 64));
    assert!(codes.iter().all(|code| !stored.1.contains(code)));
}

#[tokio::test]
async fn a_challenge_ends_with_time_and_with_the_password() {
    let world = World::fresh().await;
    let person = world.person().await;
    let (authenticator, recovery) = protected(&world, &person).await;
    let late = asked(&world, &person.email).await;
    world.db.clock().advance(TimeDelta::minutes(5));
    let code = json!({"code": authenticator.code(&world, 0)});
    assert_eq!(refusal(verify(&world, &late, code).await), Code::TokenUnusable);
    let never = SecondFactorRequired { challenge: "x".repeat(43), ..late };
    assert_eq!(refusal(verify(&world, &never, json!({"code": "123456"})).await), Code::TokenUnusable);

    let before = asked(&world, &person.email).await;
    let change =
        json!({"old_password": PASSWORD, "new_password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD});
    world.identity.change_password(&client(), &person.claims, body(change).unwrap()).await.unwrap();
    let code = json!({"recovery_code": recovery[0]});
    assert_eq!(refusal(verify(&world, &before, code).await), Code::TokenUnusable);
    assert!(world.identity.two_factor(&person.claims).await.unwrap().enabled, "the second factor stays");

    let forgot = body(json!({"email": person.email})).unwrap();
    world.identity.forgot_password(&client(), forgot).await.unwrap();
    assert_eq!(world.work_off(&person.email).await, 1);
    let token = world.mailed_token(&person.email).await;
    let reset: ResetPassword =
        body(json!({"token": token, "password": PASSWORD, "confirm_password": PASSWORD})).unwrap();
    world.identity.reset_password(&client(), reset).await.unwrap();
    let asked = asked(&world, &person.email).await;
    assert!(verify(&world, &asked, json!({"recovery_code": recovery[0]})).await.is_ok());
}

#[tokio::test]
async fn guesses_are_few_an_hour_and_a_day() {
    let world = World::fresh().await;
    let person = world.person().await;
    let (authenticator, _) = protected(&world, &person).await;
    let mut judged = 0;
    let right = async || {
        let asked = asked(&world, &person.email).await;
        verify(&world, &asked, json!({"code": authenticator.code(&world, 0)})).await
    };
    for _ in 0..3 {
        let asked = asked(&world, &person.email).await;
        for _ in 0..6 {
            match refusal(verify(&world, &asked, json!({"code": "12345"})).await) {
                Code::InvalidCredentials => judged += 1,
                code => assert_eq!(code, Code::TooManyRequests),
            }
        }
        assert_eq!(refusal(right().await), Code::TooManyRequests, "the right one is not judged either");
        let at_home = off(json!({"code": authenticator.code(&world, 0)}));
        let at_home = world.identity.disable_two_factor(&client(), &person.claims, at_home).await;
        assert_eq!(refusal(at_home), Code::TooManyRequests, "it is one count");
        world.db.clock().advance(TimeDelta::minutes(61));
    }
    assert_eq!(judged, 10, "five an hour, ten a day");
    world.db.clock().advance(TimeDelta::days(1));
    assert!(right().await.is_ok());
}

#[tokio::test]
async fn it_is_switched_off_with_the_password_or_a_code() {
    let world = World::shared().await;
    let person = world.person().await;
    let disable = async |evidence: Value| {
        world.identity.disable_two_factor(&client(), &person.claims, off(evidence)).await
    };
    assert_eq!(refusal(disable(json!({"password": PASSWORD})).await), Code::Conflict);
    for way in 0..3 {
        let (authenticator, recovery) = protected(world, &person).await;
        let twice = world.identity.set_up_two_factor(&person.claims).await;
        assert_eq!(refusal(twice), Code::Conflict, "a new secret would replace the one in use");
        let (wrong, right) = match way {
            0 => (json!({"password": "wrong"}), json!({"password": PASSWORD})),
            1 => (json!({"code": "12345"}), json!({"code": authenticator.code(world, 30)})),
            _ => (json!({"recovery_code": "AAAAA-AAAAA"}), json!({"recovery_code": recovery[3]})),
        };
        let field = wrong.as_object().unwrap().keys().next().unwrap().clone();
        assert_eq!(faults(disable(wrong).await), (Code::ValidationFailed, vec![field]));
        assert_eq!(world.last_event(&person).await, ("two_factor_failed".into(), false));
        disable(right).await.unwrap();
        assert_eq!(world.last_event(&person).await, ("two_factor_disabled".into(), true));
        assert_eq!(world.mailed(&person.email).await.last().unwrap(), "two_factor_changed");
        assert!(world.login(&person.email, PASSWORD).await.is_ok());
        let status = world.identity.two_factor(&person.claims).await.unwrap();
        assert_eq!(status, TwoFactor { enabled: false, recovery_codes_left: 0 });
    }
    protected(world, &person).await;
    for evidence in [json!({}), json!({"password": PASSWORD, "code": "123456"})] {
        assert_eq!(faults(disable(evidence).await).1, ["code"]);
    }
}

#[tokio::test]
async fn new_recovery_codes_replace_the_old_ones() {
    let world = World::shared().await;
    let person = world.person().await;
    let renew =
        async |with: &str| world.identity.renew_recovery_codes(&client(), &person.claims, code(with)).await;
    assert_eq!(refusal(renew("123456").await), Code::Conflict);
    let (authenticator, old) = protected(world, &person).await;
    assert_eq!(faults(renew("12345").await).1, ["code"]);
    let new = renew(&authenticator.code(world, 30)).await.unwrap().recovery_codes;
    assert!(new.len() == 10 && new.iter().all(|code| !old.contains(code)));
    let asked = asked(world, &person.email).await;
    assert_eq!(
        refusal(verify(world, &asked, json!({"recovery_code": old[0]})).await),
        Code::InvalidCredentials
    );
    assert!(verify(world, &asked, json!({"recovery_code": new[0]})).await.is_ok());
}

#[tokio::test]
async fn the_organization_is_judged_after_the_second_factor() {
    let world = World::shared().await;
    let (person, stranger) = (world.person().await, world.founder().await);
    let first = world.found(&person).await.claims.org;
    let second = world.found(&person).await.claims.org;
    let (_, recovery) = protected(world, &person).await;
    let mut codes = recovery.iter().map(|code| json!({"recovery_code": code}));
    let wanted = asked_for(world, &person.email, first).await;
    let signed_in = verify(world, &wanted, codes.next().unwrap()).await.unwrap();
    assert_eq!(signed_in.current_org.map(|org| org.id), first);
    let mut elsewhere = codes.next().unwrap();
    elsewhere["org_id"] = json!(second);
    let wanted = asked_for(world, &person.email, first).await;
    let signed_in = verify(world, &wanted, elsewhere).await.unwrap();
    assert_eq!(signed_in.current_org.map(|org| org.id), second, "the last word counts");
    for foreign in [stranger.claims.org, Some(OrgId::generate())] {
        let asked = asked_for(world, &person.email, foreign).await;
        assert_eq!(refusal(verify(world, &asked, codes.next().unwrap()).await), Code::Forbidden);
        assert_eq!(world.last_event(&person).await, ("permission_denied".into(), false));
    }
}

#[tokio::test]
async fn whoever_is_shut_out_meanwhile_stays_out() {
    let world = World::shared().await;
    let person = world.person().await;
    let (_, recovery) = protected(world, &person).await;
    let asked = asked(world, &person.email).await;
    world.shut_out(&person).await;
    assert_eq!(
        refusal(verify(world, &asked, json!({"recovery_code": recovery[0]})).await),
        Code::TokenUnusable
    );
    let claims = &person.claims;
    assert_eq!(refusal(world.identity.two_factor(claims).await), Code::Unauthenticated);
    assert_eq!(refusal(world.identity.set_up_two_factor(claims).await), Code::Unauthenticated);
}
