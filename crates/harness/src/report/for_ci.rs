//! A report for those who look at it in a CI: what held as JUnit's XML, and the summary in Markdown.

use std::fmt::Write as _;

use swarm::Bytes;

use super::summary::time;
use super::{Report, ThresholdReport};

impl Report {
    /// What held and what did not, as JUnit's XML: a test that every host has the build, and one for each threshold.
    pub(crate) fn to_junit(&self) -> String {
        let mut cases = Vec::new();
        let hosts = &self.hosts;
        let left = hosts.pending + hosts.failed;
        let all = format!("{} of {} hosts verified", hosts.verified, hosts.total);
        cases.push(case(
            "every host has the build",
            (left > 0).then(|| {
                (
                    "failure",
                    format!("{all}, {} failed, {} pending", hosts.failed, hosts.pending),
                )
            }),
        ));
        for lost in &self.lost {
            cases.push(case("the whole run is known", Some(("error", lost.clone()))));
        }
        for threshold in &self.thresholds {
            cases.push(case(
                &format!("{}: {}", threshold.name, threshold.expression),
                problem(threshold),
            ));
        }
        for left_out in &self.thresholds_left_out {
            let name = format!("{}: {}", left_out.name, left_out.expression);
            cases.push(case(&name, Some(("skipped", left_out.reason.to_owned()))));
        }
        let count = |kind: &str| cases.iter().filter(|case| case.contains(&format!("<{kind} "))).count();
        let (failures, errors, skipped) = (count("failure"), count("error"), count("skipped"));
        let seconds = self.fanout_latency_ms.max.unwrap_or_default() / 1000.0;
        let name = format!("{} ({}, seed {})", self.scenario, self.mode, self.seed);
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" \
             errors=\"{errors}\" skipped=\"{skipped}\" time=\"{seconds:.3}\">\n{}<system-out>{}</system-out>\n</testsuite>\n\
             </testsuites>\n",
            xml(&name),
            cases.len(),
            cases.concat(),
            xml(&self.about.replay),
        )
    }

    /// The summary in Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let hosts = &self.hosts;
        let mut text = format!(
            "### {} ({}, seed {})\n\n{} of {} hosts verified",
            markdown(&self.scenario),
            self.mode,
            self.seed,
            hosts.verified,
            hosts.total
        );
        for (count, what) in [
            (hosts.failed, "failed"),
            (hosts.pending, "pending"),
            (hosts.excused, "excused"),
        ] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text.push_str(if self.interrupted { "; interrupted\n\n" } else { "\n\n" });
        text.push_str("| | hosts | p50 | p90 | p99 | p99.9 | max |\n|---|---|---|---|---|---|---|\n");
        let regions = self
            .regions
            .iter()
            .map(|of| (of.name.as_str(), of.hosts as usize, &of.fanout_latency_ms));
        for (name, hosts, of) in regions.chain([("all", hosts.total, &self.fanout_latency_ms)]) {
            let cells = [of.p50, of.p90, of.p99, of.p999, of.max].map(time);
            let _ = writeln!(text, "| {} | {hosts} | {} |", markdown(name), cells.join(" | "));
        }
        if let Some(last) = self.stretch.last {
            let _ = writeln!(
                text,
                "\nlower bound {}; stretch of the last host {last:.3}",
                time(self.lower_bound_ms)
            );
        }
        if !self.thresholds.is_empty() {
            text.push_str("\n| | threshold | | it is |\n|---|---|---|---|\n");
        }
        // What failed first.
        let mut thresholds: Vec<&ThresholdReport> = self.thresholds.iter().collect();
        thresholds.sort_by_key(|threshold| threshold.ok != Some(false));
        for threshold in thresholds {
            let verdict = match threshold.ok {
                Some(true) => "ok",
                Some(false) => "**MISSED**",
                None => "no verdict",
            };
            let (name, expression) = (markdown(&threshold.name), markdown(&threshold.expression));
            let _ = writeln!(
                text,
                "| {verdict} | {name} | {expression} | {} |",
                markdown(&threshold.actual.to_string())
            );
        }
        let payload = Bytes::new(self.traffic.from_seeder_bytes + self.traffic.from_peers_bytes);
        let _ = writeln!(
            text,
            "\npayload {payload}, {:.2} % of it wasted",
            self.traffic.wasted_share * 100.0
        );
        for last in &self.last_hosts {
            let _ = writeln!(text, "- {}", markdown(&last.sentence));
        }
        let _ = writeln!(text, "\n```\n{}\n```", self.about.replay);
        text
    }
}

/// What kept a threshold from holding, as JUnit has it.
fn problem(threshold: &ThresholdReport) -> Option<(&'static str, String)> {
    match (threshold.ok, &threshold.no_verdict) {
        (Some(true), _) => None,
        (Some(false), _) => Some(("failure", format!("it is {}", threshold.actual))),
        (None, Some(why)) => Some(("error", format!("no verdict: {why}"))),
        (None, None) => Some(("error", "the report has nothing to compare".to_owned())),
    }
}

fn case(name: &str, problem: Option<(&'static str, String)>) -> String {
    let name = xml(name);
    match problem {
        None => format!("<testcase classname=\"fleetcast\" name=\"{name}\"/>\n"),
        Some((kind, message)) => {
            let message = xml(&message);
            format!("<testcase classname=\"fleetcast\" name=\"{name}\"><{kind} message=\"{message}\"/></testcase>\n")
        }
    }
}

/// As text or an attribute of XML, which has no characters for control.
fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

/// As a cell or a line of Markdown.
fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '|' | '*' | '_' | '`' | '<' | '[' | '\\' => safe.extend(['\\', letter]),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_take_for_their_own_is_escaped() {
        assert_eq!(xml("a<b> & \"c\"\u{1}"), "a&lt;b&gt; &amp; &quot;c&quot; ");
        assert_eq!(markdown("a|b_c\n<x>"), "a\\|b\\_c \\<x>");
    }
}
