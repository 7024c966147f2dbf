//! `report.html`: the report as a page that opens anywhere, without a network. Each plot has its figures in a table below it. All can be
//! read where scripts are blocked; where they run, a library draws the plots, with values under the cursor.
//!
//! Map: `plot` draws lines, `flows` has what passed over time, stages and the machine, `vendored` is the library, `page.js` calls it; here is
//! the rest.

mod flows;
mod plot;
mod vendored;

use std::fmt::Write;

use swarm::Bytes;

use super::series::Curve;
use super::{Report, summary};
use plot::{COLOURS, Line, Plot, Unit};

impl Report {
    /// The page.
    pub(crate) fn to_html(&self) -> String {
        let title = format!("{} ({}, seed {})", self.scenario, self.mode, self.seed);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>{}{STYLE}</style></head><body>\n\
             <h1>{title}</h1>\n<p>{}</p>\n",
            vendored::STYLE,
            escape(&self.description),
            title = escape(&title),
        );
        if !self.about.set.is_empty() {
            // What the scenario says of itself is not what was run then.
            let _ = writeln!(page, "<p>but with {}</p>", escape(&self.about.set.join(", ")));
        }
        self.verdicts(&mut page);
        self.figures(&mut page);
        self.convergence(&mut page);
        self.percentiles(&mut page);
        self.stage_bars(&mut page);
        self.sources(&mut page);
        self.flow_plots(&mut page);
        self.reasons(&mut page);
        self.machine_rows(&mut page);
        self.scenario_values(&mut page);
        vendored::scripts(&mut page);
        page.push_str("</body></html>\n");
        page
    }

    fn verdicts(&self, page: &mut String) {
        let hosts = &self.hosts;
        let _ = writeln!(
            page,
            "<p class=\"big\">{} of {} hosts verified{}</p>",
            hosts.verified,
            hosts.total,
            [
                (hosts.failed, "failed"),
                (hosts.pending, "pending"),
                (hosts.excused, "excused")
            ]
            .iter()
            .filter(|(count, _)| *count > 0)
            .fold(String::new(), |text, (count, what)| format!("{text}, {count} {what}"))
        );
        let mut thresholds: Vec<_> = self.thresholds.iter().collect();
        // What failed first.
        thresholds.sort_by_key(|threshold| threshold.ok != Some(false));
        let rows = thresholds.into_iter().map(|threshold| {
            let (class, word) = match threshold.ok {
                Some(true) => ("ok", "ok"),
                Some(false) => ("missed", "MISSED"),
                None => ("none", "no verdict"),
            };
            let actual = threshold.actual.to_string();
            format!(
                "<tr><td class=\"{class}\">{word}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&threshold.name),
                escape(&threshold.expression),
                escape(&actual)
            )
        });
        let rows: String = rows.collect();
        if !rows.is_empty() {
            let _ = writeln!(
                page,
                "<table><tr><th></th><th>threshold</th><th></th><th>it is</th></tr>{rows}</table>"
            );
        }
    }

    fn figures(&self, page: &mut String) {
        let row = |name: &str, hosts: usize, of: &super::Latencies| {
            let cells = [of.p50, of.p90, of.p99, of.p999, of.max].map(|ms| format!("<td>{}</td>", summary::time(ms)));
            format!("<tr><td>{}</td><td>{hosts}</td>{}</tr>", escape(name), cells.concat())
        };
        let regions = self
            .regions
            .iter()
            .map(|of| row(&of.name, of.hosts as usize, &of.fanout_latency_ms));
        let _ = writeln!(
            page,
            "<h2>Fan-out latency</h2>\n<table><tr><th></th><th>hosts</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th>\
             <th>max</th></tr>{}{}</table>",
            regions.collect::<String>(),
            row("all", self.hosts.total, &self.fanout_latency_ms)
        );
        let groups = self.groups.iter().map(|of| {
            let name = format!("{}, {} {}", of.region, of.by, of.name);
            row(&name, of.hosts, &of.fanout_latency_ms)
        });
        let groups: String = groups.collect();
        if !groups.is_empty() {
            let _ = writeln!(
                page,
                "<table><tr><th>hosts that are alike</th><th>hosts</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th>\
                 <th>max</th></tr>{groups}</table>"
            );
        }
        if let Some(bound) = self.lower_bound_ms {
            let last = self
                .stretch
                .last
                .map_or_else(|| "-".to_owned(), |last| format!("{last:.3}"));
            let bound = summary::time(Some(bound));
            let _ = writeln!(page, "<p>Lower bound {bound}; stretch of the last host {last}.</p>");
        }
    }

    /// Hosts done over time, with what could have been.
    fn convergence(&self, page: &mut String) {
        let line = |curve: &Curve, index: usize, is_bound: bool| {
            let points = if is_bound { &curve.bound } else { &curve.done };
            Line {
                name: format!("{}{}", curve.region, if is_bound { ", lower bound" } else { "" }),
                points: std::iter::once((0.0, 0.0))
                    .chain(points.iter().map(|(ms, hosts)| (ms / 1000.0, *hosts as f64)))
                    .collect(),
                is_bound,
                colour: index,
            }
        };
        let curves = self.series.iter().enumerate().take(CURVES_MAX);
        let lines = curves.flat_map(|(index, curve)| [line(curve, index, true), line(curve, index, false)]);
        let plot = Plot {
            title: "Hosts that have the build, by how long it took",
            x_label: "seconds since the build was complete in the regional bucket, or since a late host came",
            y_label: "hosts",
            lines: lines.filter(|line| line.points.len() > 1).collect(),
            marks: self.fault_marks(),
            is_steps: true,
            ..Plot::default()
        };
        let quarter = |curve: &Curve, points: &[(f64, usize)], quarter: usize| {
            let wanted = (curve.expected * quarter).div_ceil(4);
            let found = points.iter().find(|(_, hosts)| *hosts >= wanted);
            summary::time(found.map(|(ms, _)| *ms))
        };
        let rows = self.series.iter().map(|curve| {
            let cells = (1..=4).map(|part| {
                let bound = match curve.bound.is_empty() {
                    true => String::new(),
                    false => format!(" ({})", quarter(curve, &curve.bound, part)),
                };
                format!("<td>{}{bound}</td>", quarter(curve, &curve.done, part))
            });
            format!(
                "<tr><td>{}</td>{}</tr>",
                escape(&curve.region),
                cells.collect::<String>()
            )
        });
        let table = format!(
            "<table><tr><th></th><th>a quarter</th><th>half</th><th>three quarters</th><th>all</th></tr>{}</table>\
             <p>In brackets the lower bound.</p>",
            rows.collect::<String>()
        );
        self.figure(
            page,
            &plot,
            &format!(
                "drawn with gaps: what no schedule can beat{}",
                self.faults_from_the_start()
            ),
            &table,
        );
    }

    /// Latency on an axis on which the last of a thousand has as much room as the last of ten.
    fn percentiles(&self, page: &mut String) {
        let line = |(index, curve): (usize, &Curve)| {
            let of = curve.expected.max(1) as f64;
            let nines = |rank: usize| -(1.0 - (rank as f64 - 0.5) / of).log10();
            Line {
                name: curve.region.clone(),
                points: curve
                    .done
                    .iter()
                    .map(|(ms, rank)| (nines(*rank).max(0.0), ms / 1000.0))
                    .collect(),
                is_bound: false,
                colour: index,
            }
        };
        let most = self.series.iter().map(|curve| curve.expected).max().unwrap_or(1).max(1) as f64;
        let ticks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
        let at = |percent: f64| -(1.0 - percent / 100.0).log10();
        let plot = Plot {
            title: "Latency by percentile",
            x_label: "percentile of the hosts",
            y_label: "seconds",
            lines: self.series.iter().enumerate().take(CURVES_MAX).map(line).collect(),
            x_ticks: ticks
                .into_iter()
                .filter(|percent| at(*percent) <= most.log10() + 0.31)
                .map(|percent| (at(percent), format!("p{percent}")))
                .collect(),
            x_unit: Unit::Nines,
            ..Plot::default()
        };
        let row = |name: &str, of: &super::Latencies| {
            let cells = [of.p50, of.p90, of.p99, of.p999, of.max].map(|ms| format!("<td>{}</td>", summary::time(ms)));
            format!("<tr><td>{}</td>{}</tr>", escape(name), cells.concat())
        };
        let rows = self.regions.iter().map(|of| row(&of.name, &of.fanout_latency_ms));
        let table = format!(
            "<table><tr><th></th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>{}</table>",
            rows.collect::<String>()
        );
        self.figure(page, &plot, "", &table);
    }

    /// Why the last hosts were late, and what the slowest waited for.
    fn reasons(&self, page: &mut String) {
        if self.last_hosts.is_empty() {
            return;
        }
        let sentences = self
            .last_hosts
            .iter()
            .map(|last| format!("<li>{}</li>", escape(&last.sentence)));
        let rows = self.causes.iter().map(|of| {
            let share = format!("{:.0} %", of.share * 100.0);
            let cells =
                [&of.region, &of.hosts.to_string(), of.cause, &share].map(|cell| format!("<td>{}</td>", escape(cell)));
            format!("<tr>{}</tr>", cells.concat())
        });
        let _ = writeln!(
            page,
            "<h2>Why the last hosts were late</h2>\n<ul>{}</ul>\n<table><tr><th>region</th><th>slowest hosts</th><th>waited for</th>\
             <th>of their time beyond their bounds</th></tr>{}</table>\n<p>harness explain has the way of each host back to the bucket, \
             and what these words mean.</p>",
            sentences.collect::<String>(),
            rows.collect::<String>()
        );
    }

    fn sources(&self, page: &mut String) {
        let t = &self.traffic;
        let parts = [
            ("from the seeders", t.from_seeder_bytes),
            ("from peers", t.from_peers_bytes),
            ("wasted", t.wasted_bytes),
        ];
        let all = parts.iter().map(|(_, bytes)| bytes).sum::<u64>().max(1) as f64;
        let (mut bars, mut rows, mut from) = (String::new(), String::new(), 0.0);
        for (index, (name, bytes)) in parts.into_iter().enumerate() {
            let share = bytes as f64 / all;
            let _ = write!(
                bars,
                "<rect class=\"f{index}\" x=\"{:.2}\" y=\"0\" width=\"{:.2}\" height=\"28\"><title>{name}</title></rect>",
                from * 720.0,
                share * 720.0
            );
            let _ = write!(
                rows,
                "<tr><td class=\"c{index}\">{name}</td><td>{}</td><td>{:.2} %</td></tr>",
                Bytes::new(bytes),
                share * 100.0
            );
            from += share;
        }
        for region in &self.regions {
            let _ = write!(
                rows,
                "<tr><td>sent by the seeders of {}</td><td>{}</td><td>{:.2} builds</td></tr>",
                escape(&region.name),
                Bytes::new(region.seeder_sent_bytes),
                region.seeder_copies
            );
        }
        let _ = writeln!(
            page,
            "<h2>Where the bytes came from</h2>\n<figure><svg viewBox=\"0 0 720 28\" role=\"img\" aria-label=\"sources of \
             bytes\">{bars}</svg><table>{rows}</table></figure>"
        );
    }

    fn scenario_values(&self, page: &mut String) {
        let rows = self.about.values.iter().map(|(key, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("<tr><td>{}</td><td>{}</td></tr>", escape(key), escape(&value))
        });
        let _ = writeln!(
            page,
            "<h2>What it is a report of</h2>\n<p>Made once more by</p><pre>{}</pre>\n<p>harness at {}; limited by {}.</p>\n\
             <details><summary>All values of the scenario</summary><table>{}</table></details>",
            escape(&self.about.replay),
            escape(self.git_revision),
            escape(self.limited_by),
            rows.collect::<String>()
        );
    }

    fn figure(&self, page: &mut String, plot: &Plot<'_>, caption: &str, table: &str) {
        let keys = self.series.iter().enumerate().take(CURVES_MAX).map(|(index, curve)| {
            format!(
                "<span class=\"c{}\">&#9632; {}</span> ",
                index % COLOURS,
                escape(&curve.region)
            )
        });
        let more = self.series.len().saturating_sub(CURVES_MAX);
        let more = if more > 0 {
            format!("and {more} regions more in report.json; ")
        } else {
            String::new()
        };
        let _ = writeln!(
            page,
            "<h2>{}</h2>\n<figure>{}<figcaption>{}{more}{}</figcaption>{table}</figure>",
            escape(plot.title),
            plot.html(),
            keys.collect::<String>(),
            escape(caption)
        );
    }
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e4 => format!("{} k", value / 1e3),
        value => format!("{}", (value * 1e6).round() / 1e6),
    }
}

/// Text as a page has it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Regions that have curves of their own: more cannot be told apart.
const CURVES_MAX: usize = COLOURS;

/// Light and dark, on a phone and on paper.
const STYLE: &str = "
:root{--ink:#1b1f24;--dim:#5b6570;--paper:#fff;--grid:#dfe3e8;--ok:#1a7f37;--bad:#cf222e;--0:#0969da;--1:#bc4c00;--2:#8250df;--3:#1a7f37;--4:#bf3989;--5:#9a6700}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9aa4af;--paper:#0d1117;--grid:#30363d;--ok:#3fb950;--bad:#ff7b72;--0:#58a6ff;--1:#f0883e;--2:#bc8cff;--3:#3fb950;--4:#f778ba;--5:#d29922}}
@media print{:root{--paper:#fff;--ink:#000}details,.uplot,.of-script{display:none}}
@media screen{.drawn svg{display:none}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:800px;margin:0 auto;padding:1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}.big{font-size:1.25rem}
table{border-collapse:collapse;font-size:.9rem;display:block;overflow-x:auto}td,th{padding:.2rem .7rem .2rem 0;text-align:left}
figure{margin:0;overflow-x:auto}svg{width:100%;min-width:560px;height:auto}figcaption,.axis{color:var(--dim);font-size:.9rem}
svg text{fill:var(--dim);font-size:12px}.grid{stroke:var(--grid)}.mark{stroke:var(--bad);stroke-dasharray:2 3}.line{fill:none;stroke:currentColor;stroke-width:2}.bound{stroke-dasharray:5 4;opacity:.7}
.c0{color:var(--0)}.c1{color:var(--1)}.c2{color:var(--2)}.c3{color:var(--3)}.c4{color:var(--4)}.c5{color:var(--5)}
.f0{fill:var(--0)}.f1{fill:var(--1)}.f2{fill:var(--2)}
.u-legend.u-inline{text-align:left;margin:0;overflow:visible}.u-legend .u-series>*{padding:0 .3rem 0 0}.u-select{background:var(--dim);opacity:.25}
.ok{color:var(--ok)}.missed{color:var(--bad);font-weight:bold}.none{color:var(--1)}pre{overflow-x:auto;white-space:pre-wrap}
";
