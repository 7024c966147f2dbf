//! The page and the rows of a report: whole by themselves, and of what the report has.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::process::Command;

use serde_json::Value;

/// What a script draws anew is in the page, too.
fn has_its_figures(figure: &str) {
    let Some((_, figures)) = figure.split_once("<script type=\"application/json\">") else {
        return;
    };
    let (figures, _) = figures.split_once("</script>").unwrap();
    let figures: Value = serde_json::from_str(figures).unwrap();
    let lines = figures["lines"].as_array().unwrap();
    assert_eq!(lines.len(), figure.matches("<polyline").count());
}

#[test]
fn a_page_needs_nothing_but_itself_and_has_what_the_report_has() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/smoke.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["plan", scenario, "--out"])
        .arg(&out)
        .args([
            "--set",
            "description=a <b> & \"c\"",
            "--set",
            "thresholds.early=stretch.max <= 1",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let page = read("report.html");
    assert!(page.len() < 300_000, "{}", page.len());
    // The library says in a comment where it is from.
    const LIBRARY: &str = include_str!("../src/report/html/uplot/uPlot.iife.min.js");
    assert_eq!(page.matches(LIBRARY).count(), 1);
    let page = page.replace(LIBRARY, "");
    for outside in ["http://", "https://", "url(", "@import", "src=", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("a &lt;b&gt; &amp; &quot;c&quot;") && !page.contains("<b>"));
    assert!(page.contains("but with ") && page.contains("thresholds.early=stretch.max &lt;= 1"));
    // Convergence, percentiles, stages, sources in all and over time, what each host gave, age of chunks.
    assert_eq!(page.matches("<svg").count(), 7);
    // What is plotted stands in a table below it, too.
    for figure in page.split("<figure>").skip(1) {
        let figure = figure.split("</figure>").next().unwrap();
        assert!(figure.contains("<svg") && figure.contains("<table"), "{figure}");
        has_its_figures(figure);
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(
        page.contains("class=\"missed\">MISSED</td><td>early"),
        "what failed is first and in colour"
    );
    assert!(page.find("MISSED").unwrap() < page.find(">ok<").unwrap());
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("lower bound"));
    // Every point is a number within the plot.
    for points in page
        .split("points=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
    {
        for point in points.split(' ') {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y) = (x.parse::<f64>().unwrap(), y.parse::<f64>().unwrap());
            assert!((0.0..=720.0).contains(&x) && (0.0..=300.0).contains(&y), "{point}");
        }
    }

    let report: Value = serde_json::from_str(&read("report.json")).unwrap();
    let series = report["series"].as_array().unwrap();
    assert_eq!(series.len(), 2);
    let done = series[0]["done"].as_array().unwrap();
    let last = done.last().unwrap();
    assert_eq!(last[0], report["regions"][0]["fanout_latency_ms"]["max"]);
    assert_eq!(last[1], 100);
    // Nobody is done before he can be: by rank the curve of the bound is to the left.
    for (done, bound) in done.iter().zip(series[0]["bound"].as_array().unwrap()) {
        assert_eq!(done[1], bound[1]);
        assert!(
            done[0].as_f64().unwrap() >= bound[0].as_f64().unwrap() - 0.001,
            "{done} {bound}"
        );
    }

    let rows = read("hosts.csv");
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split(',').collect()).collect();
    assert_eq!(rows.len(), 201);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let column = |name: &str| rows[0].iter().position(|column| *column == name).unwrap();
    let sum = |name: &str| {
        rows[1..]
            .iter()
            .map(|row| row[column(name)].parse::<u64>().unwrap())
            .sum::<u64>()
    };
    assert_eq!(
        sum("bytes_from_peers"),
        report["traffic"]["from_peers_bytes"].as_u64().unwrap()
    );
    let latest = rows[1..]
        .iter()
        .map(|row| row[column("verified_after_ms")].parse::<f64>().unwrap())
        .fold(0.0, f64::max);
    assert_eq!(latest, report["fanout_latency_ms"]["max"].as_f64().unwrap());
}
