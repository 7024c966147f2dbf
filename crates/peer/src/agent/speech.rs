//! What the agent says: results on stdout for programs, sentences on stderr for people. A stream that nobody reads any more is
//! no reason to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use peer::Traffic;
pub(crate) use program::print_line;
pub(crate) use settings::shown_bytes as bytes;

/// Sentences are log lines from now on: whoever reads JSON gets nothing else.
pub(crate) fn say_as_log_lines() {
    ARE_LOG_LINES.store(true, Ordering::Relaxed);
}

/// A sentence for people.
pub(crate) fn say(sentence: &str) {
    if ARE_LOG_LINES.load(Ordering::Relaxed) {
        tracing::info!(target: SAID, "{sentence}");
        return;
    }
    program::say(format_args!("peer: {sentence}"));
}

/// That a build has come: name, size, time, what share of it other hosts have sent, and what was copied.
pub(crate) fn has_come(name: &str, size: u64, took: Duration, traffic: &Traffic) -> String {
    let fetched = traffic.from_peers + traffic.from_seeder;
    let share = match fetched {
        0 => "nothing of it was fetched".to_owned(),
        fetched => format!(
            "{} % of what was fetched from other hosts",
            u128::from(traffic.from_peers) * 100 / u128::from(fetched)
        ),
    };
    let copied = match traffic.reused {
        0 => String::new(),
        reused => format!(", {} copied from older builds", bytes(reused)),
    };
    format!("{name}: in place, {} in {}, {share}{copied}", bytes(size), time(took))
}

/// That a build was put in place by a process that was killed before it could say so.
pub(crate) fn came_before(name: &str, size: u64) -> String {
    format!("{name}: in place, {} since before this process began", bytes(size))
}

/// That a build was in place before.
pub(crate) fn was_there(name: &str, size: u64, took: Duration) -> String {
    format!("{name}: in place already, {} verified in {}", bytes(size), time(took))
}

fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

static ARE_LOG_LINES: AtomicBool = AtomicBool::new(false);
/// What sentences are called in the log.
const SAID: &str = "peer::said";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_has_come_is_told_with_its_size_its_time_and_the_share_of_the_hosts() {
        let traffic = Traffic {
            from_seeder: 25,
            from_peers: 75,
            ..Traffic::default()
        };
        let said = has_come("a/b.zip", 160 << 20, Duration::from_millis(12_340), &traffic);
        assert_eq!(
            said,
            "a/b.zip: in place, 160.0 MiB in 12.3 s, 75 % of what was fetched from other hosts"
        );
        let copied = Traffic {
            reused: 1023,
            ..Traffic::default()
        };
        let said = has_come("b.zip", 1023, Duration::from_millis(3), &copied);
        assert_eq!(
            said,
            "b.zip: in place, 1023 bytes in 3 ms, nothing of it was fetched, 1023 bytes copied from older builds"
        );
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(u64::MAX), "17179869183.9 GiB");
    }
}
