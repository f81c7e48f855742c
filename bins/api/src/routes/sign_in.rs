use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_identity::{
    BeginOidc, DisableTwoFactor, FinishOidc, OidcBegun, OidcProviders, RecoveryCodes, RequestSignInMail,
    SignIn, SignedIn, TwoFactor, TwoFactorCode, TwoFactorSetup, VerifySecondFactor, VerifySignInCode,
    VerifySignInLink,
};

use crate::extract::{Anonymous, Ctx, Json};
use crate::operation::Permit::{Public, SignedIn as Anyone};
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    two_factor(r);
    oidc(r);
    mailed(r);
}

fn two_factor(r: &mut Routes) {
    r.add(
        Op::get("/api/auth/2fa/", "read_two_factor", Anyone, "How the second factor stands")
            .answers::<TwoFactor>(200),
        read_two_factor,
    )
    .add(
        Op::post(
            "/api/auth/2fa/setup/",
            "set_up_two_factor",
            Anyone,
            "A secret for an authenticator, not asked for yet",
        )
        .answers::<TwoFactorSetup>(200)
        .refuses(&[409]),
        set_up_two_factor,
    )
    .add(
        Op::post(
            "/api/auth/2fa/enable/",
            "enable_two_factor",
            Anyone,
            "Switch the second factor on; answers the recovery codes, once",
        )
        .takes::<TwoFactorCode>()
        .answers::<RecoveryCodes>(200)
        .refuses(&[409]),
        enable_two_factor,
    )
    .add(
        Op::post(
            "/api/auth/2fa/disable/",
            "disable_two_factor",
            Anyone,
            "Switch the second factor off, with the password or a code",
        )
        .takes::<DisableTwoFactor>()
        .refuses(&[409]),
        disable_two_factor,
    )
    .add(
        Op::post(
            "/api/auth/2fa/recovery-codes/",
            "renew_recovery_codes",
            Anyone,
            "New recovery codes in place of the old ones",
        )
        .takes::<TwoFactorCode>()
        .answers::<RecoveryCodes>(200)
        .refuses(&[409]),
        renew_recovery_codes,
    )
    .add(
        Op::post(
            "/api/auth/2fa/verify/",
            "verify_second_factor",
            Public,
            "Finish a sign-in that was answered with a challenge",
        )
        .takes::<VerifySecondFactor>()
        .answers::<SignedIn>(200)
        .refuses(&[401, 403]),
        verify_second_factor,
    );
}

fn oidc(r: &mut Routes) {
    r.add(
        Op::get(
            "/api/auth/oidc/providers/",
            "list_oidc_providers",
            Public,
            "The providers that people can sign in by",
        )
        .answers::<OidcProviders>(200),
        list_oidc_providers,
    )
    .add(
        Op::post("/api/auth/oidc/start/", "begin_oidc", Public, "Begin a sign-in by a provider")
            .takes::<BeginOidc>()
            .answers::<OidcBegun>(200),
        begin_oidc,
    )
    .add(
        Op::post(
            "/api/auth/oidc/callback/",
            "finish_oidc",
            Public,
            "Sign in with what came back from the provider",
        )
        .takes::<FinishOidc>()
        .answers::<SignIn>(200)
        .refuses(&[401, 403]),
        finish_oidc,
    );
}

fn mailed(r: &mut Routes) {
    r.add(
        Op::post(
            "/api/auth/magic-link/request/",
            "request_sign_in_mail",
            Public,
            "Ask for a mail with a link or a code that signs in",
        )
        .takes::<RequestSignInMail>()
        .accepted(),
        request_sign_in_mail,
    )
    .add(
        Op::post(
            "/api/auth/magic-link/verify/",
            "verify_sign_in_link",
            Public,
            "Sign in with the token of a mailed link",
        )
        .takes::<VerifySignInLink>()
        .answers::<SignIn>(200)
        .refuses(&[403]),
        verify_sign_in_link,
    )
    .add(
        Op::post(
            "/api/auth/magic-link/verify-code/",
            "verify_sign_in_code",
            Public,
            "Sign in with a mailed code",
        )
        .takes::<VerifySignInCode>()
        .answers::<SignIn>(200)
        .refuses(&[401, 403]),
        verify_sign_in_code,
    );
}

async fn read_two_factor(ctx: Ctx) -> Result<web::Json<TwoFactor>, Problem> {
    Ok(web::Json(ctx.state.identity.two_factor(ctx.session()?).await?))
}

async fn set_up_two_factor(ctx: Ctx) -> Result<web::Json<TwoFactorSetup>, Problem> {
    Ok(web::Json(ctx.state.identity.set_up_two_factor(ctx.session()?).await?))
}

async fn enable_two_factor(ctx: Ctx, json: Json) -> Result<web::Json<RecoveryCodes>, Problem> {
    let input = body::parse(json.0)?;
    Ok(web::Json(ctx.state.identity.enable_two_factor(&ctx.client, ctx.session()?, input).await?))
}

async fn disable_two_factor(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    ctx.state.identity.disable_two_factor(&ctx.client, ctx.session()?, body::parse(json.0)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn renew_recovery_codes(ctx: Ctx, json: Json) -> Result<web::Json<RecoveryCodes>, Problem> {
    let input = body::parse(json.0)?;
    Ok(web::Json(ctx.state.identity.renew_recovery_codes(&ctx.client, ctx.session()?, input).await?))
}

async fn verify_second_factor(call: Anonymous, json: Json) -> Result<web::Json<SignedIn>, Problem> {
    Ok(web::Json(call.state.identity.verify_second_factor(&call.client, body::parse(json.0)?).await?))
}

async fn list_oidc_providers(call: Anonymous) -> web::Json<OidcProviders> {
    web::Json(call.state.identity.oidc_providers())
}

async fn begin_oidc(call: Anonymous, json: Json) -> Result<web::Json<OidcBegun>, Problem> {
    Ok(web::Json(call.state.identity.begin_oidc(&call.client, body::parse(json.0)?).await?))
}

async fn finish_oidc(call: Anonymous, json: Json) -> Result<web::Json<SignIn>, Problem> {
    Ok(web::Json(call.state.identity.finish_oidc(&call.client, body::parse(json.0)?).await?))
}

async fn request_sign_in_mail(call: Anonymous, json: Json) -> Result<HttpResponse, Problem> {
    call.state.identity.request_sign_in_mail(&call.client, body::parse(json.0)?).await?;
    Ok(HttpResponse::Accepted().finish())
}

async fn verify_sign_in_link(call: Anonymous, json: Json) -> Result<web::Json<SignIn>, Problem> {
    Ok(web::Json(call.state.identity.verify_sign_in_link(&call.client, body::parse(json.0)?).await?))
}

async fn verify_sign_in_code(call: Anonymous, json: Json) -> Result<web::Json<SignIn>, Problem> {
    Ok(web::Json(call.state.identity.verify_sign_in_code(&call.client, body::parse(json.0)?).await?))
}
