//! What passed while a run went on, on its page: stages, bytes over time, what each host gave, how old chunks became, faults, the machine.

use std::fmt::Write;

use swarm::Bytes;

use super::plot::{COLOURS, Line, Plot, Rate, Unit};
use super::{CURVES_MAX, Report, escape};
use crate::report::flows::RegionFlow;
use crate::report::summary::time;

impl Report {
    /// Where the plot over time has a mark.
    pub(super) fn fault_marks(&self) -> Vec<(f64, String)> {
        let later = self.fault_times.iter().filter(|fault| fault.at_ms > 0.0);
        let marks = later.flat_map(|fault| {
            let ends = fault
                .until_ms
                .map(|until| (until / 1000.0, format!("{} ends", fault.name)));
            [Some((fault.at_ms / 1000.0, fault.name.clone())), ends]
        });
        marks.flatten().collect()
    }

    /// What has no mark, since it is so all the time.
    pub(super) fn faults_from_the_start(&self) -> String {
        let from_the_start = self.fault_times.iter().filter(|fault| fault.at_ms <= 0.0);
        let names: Vec<&str> = from_the_start.map(|fault| fault.name.as_str()).collect();
        match names.is_empty() {
            true => String::new(),
            false => format!("; from the beginning: {}", names.join(", ")),
        }
    }

    /// Copy to the region, pull by its seeders, fan-out to its hosts.
    pub(super) fn stage_bars(&self, page: &mut String) {
        let stages = |region: &crate::report::RegionReport| {
            let copied = region.replicated_after_ms.unwrap_or_default();
            let seeding = copied + region.seeding_after_ms?;
            let done = copied + region.fanout_latency_ms.max?;
            Some([copied, seeding, done.max(seeding)])
        };
        let all: Vec<_> = self
            .regions
            .iter()
            .filter_map(|region| Some((region, stages(region)?)))
            .collect();
        let last = all.iter().map(|(_, ends)| ends[2]).fold(0.0, f64::max);
        if last <= 0.0 {
            return;
        }
        let (mut bars, mut rows) = (String::new(), String::new());
        for (row, (region, ends)) in all.iter().enumerate() {
            let (mut from, mut cells) = (0.0, String::new());
            for (index, (end, what)) in ends.iter().zip(STAGES).enumerate() {
                let x = |ms: f64| ms / last * 720.0;
                if *end > from {
                    let _ = write!(
                        bars,
                        "<rect class=\"f{index}\" x=\"{:.2}\" y=\"{}\" width=\"{:.2}\" height=\"20\"><title>{}: {what}</title></rect>",
                        x(from),
                        row * 28 + 4,
                        (x(*end) - x(from)).max(1.0).min(720.0 - x(from)),
                        escape(&region.name),
                    );
                }
                let _ = write!(cells, "<td>{}</td>", time(Some(end - from)));
                from = *end;
            }
            let _ = write!(rows, "<tr><td>{}</td>{cells}</tr>", escape(&region.name));
        }
        let heads = STAGES
            .iter()
            .enumerate()
            .map(|(index, what)| format!("<th class=\"c{index}\">&#9632; {what}</th>"));
        let _ = writeln!(
            page,
            "<h2>Stages of the way</h2>\n<figure><svg viewBox=\"0 0 720 {}\" role=\"img\" aria-label=\"stages by region\">{bars}</svg>\
             <table><tr><th></th>{}</tr>{rows}</table></figure>",
            all.len() * 28,
            heads.collect::<String>()
        );
    }

    /// What was recorded, over time, by host and by chunk; nothing where nothing was.
    pub(super) fn flow_plots(&self, page: &mut String) {
        if self.flows.is_empty() {
            return;
        }
        self.rates(page);
        self.given(page);
        self.chunk_ages(page);
    }

    fn rates(&self, page: &mut String) {
        let rates: Vec<_> = self
            .shown()
            .into_iter()
            .map(|(colour, flow)| Rates::of(colour, flow))
            .collect();
        let Some(scale) = Scale::of(&rates) else { return };
        let plot = Plot {
            title: "Where bytes came from, over time",
            x_label: "seconds since the build was complete in the regional bucket",
            y_label: "bytes a second, each line 32 times the one below",
            lines: rates.iter().flat_map(|of| of.lines(&scale)).collect(),
            y_ticks: scale.ticks(),
            y_unit: Unit::Rate,
            rate: Some(Rate {
                bits: TICK_BITS,
                least: scale.least,
            }),
            marks: self.fault_marks(),
            ..Plot::default()
        };
        let rows = rates.iter().map(|of| {
            let most = |points: &[(f64, f64)]| points.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
            let (_, seeders, hosts) = of.flow.received.last().copied().unwrap_or_default();
            let told = |sum: u64, points: &[(f64, f64)]| {
                format!(
                    "<td>{}</td><td>{}/s</td>",
                    Bytes::new(sum),
                    Bytes::new(most(points) as u64)
                )
            };
            format!(
                "<tr><td>{}</td>{}{}</tr>",
                escape(&of.flow.region),
                told(seeders, &of.from_seeders),
                told(hosts, &of.from_hosts)
            )
        });
        let table = format!(
            "<table><tr><th></th><th>from the seeders</th><th>at most</th><th>from other hosts</th><th>at most</th></tr>{}</table>\
             <p>Of the chunks that were recorded, which stand for all.</p>",
            rows.collect::<String>()
        );
        self.figure(page, &plot, "drawn with gaps: from the seeders", &table);
        self.link_rows(page);
    }

    /// How much of what links could carry they did.
    fn link_rows(&self, page: &mut String) {
        let percent =
            |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0));
        let limited = self
            .regions
            .iter()
            .filter(|region| region.link_use.host_uplinks.is_some());
        let rows = limited.map(|region| {
            let of = &region.link_use;
            let cells = [of.seeder_uplinks, of.host_uplinks, of.host_downlinks]
                .map(|share| format!("<td>{}</td>", percent(share)));
            format!("<tr><td>{}</td>{}</tr>", escape(&region.name), cells.concat())
        });
        let rows: String = rows.collect();
        if !rows.is_empty() {
            let _ = writeln!(
                page,
                "<table><tr><th>links used until the last host</th><th>seeders, up</th><th>hosts, up</th><th>hosts, down</th></tr>{rows}</table>"
            );
        }
    }

    fn given(&self, page: &mut String) {
        let line = |(index, flow): &(usize, &RegionFlow)| Line {
            name: flow.region.clone(),
            points: flow
                .given
                .iter()
                .map(|(part, builds)| (part * 100.0, *builds))
                .collect(),
            is_bound: false,
            colour: *index,
        };
        let flows = self.shown();
        let plot = Plot {
            title: "What each host gave to others",
            x_label: "percent of the hosts, from who gave most on",
            y_label: "builds",
            lines: flows.iter().map(line).collect(),
            ..Plot::default()
        };
        let rows = flows.iter().map(|(_, flow)| {
            let at = |part: f64| {
                flow.given
                    .iter()
                    .find(|(at, _)| *at >= part)
                    .or_else(|| flow.given.last())
                    .map_or(0.0, |point| point.1)
            };
            let cells = [0.0, 0.1, 0.5, 0.9].map(|part| format!("<td>{:.2}</td>", at(part)));
            format!("<tr><td>{}</td>{}</tr>", escape(&flow.region), cells.concat())
        });
        let table = format!(
            "<table><tr><th>builds given</th><th>most</th><th>a tenth gave more</th><th>half</th><th>nine tenths</th></tr>{}</table>",
            rows.collect::<String>()
        );
        self.figure(page, &plot, "", &table);
    }

    fn chunk_ages(&self, page: &mut String) {
        let flows = self.shown();
        let line = |index: usize, flow: &RegionFlow, is_first: bool| {
            let of = flow.chunk_ages.len().max(1) as f64;
            let points = flow.chunk_ages.iter().enumerate().map(|(place, (first, last))| {
                let ms = if is_first { first } else { last };
                ((place + 1) as f64 / of * 100.0, ms.max(0.0) / 1000.0)
            });
            Line {
                name: format!("{}, {}", flow.region, if is_first { "first copy" } else { "last copy" }),
                points: points.collect(),
                is_bound: is_first,
                colour: index,
            }
        };
        let lines = flows
            .iter()
            .flat_map(|(index, flow)| [line(*index, flow, true), line(*index, flow, false)]);
        let plot = Plot {
            title: "Age of chunks, from the first copy to the last",
            x_label: "percent of the chunks, in the order of their first copy",
            y_label: "seconds",
            lines: lines.collect(),
            ..Plot::default()
        };
        let rows = flows.iter().map(|(_, flow)| {
            let mut ages: Vec<f64> = flow.chunk_ages.iter().map(|(first, last)| last - first).collect();
            ages.sort_by(f64::total_cmp);
            let at = |place: usize| time(ages.get(place).copied());
            let last_first = flow.chunk_ages.last().map(|(first, _)| *first);
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&flow.region),
                time(last_first),
                at(0),
                at(ages.len() / 2),
                at(ages.len().saturating_sub(1))
            )
        });
        let table = format!(
            "<table><tr><th></th><th>last first copy after</th><th>youngest</th><th>half are older than</th><th>oldest</th></tr>{}</table>",
            rows.collect::<String>()
        );
        self.figure(page, &plot, "drawn with gaps: a first host has the chunk", &table);
    }

    /// What the machine was like, of a live run.
    pub(super) fn machine_rows(&self, page: &mut String) {
        let Some(machine) = &self.machine else { return };
        let mut rows = vec![
            ("cores".to_owned(), machine.cores.to_string()),
            ("processor time".to_owned(), format!("{:.1} s", machine.cpu_seconds)),
            ("most memory".to_owned(), Bytes::new(machine.peak_rss_bytes).to_string()),
        ];
        if let Some(load) = &machine.load {
            let percent = |share: Option<f64>| share.map(|share| format!("{:.0} %", share * 100.0));
            let told = [
                ("taken by this run", percent(Some(load.own_share))),
                ("taken by other programs", percent(load.other_busy_share)),
                ("given by the hypervisor to others", percent(load.steal_share)),
                (
                    "time that threads waited for a core",
                    percent(load.run_queue_delay_share),
                ),
                ("timers late, p99", load.timer_lag_ms.map(|lag| time(Some(lag.p99)))),
                ("busiest link busy", percent(load.busiest_link_share)),
            ];
            rows.extend(
                told.into_iter()
                    .filter_map(|(what, value)| Some((what.to_owned(), value?))),
            );
        }
        let rows = rows
            .iter()
            .map(|(what, value)| format!("<tr><td>{what}</td><td>{}</td></tr>", escape(value)));
        let _ = writeln!(
            page,
            "<h2>The machine</h2>\n<table>{}</table>\n<p>Limited by {}{}.</p>",
            rows.collect::<String>(),
            escape(self.limited_by),
            self.limited_because
                .as_ref()
                .map_or_else(String::new, |why| format!(", since {}", escape(why)))
        );
    }

    /// Regions that have lines of their own, each with the number of its colour in all plots.
    fn shown(&self) -> Vec<(usize, &RegionFlow)> {
        let regions = self.series.iter().take(CURVES_MAX).enumerate();
        let shown = regions.filter_map(|(index, curve)| {
            let own = self.flows.iter().find(|flow| flow.region == curve.region)?;
            Some((index, own))
        });
        shown.collect()
    }
}

/// Bytes a second of a region between the times that were told, each in the middle of its time.
struct Rates<'a> {
    colour: usize,
    flow: &'a RegionFlow,
    from_seeders: Vec<(f64, f64)>,
    from_hosts: Vec<(f64, f64)>,
}

impl<'a> Rates<'a> {
    fn of(colour: usize, flow: &'a RegionFlow) -> Self {
        let begin = std::iter::once(&(0.0, 0, 0));
        let pairs = begin.chain(&flow.received).zip(&flow.received);
        let rate = |bytes: (u64, u64), ms: f64| bytes.1.saturating_sub(bytes.0) as f64 * 1000.0 / ms;
        let (from_seeders, from_hosts) = pairs
            .filter(|(from, to)| to.0 > from.0)
            .map(|(from, to)| {
                let (at, ms) = (f64::midpoint(from.0, to.0) / 1000.0, to.0 - from.0);
                ((at, rate((from.1, to.1), ms)), (at, rate((from.2, to.2), ms)))
            })
            .unzip();
        Self {
            colour,
            flow,
            from_seeders,
            from_hosts,
        }
    }

    fn lines(&self, scale: &Scale) -> [Line; 2] {
        let line = |points: &[(f64, f64)], from: &str, is_bound: bool| Line {
            name: format!("{}, from {from}", self.flow.region),
            points: points.iter().map(|(at, rate)| (*at, scale.height(*rate))).collect(),
            is_bound,
            colour: self.colour,
        };
        [
            line(&self.from_seeders, "the seeders", true),
            line(&self.from_hosts, "other hosts", false),
        ]
    }
}

/// An axis on which each tick is so many times the one below: seeders send a thousandth of what hosts do.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    /// Of all rates; none where nothing passed.
    fn of(rates: &[Rates<'_>]) -> Option<Self> {
        let all = rates.iter().flat_map(|of| of.from_seeders.iter().chain(&of.from_hosts));
        let steps = all
            .filter(|(_, rate)| *rate > 0.0)
            .map(|(_, rate)| rate.log2() / TICK_BITS);
        let (least, most) = steps.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), step| {
            (least.min(step), most.max(step))
        });
        least.is_finite().then(|| Self {
            least: least.floor(),
            most: most.ceil(),
        })
    }

    fn height(&self, rate: f64) -> f64 {
        if rate > 0.0 {
            rate.log2() / TICK_BITS - self.least
        } else {
            0.0
        }
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let ticks = (0_u16..)
            .map(f64::from)
            .take_while(|tick| *tick <= (self.most - self.least).max(1.0));
        ticks
            .map(|tick| {
                let bytes = ((tick + self.least) * TICK_BITS).exp2();
                (tick, format!("{}/s", Bytes::new(bytes as u64)))
            })
            .collect()
    }
}

const STAGES: [&str; 3] = ["copy to the region", "pull by the seeders", "fan-out"];
/// A tick of the axis of rates is 32 times the one before.
const TICK_BITS: f64 = 5.0;
const _: () = assert!(STAGES.len() <= COLOURS);
