//! A status as Prometheus reads it.

use peer::{Metric, MetricsText};

use super::status::{BuildState, Status};

/// The status in the text format of Prometheus.
pub(super) fn text(status: &Status) -> String {
    let mut text = MetricsText::default();
    let info = ("info", "gauge", "The release that runs.");
    text.add_by(info, "version", [(status.version.as_str(), 1.0)]);
    add_bytes(&mut text, status);
    text.add_all("counter", counters(status));
    add_states_and_limits(&mut text, status);
    text.add_all("gauge", gauges(status));
    text.into_text()
}

fn add_bytes(text: &mut MetricsText, status: &Status) {
    let bytes = &status.bytes;
    let received = [
        ("seeders", count(bytes.from_seeders)),
        ("hosts", count(bytes.from_hosts)),
        ("older_builds", count(bytes.from_older_builds)),
    ];
    let help = "Payload of verified chunks, by where it came from.";
    text.add_by(("received_bytes_total", "counter", help), "source", received);
}

fn add_states_and_limits(text: &mut MetricsText, status: &Status) {
    let states = BuildState::ALL.map(|state| {
        let builds = status.builds.iter().filter(|build| build.state == state).count();
        (state.word(), builds as f64)
    });
    let help = "Builds that are waited for, fetched or served.";
    text.add_by(("builds", "gauge", help), "state", states);
    let limit = |limit: Option<u64>| limit.map_or(f64::INFINITY, count);
    let limits = [
        ("up", limit(status.upload_limit_bytes_per_s)),
        ("down", limit(status.download_limit_bytes_per_s)),
    ];
    let help = "Payload a second at most.";
    text.add_by(("limit_bytes_per_second", "gauge", help), "direction", limits);
}

#[rustfmt::skip]
fn counters(status: &Status) -> [Metric; 9] {
    let bytes = &status.bytes;
    [
        ("discarded_bytes_total", "Payload that was received and thrown away.", count(bytes.discarded)),
        ("sent_bytes_total", "Payload that was sent to other hosts.", count(bytes.sent)),
        ("control_sent_bytes_total", "What was sent besides payload.", count(bytes.control_sent)),
        ("chunks_verified_total", "Chunks that were received and right.", count(status.chunks_verified)),
        ("chunks_refused_total", "Chunks whose hash was wrong.", count(status.chunks_refused)),
        ("builds_installed_total", "Builds that have come.", count(status.builds_installed)),
        ("builds_installed_seconds_total", "From hearing of them until they were in place, summed.", status.install_s),
        ("builds_given_up_total", "Builds that were given up.", count(status.builds_given_up)),
        ("hooks_failed_total", "Hooks that failed or were killed.", count(status.hooks_failed)),
    ]
}

#[rustfmt::skip]
fn gauges(status: &Status) -> [Metric; 8] {
    [
        ("neighbours", "Hosts that it is connected with, summed over builds.", count(status.neighbours)),
        ("connections", "Connections that there are.", count(status.connections)),
        ("rows_waiting", "Rows that are to be written to the deployment log.", count(status.rows_waiting)),
        ("store_bytes", "Bytes of builds in the folder.", count(status.store_bytes)),
        ("disk_free_bytes", "Bytes that are free where the folder is.", status.disk_free_bytes.map_or(f64::NAN, count)),
        ("directory_up", "Whether the directory answers.", f64::from(u8::from(status.directory.answers))),
        ("loop_lag_seconds", "How long this question waited for the agent's loop.", status.loop_lag_s),
        ("up_seconds", "Since the process began.", status.up_s),
    ]
}

const fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::status::BuildStatus;

    #[test]
    fn every_sample_has_its_help_and_type_before_it() {
        let status = Status {
            builds: vec![BuildStatus::default()],
            download_limit_bytes_per_s: Some(5),
            ..Status::default()
        };
        let text = text(&status);
        let mut known = "";
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                known = help.split(' ').next().unwrap();
                assert!(text.contains(&format!("# TYPE {known} ")), "{line}");
            } else if !line.starts_with('#') {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                assert_eq!(sample.split('{').next().unwrap(), known, "{line}");
                assert!(
                    value == "+Inf" || value == "NaN" || value.parse::<f64>().is_ok(),
                    "{line}"
                );
            }
        }
        for line in [
            "fleetcast_builds{state=\"waiting\"} 1",
            "fleetcast_builds{state=\"in_place\"} 0",
            "fleetcast_limit_bytes_per_second{direction=\"up\"} +Inf",
            "fleetcast_limit_bytes_per_second{direction=\"down\"} 5",
            "fleetcast_disk_free_bytes NaN",
            "fleetcast_directory_up 0",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
    }
}
