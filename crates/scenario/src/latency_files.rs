//! Latencies in the forms that HdrHistogram's own tools read: an interval log, and a list of percentiles.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::outcome::LatencyHistogram;

/// An interval log (`.hlog`) of one interval, which is `over` long: `all` without a tag, so that tools which look for none find it, then the
/// others with theirs. Values are microseconds; the largest one of each line is told in milliseconds.
pub fn interval_log(over: Duration, all: &LatencyHistogram, tagged: &[(&str, LatencyHistogram)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[Fan-out latency in microseconds: all hosts, then each region with its tag]")
        .with_max_value_divisor(1000.0);
    let mut log = builder
        .begin_log_with(&mut bytes, &mut serializer)
        .expect("a Vec takes whatever is written to it");
    let own = tagged.iter().map(|(tag, histogram)| (Some(plain(tag)), histogram));
    for (tag, histogram) in std::iter::once((None, all)).chain(own) {
        let tag = tag.as_deref().and_then(Tag::new);
        log.write_histogram(&histogram.histogram, Duration::ZERO, over, tag)
            .expect("a Vec takes whatever is written to it");
    }
    bytes
}

/// A tag has no comma and no blank.
fn plain(tag: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_graphic() && *c != ',';
    tag.chars().map(|c| if is_plain(&c) { c } else { '_' }).collect()
}

/// A histogram's percentiles in milliseconds (`.hgrm`), as HdrHistogram's tools print them and its plotter reads them.
pub fn percentiles(of: &LatencyHistogram) -> String {
    let of = &of.histogram;
    let milliseconds = |micros: u64| micros as f64 / 1000.0;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut count = 0;
    for step in of.iter_quantiles(TICKS_PER_HALF) {
        count += step.count_since_last_iteration();
        let (value, quantile) = (milliseconds(step.value_iterated_to()), step.quantile_iterated_to());
        let _ = write!(text, "{value:12.3} {quantile:2.12} {count:10}");
        // Of the last one there is nothing left.
        if quantile < 1.0 {
            let _ = write!(text, " {:14.2}", 1.0 / (1.0 - quantile));
        }
        text.push('\n');
    }
    let (mean, deviation) = (of.mean() / 1000.0, of.stdev() / 1000.0);
    let (max, len) = (milliseconds(of.max()), of.len());
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {len:12}]");
    text
}

/// Lines of percentiles for each time that what is left is halved, as HdrHistogram's tools have it.
const TICKS_PER_HALF: u32 = 5;

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    fn of(milliseconds: impl IntoIterator<Item = u64>) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::default();
        milliseconds
            .into_iter()
            .for_each(|ms| histogram.record(Duration::from_millis(ms)));
        histogram
    }

    #[test]
    fn an_interval_log_comes_back_with_its_tags_and_counts() {
        let (all, own) = (of(1..=100), of(1..=40));
        let bytes = interval_log(
            Duration::from_millis(100),
            &all,
            &[("region-a", own), ("two, words", of([]))],
        );
        let mut read = Vec::new();
        for entry in IntervalLogIterator::new(&bytes) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let encoded = BASE64_STANDARD.decode(interval.encoded_histogram()).unwrap();
                let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut encoded.as_slice()).unwrap();
                assert_eq!(interval.duration(), Duration::from_millis(100));
                let tag = interval.tag().map(|tag| tag.as_str().to_owned());
                read.push((tag, histogram.len(), interval.max().round() as u64));
            }
        }
        let expected = [
            (None, 100, 100),
            (Some("region-a".to_owned()), 40, 40),
            (Some("two__words".to_owned()), 0, 0),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn percentiles_are_lines_as_tools_print_them() {
        let text = percentiles(&of(1..=1000));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
        let half = lines.iter().find(|line| line.contains(" 0.500000000000 ")).unwrap();
        assert_eq!(
            half.split_whitespace().collect::<Vec<_>>(),
            ["500.223", "0.500000000000", "500", "2.00"]
        );
        let last = lines.iter().rfind(|line| !line.starts_with('#')).unwrap();
        let last: Vec<&str> = last.split_whitespace().collect();
        assert_eq!((last[1], last[2], last.len()), ("1.000000000000", "1000", 3));
        assert!(
            lines.last().unwrap().ends_with("Total count    =         1000]"),
            "{text}"
        );
        assert!(percentiles(&of([])).contains("Total count    =            0]"));
    }
}
