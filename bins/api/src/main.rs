//! The API server, with the background workers inside unless told otherwise.

use std::io::Write as _;
use std::process::ExitCode;

use actix_web::dev::ServerHandle;
use anyhow::Context as _;
use crm_api::jobs::Jobs;
use crm_api::settings::Settings;
use crm_api::startup::{self, Running, StopSignals};
use crm_api::{server, telemetry};
use crm_notifications::Live;
use tokio::sync::watch;

fn main() -> ExitCode {
    let settings = match Settings::load() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    telemetry::start(&settings);
    match actix_web::rt::System::new().block_on(run(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crm-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let running = startup::start(settings).await?;
    let served = serve(&running).await;
    running.stop().await;
    served
}

async fn serve(running: &Running) -> anyhow::Result<()> {
    let jobs = Jobs::new(running)?;
    let mut signals = StopSignals::install()?;
    let bind = running.settings.bind;
    let (server, live) =
        server::run(running).with_context(|| format!("can't listen on {bind} (CRM_BIND)"))?;
    // Nobody may be reading, which is no reason to stop.
    let _ = std::io::stdout().write_all(banner(running).as_bytes());
    let (stop_jobs, stop) = watch::channel(false);
    let handle = server.handle();
    let answer = async {
        let ended = tokio::select! {
            ended = server => ended.context("the server broke off"),
            () = drain(&handle, &live, &mut signals) => Ok(()),
        };
        // After the last request, which may have left work.
        stop_jobs.send_replace(true);
        ended
    };
    let work = async {
        if running.settings.workers_inside {
            jobs.work(stop.clone()).await;
        }
    };
    tokio::join!(answer, work, crm_jobs::watch_backlog(&running.db, stop.clone())).0
}

/// Waits for the signal to stop, then until the requests under way are answered, the server's time for that is up, or a
/// second signal comes.
async fn drain(server: &ServerHandle, live: &Live, signals: &mut StopSignals) {
    signals.next().await;
    tracing::info!("stopping");
    live.close();
    tokio::select! {
        () = server.stop(true) => {}
        () = signals.next() => tracing::warn!("requests under way are given up"),
    }
}

fn banner(running: &Running) -> String {
    let Running { settings, database, mailer, .. } = running;
    let (url, bind, mail) = (&settings.domain_name, settings.bind, mailer.describe());
    format!(
        "
Amphora answers at {url} (listening on {bind})

  API         {url}/api/
  Swagger UI  {url}/swagger-ui/
  ReDoc       {url}/api/schema/redoc/

  database    {database}
  mail        {mail}

The first platform administrator: cargo run -p crm-admin -- createsuperuser --email you@example.com
Ctrl-C stops everything.

"
    )
}
