//! The background workers on their own. Any number may run, beside crm-api or on other machines.

use std::process::ExitCode;

use crm_api::jobs::Jobs;
use crm_api::settings::Settings;
use crm_api::startup::{self, StopSignals};
use crm_api::telemetry;
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(settings))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crm-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let running = startup::start_beside(settings).await?;
    let jobs = Jobs::new(&running)?;
    let mut signals = StopSignals::install()?;
    tracing::info!(database = %running.database, mail = running.mailer.describe(), "working");
    let (stop, stopped) = watch::channel(false);
    let ask = async {
        signals.next().await;
        tracing::info!("stopping");
        stop.send_replace(true);
    };
    tokio::join!(ask, jobs.work(stopped));
    running.stop().await;
    Ok(())
}
