use actix_web::http::Method;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use crate::app::{PASSWORD, Person, TestApp, unique_email};

/// Switches the second factor on and answers the recovery codes.
async fn protect(person: &Person) -> Vec<String> {
    let setup = person.post("/api/auth/2fa/setup/", &json!({})).await.expect(200);
    let secret = Secret::try_from_base32(setup["secret"].as_str().unwrap()).unwrap();
    let totp = Builder::new().with_secret(secret).build().unwrap();
    let now = person.app.db.clock().now().timestamp().cast_unsigned();
    let code = json!({"code": totp.generate(now).to_string()});
    let codes = person.post("/api/auth/2fa/enable/", &code).await.expect(200);
    codes["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

fn assert_tokens(answer: &Value) {
    for field in
        ["access_token", "refresh_token", "token_type", "expires_in", "user", "current_org", "organizations"]
    {
        assert!(answer.get(field).is_some(), "{field} is missing in {answer}");
    }
}

#[actix_web::test]
async fn a_second_factor_takes_a_second_step() {
    let app = TestApp::new().await;
    let person = app.founder().await;
    let codes = protect(&person).await;
    let status = person.get("/api/auth/2fa/").await.expect(200);
    assert_eq!(status, json!({"enabled": true, "recovery_codes_left": 10}));
    let login = json!({"email": person.email, "password": PASSWORD});
    let asked = app.post("/api/auth/login/", &login).await.expect(200);
    assert_eq!(asked["second_factor_required"], true);
    assert_eq!((&asked["methods"], &asked["expires_in"]), (&json!(["totp", "recovery_code"]), &json!(300)));
    assert!(asked.get("access_token").is_none());
    let challenge = asked["challenge"].as_str().unwrap();
    let as_token = app.request(Method::GET, "/api/auth/me/", Some(challenge), None).await;
    assert_eq!(as_token.problem(401).0, "unauthenticated");
    let wrong = json!({"challenge": challenge, "recovery_code": "AAAAA-AAAAA"});
    assert_eq!(app.post("/api/auth/2fa/verify/", &wrong).await.problem(401).0, "invalid_credentials");
    let none = app.post("/api/auth/2fa/verify/", &json!({"challenge": challenge})).await;
    assert_eq!(none.problem(422), ("validation_failed".into(), vec!["code".into()]));
    let right = json!({"challenge": challenge, "recovery_code": codes[0]});
    let signed_in = app.post("/api/auth/2fa/verify/", &right).await.expect(200);
    assert_tokens(&signed_in);
    assert_eq!(signed_in["current_org"]["id"], person.org["id"]);
    assert_eq!(app.post("/api/auth/2fa/verify/", &right).await.problem(422).0, "token_unusable");

    assert_eq!(person.post("/api/auth/2fa/setup/", &json!({})).await.problem(409).0, "conflict");
    let off = json!({"recovery_code": codes[1]});
    assert_eq!(person.post("/api/auth/2fa/disable/", &off).await.status, 204);
    assert_tokens(&app.post("/api/auth/login/", &login).await.expect(200));
}

#[actix_web::test]
async fn a_mail_signs_in() {
    let app = TestApp::new().await;
    let email = unique_email();
    let accepted = app.post("/api/auth/magic-link/request/", &json!({"email": email})).await;
    assert_eq!((accepted.status, accepted.bytes.len()), (202, 0));
    let mail = app.mail_to(&email).await;
    let link = mail.data["link"].as_str().unwrap();
    let token = link.strip_prefix("https://crm.example.com/magic-link?token=").unwrap();
    let body = json!({"token": token});
    let signed_in = app.post("/api/auth/magic-link/verify/", &body).await.expect(200);
    assert_tokens(&signed_in);
    assert_eq!(signed_in["user"]["email"], email);
    assert_eq!(app.post("/api/auth/magic-link/verify/", &body).await.problem(422).0, "token_unusable");

    let wanted = json!({"email": email, "delivery": "code"});
    assert_eq!(app.post("/api/auth/magic-link/request/", &wanted).await.status, 202);
    let code = app.mail_of(&email, "sign_in_code").await.data["code"].clone();
    let body = json!({"email": email.to_uppercase(), "code": code});
    let again = app.post("/api/auth/magic-link/verify-code/", &body).await.expect(200);
    assert_eq!(again["user"]["id"], signed_in["user"]["id"]);
    assert_eq!(
        app.post("/api/auth/magic-link/verify-code/", &body).await.problem(401).0,
        "invalid_credentials"
    );
    for (wrong, field) in
        [(json!({"email": "nobody"}), "email"), (json!({"email": email, "delivery": "pigeon"}), "delivery")]
    {
        let refused = app.post("/api/auth/magic-link/request/", &wrong).await;
        assert_eq!(refused.problem(422).1, [field]);
    }
}

#[actix_web::test]
async fn without_providers_nobody_signs_in_by_one() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/api/auth/oidc/providers/").await.expect(200), json!({"providers": []}));
    let start = json!({"provider": "google", "redirect_uri": "https://crm.example.com/oidc"});
    assert_eq!(app.post("/api/auth/oidc/start/", &start).await.problem(422).1, ["provider"]);
    let callback = json!({"code": "a", "state": "b"});
    assert_eq!(app.post("/api/auth/oidc/callback/", &callback).await.problem(422).0, "token_unusable");
}

#[actix_web::test]
async fn the_document_tells_both_answers_of_a_sign_in() {
    let document = TestApp::new().await.get("/api/schema/").await.expect(200);
    for path in ["/api/auth/login/", "/api/auth/oidc/callback/", "/api/auth/magic-link/verify/"] {
        let schema =
            &document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(schema["$ref"], "#/components/schemas/SignIn", "{path}");
    }
    let answers = document["components"]["schemas"]["SignIn"]["oneOf"].as_array().unwrap();
    let names: Vec<_> = answers.iter().map(|answer| answer["$ref"].as_str().unwrap()).collect();
    assert_eq!(names, ["#/components/schemas/SignedIn", "#/components/schemas/SecondFactorRequired"]);
}
