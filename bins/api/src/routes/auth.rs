use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_identity::{
    ChangePassword, ForgotPassword, Login, Me, RefreshToken, Register, ResetPassword, SignIn, SignedIn,
    SwitchOrg, Switched, TokenPair, User, VerifyEmail,
};

use crate::extract::{Anonymous, Ctx, Json};
use crate::operation::Permit::{Public, SignedIn as Anyone};
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    r.add(
        Op::post("/api/auth/register/", "register", Public, "Open an account and sign in")
            .takes::<Register>()
            .answers::<SignedIn>(201)
            .refuses(&[409]),
        register,
    )
    .add(
        Op::post(
            "/api/auth/login/",
            "login",
            Public,
            "Sign in, into an organization if one is named or known",
        )
        .takes::<Login>()
        .answers::<SignIn>(200)
        .refuses(&[401, 403]),
        login,
    )
    .add(
        Op::post(
            "/api/auth/refresh-token/",
            "refresh_token",
            Public,
            "New tokens for a refresh token, which is spent",
        )
        .takes::<RefreshToken>()
        .answers::<TokenPair>(200)
        .refuses(&[401, 403]),
        refresh,
    )
    .add(Op::post("/api/auth/logout/", "logout", Public, "End the session").takes::<RefreshToken>(), logout)
    .add(Op::get("/api/auth/me/", "me", Anyone, "Who is signed in").answers::<Me>(200), me)
    .add(
        Op::post("/api/auth/switch-org/", "switch_org", Anyone, "Tokens for another organization")
            .takes::<SwitchOrg>()
            .answers::<Switched>(200)
            .refuses(&[403]),
        switch_org,
    )
    .add(
        Op::post(
            "/api/auth/password/change/",
            "change_password",
            Anyone,
            "Change the password; other sessions end",
        )
        .takes::<ChangePassword>(),
        change_password,
    )
    .add(
        Op::post(
            "/api/auth/password/forgot/",
            "forgot_password",
            Public,
            "Ask for a link that sets a new password",
        )
        .takes::<ForgotPassword>()
        .accepted(),
        forgot_password,
    )
    .add(
        Op::post(
            "/api/auth/password/reset/",
            "reset_password",
            Public,
            "Set a new password; all sessions end",
        )
        .takes::<ResetPassword>(),
        reset_password,
    )
    .add(
        Op::post("/api/auth/verify-email/", "verify_email", Public, "Prove an address with the mailed token")
            .takes::<VerifyEmail>()
            .answers::<User>(200),
        verify_email,
    )
    .add(
        Op::post("/api/auth/verify-email/resend/", "resend_verification", Anyone, "Mail the link again")
            .accepted(),
        resend_verification,
    );
}

async fn register(call: Anonymous, json: Json) -> Result<HttpResponse, Problem> {
    let signed_in = call.state.identity.register(&call.client, body::parse::<Register>(json.0)?).await?;
    Ok(HttpResponse::Created().json(signed_in))
}

async fn login(call: Anonymous, json: Json) -> Result<web::Json<SignIn>, Problem> {
    Ok(web::Json(call.state.identity.login(&call.client, body::parse(json.0)?).await?))
}

async fn refresh(call: Anonymous, json: Json) -> Result<web::Json<TokenPair>, Problem> {
    Ok(web::Json(call.state.identity.refresh(&call.client, body::parse(json.0)?).await?))
}

async fn logout(call: Anonymous, json: Json) -> Result<HttpResponse, Problem> {
    call.state.identity.logout(&call.client, body::parse(json.0)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn me(ctx: Ctx) -> Result<web::Json<Me>, Problem> {
    Ok(web::Json(ctx.state.identity.me_by(&ctx.credential).await?))
}

async fn switch_org(ctx: Ctx, json: Json) -> Result<web::Json<Switched>, Problem> {
    Ok(web::Json(ctx.state.identity.switch_org(&ctx.client, ctx.session()?, body::parse(json.0)?).await?))
}

async fn change_password(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    ctx.state.identity.change_password(&ctx.client, ctx.session()?, body::parse(json.0)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn forgot_password(call: Anonymous, json: Json) -> Result<HttpResponse, Problem> {
    call.state.identity.forgot_password(&call.client, body::parse(json.0)?).await?;
    Ok(HttpResponse::Accepted().finish())
}

async fn reset_password(call: Anonymous, json: Json) -> Result<HttpResponse, Problem> {
    call.state.identity.reset_password(&call.client, body::parse(json.0)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn verify_email(call: Anonymous, json: Json) -> Result<web::Json<User>, Problem> {
    Ok(web::Json(call.state.identity.verify_email(&call.client, body::parse(json.0)?).await?))
}

async fn resend_verification(ctx: Ctx) -> Result<HttpResponse, Problem> {
    ctx.state.identity.resend_verification(ctx.session()?).await?;
    Ok(HttpResponse::Accepted().finish())
}
