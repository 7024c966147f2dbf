//! Lines over two axes, as SVG that is part of a page: no script, nothing to load, colours by the page's variables. The figures stand beside it
//! as JSON, from which a script draws the same for who can point at it.

use std::fmt::Write;

use serde::{Serialize, Serializer};

/// A line.
#[derive(Serialize)]
pub(super) struct Line {
    pub(super) name: String,
    #[serde(serialize_with = "in_short")]
    pub(super) points: Vec<(f64, f64)>,
    /// What could not be better: drawn with gaps.
    pub(super) is_bound: bool,
    /// Number of its colour.
    pub(super) colour: usize,
}

/// Lines over two axes that begin at 0.
#[derive(Default, Serialize)]
pub(super) struct Plot<'a> {
    #[serde(skip)]
    pub(super) title: &'a str,
    pub(super) x_label: &'a str,
    pub(super) y_label: &'a str,
    pub(super) lines: Vec<Line>,
    /// What is written at places of the x axis; round numbers where empty.
    pub(super) x_ticks: Vec<(f64, String)>,
    /// Likewise of the y axis.
    pub(super) y_ticks: Vec<(f64, String)>,
    /// What happened at a place of the x axis.
    pub(super) marks: Vec<(f64, String)>,
    /// How a value goes on until the next point: straight up at the point, as what is counted does.
    pub(super) is_steps: bool,
    /// What a place of the x axis stands for.
    pub(super) x_unit: Unit,
    /// Likewise of the y axis.
    pub(super) y_unit: Unit,
    /// Of an axis of rates.
    pub(super) rate: Option<Rate>,
}

/// What a place of an axis stands for, so that a script can say it of any place and not of ticks alone.
#[derive(Clone, Copy, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unit {
    /// Itself.
    #[default]
    Plain,
    /// A percentile: 1 is p90, 2 is p99.
    Nines,
    /// Bytes a second, by [`Rate`].
    Rate,
}

/// A place `p` of the axis stands for 2^((`p` + `least`) × `bits`) bytes a second.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Rate {
    pub(super) bits: f64,
    pub(super) least: f64,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

impl Plot<'_> {
    /// The drawing, and its figures for a script.
    pub(super) fn html(&self) -> String {
        // A name cannot end the element: in JSON every < may be written so.
        let figures = serde_json::to_string(self).unwrap_or_default().replace('<', "\\u003c");
        format!(
            "<div class=\"plot\">{}<script type=\"application/json\">{figures}</script></div>",
            self.svg()
        )
    }

    fn svg(&self) -> String {
        let largest = |of: fn(&(f64, f64)) -> f64| {
            let all = self.lines.iter().flat_map(|line| line.points.iter().map(of));
            all.fold(0.0, f64::max).max(f64::MIN_POSITIVE)
        };
        let ticks_most = self.x_ticks.iter().map(|(at, _)| *at).fold(0.0, f64::max);
        let ticks_highest = self.y_ticks.iter().map(|(at, _)| *at).fold(0.0, f64::max);
        let (most_x, most_y) = (
            largest(|point| point.0).max(ticks_most) * 1.02,
            largest(|point| point.1).max(ticks_highest) * 1.05,
        );
        let x = |value: f64| LEFT + value / most_x * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / most_y * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            super::escape(self.title)
        );
        for (at, text) in self.y_ticks(most_y) {
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{text}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y(at) + 4.0,
                at = y(at),
            );
        }
        let x_ticks = match self.x_ticks.is_empty() {
            true => round_ticks(most_x)
                .into_iter()
                .map(|at| (at, super::short(at)))
                .collect(),
            false => self.x_ticks.clone(),
        };
        for (at, text) in x_ticks {
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{}\"/><text x=\"{at:.1}\" y=\"{}\" \
                 text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 16.0,
                super::escape(&text),
                at = x(at),
            );
        }
        for line in &self.lines {
            svg.push_str(&self.path(line, x, y));
        }
        svg.push_str(&self.named_marks(most_x, x));
        let _ = write!(
            svg,
            "<text class=\"axis\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text><text class=\"axis\" x=\"{LEFT}\" \
             y=\"{}\" dx=\"4\" dy=\"8\">{}</text></svg>",
            f64::midpoint(LEFT, WIDTH),
            HEIGHT - 6.0,
            super::escape(self.x_label),
            TOP,
            super::escape(self.y_label)
        );
        svg
    }

    /// What happened, up to the last point: beyond it there is nothing to see.
    fn named_marks(&self, most_x: f64, x: impl Fn(f64) -> f64) -> String {
        let mut svg = String::new();
        for (number, (at, text)) in self.marks.iter().filter(|(at, _)| *at <= most_x).enumerate() {
            let at = x(*at);
            let (anchor, beside) = if at > WIDTH / 2.0 {
                ("end", -4.0)
            } else {
                ("start", 4.0)
            };
            let _ = write!(
                svg,
                "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"{anchor}\">{}</text>",
                HEIGHT - BOTTOM,
                at + beside,
                TOP + 26.0 + 14.0 * (number % MARK_ROWS) as f64,
                super::escape(text),
            );
        }
        svg
    }

    fn y_ticks(&self, most: f64) -> Vec<(f64, String)> {
        if !self.y_ticks.is_empty() {
            return self.y_ticks.clone();
        }
        let ticks = round_ticks(most).into_iter();
        ticks.map(|at| (at, super::escape(&super::short(at)))).collect()
    }

    fn path(&self, line: &Line, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
        let mut points = String::new();
        let mut before: Option<f64> = None;
        for (at, value) in &line.points {
            if let (true, Some(before)) = (self.is_steps, before) {
                let _ = write!(points, "{:.1},{:.1} ", x(*at), y(before));
            }
            let _ = write!(points, "{:.1},{:.1} ", x(*at), y(*value));
            before = Some(*value);
        }
        let class = if line.is_bound { "line bound" } else { "line" };
        format!(
            "<polyline class=\"{class} c{}\" points=\"{}\"><title>{}</title></polyline>",
            line.colour % COLOURS,
            points.trim_end(),
            super::escape(&line.name)
        )
    }
}

/// Numbers as they are read, without digits that no plot can show.
fn in_short<S: Serializer>(points: &[(f64, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    serializer.collect_seq(points.iter().map(|(x, y)| (rounded(*x), rounded(*y))))
}

/// Some five round numbers from 0 on.
fn round_ticks(most: f64) -> Vec<f64> {
    let rough = most / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(rough);
    (0..=6)
        .map(|number| f64::from(number) * step)
        .take_while(|at| *at <= most)
        .collect()
}

/// Rows in which marks that are close to each other are named.
const MARK_ROWS: usize = 4;

/// Colours that the page has.
pub(super) const COLOURS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_the_figures_of_a_plot() {
        let name = "</script><b>&\"".to_owned();
        let line = |name| Line {
            name,
            points: vec![(0.0, 0.0), (1.0 / 3.0, 2.0)],
            is_bound: false,
            colour: 0,
        };
        let plot = Plot {
            lines: vec![line(name.clone())],
            marks: vec![(0.1, name.clone())],
            ..Plot::default()
        };
        let html = plot.html();
        let (_, figures) = html.split_once("<script type=\"application/json\">").unwrap();
        let (figures, rest) = figures.split_once("</script>").unwrap();
        assert_eq!(rest, "</div>");
        let figures: serde_json::Value = serde_json::from_str(figures).unwrap();
        assert_eq!(figures["lines"][0]["name"], name.as_str());
        assert_eq!(figures["marks"][0][1], name.as_str());
        assert_eq!(figures["lines"][0]["points"][1], serde_json::json!([0.333_333, 2.0]));
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(round_ticks(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(round_ticks(2.7), [0.0, 1.0, 2.0]);
        for most in [1e-9, 0.3, 7.0, 12_345.0, 1e12] {
            let ticks = round_ticks(most);
            assert!((2..=7).contains(&ticks.len()), "{most}: {ticks:?}");
        }
    }
}
