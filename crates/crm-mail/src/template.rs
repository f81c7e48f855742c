use minijinja::{
    Environment, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter, value::Serde,
};

/// Lists the templates; each is three files in `templates/`.
macro_rules! templates {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        crm_core::text_enum!(
            /// What a mail says; each variant names the values it needs.
            Template { $($(#[$doc])* $variant = $name),* }
        );

        const SOURCES: &[(&str, &str)] = &[
            ("layout.html", include_str!("../templates/layout.html")),
            ("button.html", include_str!("../templates/button.html")),
            $(
                (concat!($name, ".subject"), include_str!(concat!("../templates/", $name, ".subject"))),
                (concat!($name, ".txt"), include_str!(concat!("../templates/", $name, ".txt"))),
                (concat!($name, ".html"), include_str!(concat!("../templates/", $name, ".html"))),
            )*
        ];
    };
}

templates! {
    /// Asks a new user to confirm the address: `name`, `link`, `valid_hours`.
    VerifyEmail = "verify_email",
    /// Invites somebody into an organization: `org_name`, `inviter_name`, `role`, `link`, `valid_days`.
    Invitation = "invitation",
    /// Offers to set a new password: `name`, `link`, `valid_minutes`.
    PasswordReset = "password_reset",
    /// Tells that the password was changed: `name`, `at`.
    PasswordChanged = "password_changed",
    /// Tells a former member of the removal: `org_name`, `name`.
    MembershipRemoved = "membership_removed",
    /// Tells a member of a record that is theirs now: `org_name`, `assigned_by`, `kind`, `title`, `link`.
    Assigned = "assigned",
    /// Greets somebody whose account is new: `name`, `link`.
    Welcome = "welcome",
    /// Signs in whoever opens it: `link`, `valid_minutes`.
    SignInLink = "sign_in_link",
    /// Signs in whoever types it: `code`, `valid_minutes`.
    SignInCode = "sign_in_code",
    /// Tells a member that a comment mentions them: `org_name`, `by`, `kind`, `title`, `excerpt`, `link`.
    Mentioned = "mentioned",
    /// Tells a member of a comment on a record of theirs: `org_name`, `by`, `kind`, `title`, `excerpt`, `link`.
    Commented = "commented",
    /// Sums up what a member was not told at once: `org_name`, `name`, `count` and `items` of `text`, `link`, `at`.
    Digest = "digest",
    /// Tells of a new personal access token: `name`, `org_name`, `token_name`, `at`.
    TokenCreated = "token_created",
    /// Tells that the second factor was set up or taken away: `name`, `what`, `at`.
    TwoFactorChanged = "two_factor_changed",
    /// Tells a member of deals that have been in their stage for too long: `org_name`, `name`, `link`, `count` and `items` of `name`, `stage`,
    /// `days`, `expected`, `link`.
    StaleDeals = "stale_deals",
    /// Tells of a milestone of a sales goal: `org_name`, `name`, `goal`, `milestone`, `percent`, `reached`, `target`, `period_start`,
    /// `period_end`, `link`.
    GoalMilestone = "goal_milestone",
    /// What a member writes to people of an account: `subject`, `lines`; `from`, the sender.
    AccountMessage = "account_message",
    /// Proves that an address is the organization's: `org_name`, `code`, `valid_minutes`.
    SenderCode = "sender_code",
}

impl Template {
    /// Whether it concerns the safety of somebody's account, so that no organization can suppress it.
    pub const fn is_about_account(self) -> bool {
        match self {
            Self::VerifyEmail
            | Self::PasswordReset
            | Self::PasswordChanged
            | Self::Welcome
            | Self::SignInLink
            | Self::SignInCode
            | Self::TokenCreated
            | Self::TwoFactorChanged => true,
            Self::Invitation
            | Self::MembershipRemoved
            | Self::Assigned
            | Self::Mentioned
            | Self::Commented
            | Self::Digest
            | Self::StaleDeals
            | Self::GoalMilestone
            | Self::AccountMessage
            | Self::SenderCode => false,
        }
    }
}

/// The three texts of a mail.
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// The templates, parsed.
pub(crate) fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_formatter(format_on_one_line);
    for (name, source) in SOURCES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

/// Fills a template's three texts with `data`.
pub(crate) fn render(
    environment: &Environment<'_>,
    template: Template,
    data: &serde_json::Value,
) -> Result<Rendered, minijinja::Error> {
    let values = Value::from(Serde(data));
    let fill = |part| environment.get_template(&format!("{template}.{part}"))?.render(&values);
    Ok(Rendered { subject: fill("subject")?, text: fill("txt")?, html: fill("html")? })
}

/// Writes a value without control characters: it must start neither a header nor a paragraph of its own.
fn format_on_one_line(out: &mut Output, state: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    if value.is_none() {
        return Err(minijinja::Error::new(ErrorKind::UndefinedError, "a value is null"));
    }
    match value.as_str() {
        Some(text) if text.contains(char::is_control) => {
            escape_formatter(out, state, &Value::from(text.replace(char::is_control, " ")))
        }
        _ => escape_formatter(out, state, value),
    }
}
