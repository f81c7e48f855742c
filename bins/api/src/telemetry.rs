//! What the program tells about itself: log lines and metrics.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Settings};

/// Upper bounds of the histograms of durations, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How often samples that nobody has fetched are summed up, so that they do not pile up.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts logging to standard error and collecting metrics. Whatever was started before stays.
pub fn start(settings: &Settings) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().parse_lossy(&settings.log_filter))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let _ = match settings.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    recorded();
}

/// Notes the present value of the metric `name`.
pub fn gauge(name: &'static str, value: usize) {
    recorded();
    metrics::gauge!(name).set(value as f64);
}

/// The metrics of this process, as Prometheus reads them.
pub fn render() -> String {
    recorded().render()
}

/// What metrics are recorded in.
fn recorded() -> &'static PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| {
        let durations = Matcher::Suffix("_seconds".into());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(durations, &SECONDS)
            .unwrap_or_default() // refused only without any bound
            .build_recorder();
        let handle = recorder.handle();
        let upkeep = handle.clone();
        if metrics::set_global_recorder(recorder).is_ok() {
            let thread = thread::Builder::new().name("crm-metrics".into());
            let _ = thread.spawn(move || {
                loop {
                    thread::sleep(UPKEEP);
                    upkeep.run_upkeep();
                }
            });
        }
        handle
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_rendered_and_durations_in_buckets() {
        gauge("telemetry_test_open", 3);
        metrics::histogram!("telemetry_test_seconds").record(0.02);
        metrics::counter!("telemetry_test_total").increment(2);
        let text = render();
        for line in [
            "telemetry_test_seconds_bucket{le=\"0.01\"} 0",
            "telemetry_test_seconds_bucket{le=\"0.025\"} 1",
            "telemetry_test_seconds_count 1",
            "telemetry_test_total 2",
            "telemetry_test_open 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing:\n{text}");
        }
    }
}
