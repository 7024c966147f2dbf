//! What is known of a host, as people read it.

use std::fmt::Write as _;

use scenario::Serves;
use swarm::Bytes;

use crate::TICK_NANOS;
use crate::cause::Cause;
use crate::path::Step;
use crate::reasons::Reasons;
use crate::records::{Member, State};
use crate::verdict::Verdict;

impl Reasons<'_> {
    /// Why a host was late, in one sentence that names it.
    pub fn sentence(&self, region: usize, verdict: &Verdict) -> String {
        let name = self.records().scenario.regions[region].host_name(verdict.host);
        let total = time(verdict.total);
        let mut text = match verdict.state {
            State::Verified => format!("{name} had the build after {total}"),
            State::Failed => format!("{name} gave up, and {total} had passed"),
            State::Pending | State::Excused => format!("{name} did not have the build after {total}"),
        };
        if self.records().regions[region].complete_at.is_none() {
            return format!("{name} did not have the build: the run ended before it was in the region's bucket");
        }
        if let Some((_, _, error)) = self
            .records()
            .facts
            .errors
            .iter()
            .find(|(of, host, _)| (*of, *host) == (region, verdict.host))
        {
            let _ = write!(text, " ({error})");
        }
        if verdict.state == State::Verified
            && let (Some(bound), Some(lateness)) = (verdict.bound, verdict.lateness())
        {
            if lateness * 50 <= bound {
                text.push_str(", which is its bound");
            } else {
                let _ = write!(text, ", {} later than its bound", time(lateness));
            }
        }
        let spent = verdict
            .shares
            .iter()
            .find(|(cause, _)| *cause == verdict.main)
            .map_or(verdict.main_ticks, |s| s.1);
        let _ = write!(text, ": above all for {}", verdict.main.meaning());
        let detail = self.detail(region, verdict);
        if !detail.is_empty() {
            let _ = write!(text, " ({detail})");
        }
        let _ = write!(
            text,
            ", {} ({:.0} %)",
            time(spent),
            100.0 * spent as f64 / verdict.total.max(spent).max(1) as f64
        );
        if self.records().facts.machine.is_some() && verdict.main != Cause::Machine {
            text.push_str("; the machine was busy too");
        }
        text
    }

    /// What it was spent on, the most first: cause, time and part, as a table.
    pub fn table(&self, verdict: &Verdict) -> String {
        let mut text = String::new();
        let all: i64 = verdict.shares.iter().map(|(_, ticks)| ticks).sum();
        for (cause, ticks) in &verdict.shares {
            let part = 100.0 * *ticks as f64 / all.max(1) as f64;
            let _ = writeln!(
                text,
                "  {:>9} {part:>5.1} %  {:<14} {}",
                time(*ticks),
                cause.word(),
                cause.meaning()
            );
        }
        text
    }

    /// The steps of a path, one a line, with those that follow one another at one host for one cause together.
    pub fn steps(&self, region: usize, verdict: &Verdict, lines_max: usize) -> String {
        let begins = verdict.path.steps.first().map_or(0, |step| step.from);
        let lines = together(&verdict.path.steps);
        let mut text = String::new();
        let least = least_shown(&lines, lines_max);
        let mut left_out = 0;
        for line in &lines {
            if line.step.to - line.step.from < least {
                left_out += 1;
                continue;
            }
            let Step {
                from,
                to,
                host,
                with,
                chunk,
                cause,
            } = line.step;
            let what = match (line.chunks, chunk) {
                (0 | 1, Some(chunk)) => format!("chunk {chunk}"),
                (0 | 1, None) => String::new(),
                (count, _) => format!("{count} chunks"),
            };
            let of = with
                .filter(|_| line.is_of_one)
                .map_or_else(String::new, |with| format!(" <- {}", self.member(region, with)));
            let at = time(from - begins);
            let name = self.records().scenario.regions[region].host_name(host);
            let _ = writeln!(
                text,
                "  {at:>9} +{:<9} {:<14} {name}{of} {what}",
                time(to - from),
                cause.word()
            );
        }
        if left_out > 0 {
            let _ = writeln!(text, "  and {left_out} shorter steps between them");
        }
        text
    }

    fn detail(&self, region: usize, verdict: &Verdict) -> String {
        let (view, scenario) = (self.view(region), &self.records().scenario);
        let who = self.records().scenario.regions[region].host_name(verdict.who);
        let whose = if verdict.who == verdict.host {
            String::new()
        } else {
            format!("{who}: ")
        };
        let around = (0, 0);
        let class = |host: u32| {
            let class = view.plan.hosts.get(host as usize).and_then(|host| host.class);
            let class = class.and_then(|class| scenario.network.classes.get(usize::from(class)));
            class.map_or_else(String::new, |class| format!(", class {}", class.name))
        };
        let uplink = |member: Member| {
            let rate = view
                .links(member, around)
                .map_or_else(String::new, |links| format!(" of {}/s", Bytes::new(links.uplink)));
            let of_class = member.host_index(view.hosts()).map(class).unwrap_or_default();
            format!("{}, uplink{rate}{of_class}", self.member(region, member))
        };
        match (verdict.main, verdict.with) {
            (Cause::OwnLink, _) => {
                let host = Member::host(verdict.who);
                let rate = view
                    .links(host, around)
                    .map_or_else(String::new, |links| format!("{}/s", Bytes::new(links.downlink)));
                format!("{whose}{rate}{}", class(verdict.who))
            }
            (Cause::SenderLink | Cause::SeederLink, Some(with)) => uplink(with),
            (Cause::SeederSlots, Some(with)) => {
                let slots = scenario.swarm.seeder_slots;
                let slots = slots.map_or_else(String::new, |slots| format!(", swarm.seeder_slots = {slots}"));
                format!("{}{slots}", uplink(with))
            }
            (Cause::Silence | Cause::Queue | Cause::Refused, Some(with)) => {
                let fault = with
                    .host_index(view.hosts())
                    .and_then(|host| view.plan.hosts.get(host as usize));
                let fault = match fault.map(|host| host.serves) {
                    Some(Serves::Nothing | Serves::Claims) => ", which serves nothing in this scenario",
                    Some(Serves::Busy) => ", which is always busy in this scenario",
                    Some(Serves::Corrupt) => ", which sends wrong bytes in this scenario",
                    Some(Serves::Honest) | None => "",
                };
                format!("{whose}{}{fault}", self.member(region, with))
            }
            (Cause::Window, _) => {
                let window = scenario.swarm.chunks_in_flight;
                window.map_or_else(String::new, |window| {
                    format!("{whose}swarm.chunks_in_flight = {window}")
                })
            }
            (Cause::Log, _) => {
                let rows = scenario.network.logs.rows_per_second;
                if self.records().facts.is_live && !scenario.network.logs.is_limited() {
                    String::new()
                } else {
                    format!("{rows} rows a second")
                }
            }
            (Cause::Machine, _) => self.records().facts.machine.clone().unwrap_or_default(),
            (Cause::SharedLink, Some(with)) => format!("{whose}from {}", self.member(region, with)),
            _ => whose.trim_end_matches(": ").to_owned(),
        }
    }

    /// What a member is called.
    pub fn member(&self, region: usize, member: Member) -> String {
        let shape = &self.records().scenario.regions[region];
        match (member.host_index(shape.hosts), member.seeder_index(shape.hosts)) {
            (Some(host), _) => shape.host_name(host),
            (None, Some(0)) if shape.seeders == 1 => "the seeder".to_owned(),
            (None, Some(seeder)) if seeder < shape.seeders => format!("seeder {}", seeder + 1),
            _ => "a member that is not known".to_owned(),
        }
    }
}

/// Steps of one host for one cause that follow one another.
struct Line {
    step: Step,
    chunks: usize,
    is_of_one: bool,
}

fn together(steps: &[Step]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for step in steps {
        match lines.last_mut() {
            Some(line) if (line.step.host, line.step.cause) == (step.host, step.cause) => {
                line.step.to = step.to;
                line.chunks += usize::from(step.chunk.is_some());
                line.is_of_one &= line.step.with == step.with;
            }
            _ => lines.push(Line {
                step: *step,
                chunks: usize::from(step.chunk.is_some()),
                is_of_one: true,
            }),
        }
    }
    lines
}

/// How long a step is at least that is among the longest `count`.
fn least_shown(lines: &[Line], count: usize) -> i64 {
    let mut times: Vec<i64> = lines.iter().map(|line| line.step.to - line.step.from).collect();
    times.sort_unstable_by_key(|time| std::cmp::Reverse(*time));
    times.get(count.saturating_sub(1)).copied().unwrap_or_default()
}

/// Ticks as people read them.
pub(crate) fn time(ticks: i64) -> String {
    let ms = ticks as f64 * TICK_NANOS as f64 / 1e6;
    match ms {
        ms if ms.abs() < 10.0 => format!("{ms:.2} ms"),
        ms if ms.abs() < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1000.0),
    }
}
