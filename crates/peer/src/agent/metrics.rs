//! A status as Prometheus reads it.

use std::fmt::Write as _;

use super::status::{BuildState, Status};

/// What a row of the text is.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// The status in the text format of Prometheus.
pub(super) fn text(status: &Status) -> String {
    let mut text = String::new();
    let bytes = &status.bytes;
    let count = |number: u64| number as f64;
    let mut add = |name: &str, kind: Kind, help: &str, samples: &[(&str, f64)]| {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "# HELP fleetcast_{name} {help}\n# TYPE fleetcast_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "fleetcast_{name}{labels} {value}");
        }
    };
    let version = format!("{{version=\"{}\"}}", status.version);
    add("info", Kind::Gauge, "The release that runs.", &[(&version, 1.0)]);
    let received = [
        ("{source=\"seeders\"}", count(bytes.from_seeders)),
        ("{source=\"hosts\"}", count(bytes.from_hosts)),
        ("{source=\"older_builds\"}", count(bytes.from_older_builds)),
    ];
    add(
        "received_bytes_total",
        Kind::Counter,
        "Payload of verified chunks, by where it came from.",
        &received,
    );
    for (name, help, value) in [
        (
            "discarded_bytes_total",
            "Payload that was received and thrown away.",
            count(bytes.discarded),
        ),
        (
            "sent_bytes_total",
            "Payload that was sent to other hosts.",
            count(bytes.sent),
        ),
        (
            "control_sent_bytes_total",
            "What was sent besides payload.",
            count(bytes.control_sent),
        ),
        (
            "chunks_verified_total",
            "Chunks that were received and right.",
            count(status.chunks_verified),
        ),
        (
            "chunks_refused_total",
            "Chunks whose hash was wrong.",
            count(status.chunks_refused),
        ),
        (
            "builds_installed_total",
            "Builds that have come.",
            count(status.builds_installed),
        ),
        (
            "builds_installed_seconds_total",
            "From hearing of them until they were in place, summed.",
            status.install_s,
        ),
        (
            "builds_given_up_total",
            "Builds that were given up.",
            count(status.builds_given_up),
        ),
        (
            "hooks_failed_total",
            "Hooks that failed or were killed.",
            count(status.hooks_failed),
        ),
    ] {
        add(name, Kind::Counter, help, &[("", value)]);
    }
    let states = BuildState::ALL.map(|state| {
        let builds = status.builds.iter().filter(|build| build.state == state).count();
        (format!("{{state=\"{}\"}}", state.word()), builds as f64)
    });
    let states = states.each_ref().map(|(labels, value)| (labels.as_str(), *value));
    add(
        "builds",
        Kind::Gauge,
        "Builds that are waited for, fetched or served.",
        &states,
    );
    let limits = [
        (
            "{direction=\"up\"}",
            status.upload_limit_bytes_per_s.map_or(f64::INFINITY, count),
        ),
        (
            "{direction=\"down\"}",
            status.download_limit_bytes_per_s.map_or(f64::INFINITY, count),
        ),
    ];
    let limits = limits.map(|(labels, value)| (labels, value));
    add(
        "limit_bytes_per_second",
        Kind::Gauge,
        "Payload a second at most.",
        &limits,
    );
    for (name, help, value) in [
        (
            "neighbours",
            "Hosts that it is connected with, summed over builds.",
            count(status.neighbours),
        ),
        ("connections", "Connections that there are.", count(status.connections)),
        (
            "rows_waiting",
            "Rows that are to be written to the deployment log.",
            count(status.rows_waiting),
        ),
        (
            "store_bytes",
            "Bytes of builds in the folder.",
            count(status.store_bytes),
        ),
        (
            "disk_free_bytes",
            "Bytes that are free where the folder is.",
            status.disk_free_bytes.map_or(f64::NAN, count),
        ),
        (
            "directory_up",
            "Whether the directory answers.",
            f64::from(u8::from(status.directory.answers)),
        ),
        (
            "loop_lag_seconds",
            "How long this question waited for the agent's loop.",
            status.loop_lag_s,
        ),
        ("up_seconds", "Since the process began.", status.up_s),
    ] {
        add(name, Kind::Gauge, help, &[("", value)]);
    }
    text.replace(" inf\n", " +Inf\n")
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
