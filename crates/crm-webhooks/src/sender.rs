//! The one way out: a POST that follows no redirect, waits a short time and reads little.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crm_core::{Error, Result};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode, redirect, retry};

use crate::WebhookSettings;
use crate::addresses::{Guard, NotPublic, check_url};

const USER_AGENT: &str = "Amphora-Webhooks/1";
/// What of an answer is read, in bytes, and kept, in characters.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const MAX_EXCERPT: usize = 1000;
/// What is kept of an error's own words, in characters.
const MAX_REASON: usize = 200;

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The answer's status.
    pub(crate) status: Option<u16>,
    /// The beginning of its text.
    pub(crate) response: Option<String>,
    /// Why it counts as a failure.
    pub(crate) error: Option<String>,
    pub(crate) duration: Duration,
}

impl Outcome {
    /// An attempt that was not made.
    pub(crate) fn refused(why: &str) -> Self {
        Self { status: None, response: None, error: Some(why.to_owned()), duration: Duration::ZERO }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.error.is_none()
    }

    /// Whether the receiver wants nothing more, ever.
    pub(crate) fn is_gone(&self) -> bool {
        self.status == Some(StatusCode::GONE.as_u16())
    }
}

/// Sends what webhooks send.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    client: Client,
    time_limit: Duration,
    pub(crate) allow_private: bool,
}

impl Sender {
    /// # Errors
    /// `Internal` when TLS can't be set up.
    pub(crate) fn new(settings: &WebhookSettings) -> Result<Self> {
        let WebhookSettings { time_limit, allow_private, ref names, .. } = *settings;
        let tls = crm_core::tls_config(true).map_err(Error::internal)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::new(Guard { names: names.clone(), allow_private }))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .http1_only()
            .timeout(time_limit)
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(USER_AGENT)
            .build()
            .map_err(Error::internal)?;
        Ok(Self { client, time_limit, allow_private })
    }

    /// Posts a JSON body.
    pub(crate) async fn post(&self, url: &str, headers: &[(&'static str, String)], body: String) -> Outcome {
        // A literal address is never resolved, and what was well when it was stored may not be any more.
        let url = match check_url(url, self.allow_private) {
            Ok(url) => url,
            Err(why) => return Outcome::refused(&format!("the URL {why}")),
        };
        let started = Instant::now();
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        match request.send().await {
            Ok(answer) => {
                let (status, error) = (answer.status(), verdict(answer.status()));
                let response = excerpt(answer).await;
                Outcome {
                    status: Some(status.as_u16()),
                    response: Some(response),
                    error,
                    duration: started.elapsed(),
                }
            }
            Err(error) => Outcome { duration: started.elapsed(), ..Outcome::refused(&self.reason(&error)) },
        }
    }

    /// In words that don't repeat the URL, which may hold a secret.
    fn reason(&self, error: &reqwest::Error) -> String {
        let mut root: &dyn std::error::Error = error;
        while let Some(source) = root.source() {
            root = source;
        }
        let why: String = root.to_string().chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        match error {
            _ if root.is::<NotPublic>() => why,
            error if error.is_timeout() => {
                format!("no answer within {} seconds", self.time_limit.as_secs_f64())
            }
            error if error.is_connect() => format!("can't connect: {why}"),
            _ => format!("no answer: {why}"),
        }
    }
}

fn verdict(status: StatusCode) -> Option<String> {
    match status {
        status if status.is_success() => None,
        status if status.is_redirection() => Some(format!("{status}: redirects are not followed")),
        status => Some(status.to_string()),
    }
}

/// The beginning of the text of an answer; what comes too late or is too much is left out.
async fn excerpt(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= MAX_ANSWER_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control()).take(MAX_EXCERPT).collect()
}
