//! Requests to providers of identities: no redirects, a time limit each, answers of a limited size.

use std::pin::Pin;
use std::time::Duration;

use crm_core::{Error, Result};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse, http};
use reqwest::redirect::Policy;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 512 * 1024;

/// Why there is no answer to speak of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the provider can't be reached")]
    Unreachable(#[from] reqwest::Error),
    #[error("the provider has trouble: it answered {0}")]
    Trouble(http::StatusCode),
    #[error("the provider's answer is too long")]
    TooLong,
    #[error("the request can't be made")]
    Request(#[from] http::Error),
}

/// A client for every provider.
#[derive(Debug)]
pub(crate) struct Http(reqwest::Client);

impl Http {
    pub(super) fn new(timeout: Duration) -> Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(crm_core::tls_config(true).map_err(Error::internal)?)
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            .build()
            .map_err(Error::internal)?;
        Ok(Self(client))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let mut answer = self.0.execute(request.try_into()?).await?;
        if answer.status().is_server_error() {
            return Err(Failure::Trouble(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Failure::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = http::Response::new(body);
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Failure>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
