//! Where lines of progress go. On a terminal they are drawn over each other; elsewhere, as in CI, the first of them becomes a
//! plain line, the less often the longer it takes. What went wrong is a line in both.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where lines go.
pub(crate) struct Screen {
    /// Of a terminal.
    bar: Option<ProgressBar>,
    /// Elsewhere: when there is to be a line, and how long not after it.
    next: Mutex<(Instant, Duration)>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            next: Mutex::new((Instant::now() + FIRST, FIRST)),
        }
    }

    /// Lines of parts, the most important part of each first: what does not fit is left out.
    pub(crate) fn show(&self, lines: &[Vec<String>]) {
        let Some(bar) = &self.bar else {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if now >= next.0
                && let Some(line) = lines.first()
            {
                let widened = (next.1 * 2).min(INTERVAL_MAX);
                *next = (now + next.1, widened);
                say!("harness: {}", line.join(", "));
            }
            return;
        };
        let width = Term::stderr()
            .size_checked()
            .map_or(WIDTH, |(_, columns)| columns.into());
        let lines: Vec<String> = lines.iter().map(|line| fit(line, width.saturating_sub(1))).collect();
        bar.set_message(lines.join("\n"));
        bar.tick();
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        self.suspend(|| say!("harness: {line}"));
    }

    /// Does something that prints.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// As many parts as fit, and of the first as much as fits.
fn fit(parts: &[String], width: usize) -> String {
    let mut line: String = parts
        .iter()
        .take(1)
        .flat_map(|first| first.chars().take(width))
        .collect();
    for part in parts.iter().skip(1) {
        if line.chars().count() + 2 + part.chars().count() > width {
            break;
        }
        line.push_str(", ");
        line.push_str(part);
    }
    line
}

/// What takes less needs no word.
const FIRST: Duration = Duration::from_secs(2);
/// A log of an hour has some sixty lines.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Of a terminal that does not say how wide it is.
const WIDTH: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_never_wider_than_the_terminal_and_begins_with_what_matters() {
        let parts = ["fan-out 63 %", "10000 of 10000 hosts", "412.3 MiB/s", "12 s left"].map(str::to_owned);
        assert_eq!(
            fit(&parts, 60),
            "fan-out 63 %, 10000 of 10000 hosts, 412.3 MiB/s, 12 s left"
        );
        assert_eq!(fit(&parts, 40), "fan-out 63 %, 10000 of 10000 hosts");
        for width in 0..80 {
            assert!(fit(&parts, width).chars().count() <= width);
        }
    }
}
