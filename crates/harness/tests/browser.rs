//! `report.html` in a real browser: nothing wrong, nothing asked of the network, plots drawn and readable, on a desk and on a phone.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod chromium;

use std::path::{Path, PathBuf};
use std::process::Command;

use chromium::Chromium;
use serde_json::Value;

/// What of a page a reader would notice.
const LOOK: &str = r"(() => {
    const marks = 'polyline, path, rect, circle';
    const light = color => {
        const part = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        const [red, green, blue] = color.match(/[\d.]+/g).map(Number);
        return 0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue);
    };
    const body = getComputedStyle(document.body);
    const [darker, lighter] = [light(body.color), light(body.backgroundColor)].sort((a, b) => a - b);
    const plot = svg => {
        const box = svg.getBoundingClientRect(), all = [...svg.querySelectorAll(marks)];
        const shown = mark => {
            const { width, height } = mark.getBoundingClientRect(), { visibility, stroke, fill } = getComputedStyle(mark);
            return width + height > 0 && visibility === 'visible' && (stroke !== 'none' || fill !== 'none');
        };
        const within = mark => {
            const { left, right, top, bottom } = mark.getBoundingClientRect();
            return left >= box.left - 2 && right <= box.right + 2 && top >= box.top - 2 && bottom <= box.bottom + 2;
        };
        const texts = [...svg.querySelectorAll('text')];
        const scale = svg.getScreenCTM().a;
        return {
            name: svg.getAttribute('aria-label'), width: box.width, height: box.height, marks: all.length,
            shown: all.filter(shown).length, within: all.concat(texts).filter(within).length, texts: texts.length,
            text: Math.min(...texts.map(text => parseFloat(getComputedStyle(text).fontSize) * scale)),
        };
    };
    // What the library draws: letters and grid are grey, lines are not.
    const canvas = holder => {
        const canvas = holder.querySelector('canvas'), { width, height, right } = canvas.getBoundingClientRect();
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let colored = 0;
        for (let at = 0; at < data.length; at += 4) {
            const pixel = data.slice(at, at + 3);
            colored += data[at + 3] > 100 && Math.max(...pixel) - Math.min(...pixel) > 60;
        }
        return { name: canvas.getAttribute('aria-label'), width, height, colored, beyond: right - holder.getBoundingClientRect().right };
    };
    return {
        plots: [...document.querySelectorAll('svg')].filter(svg => !svg.closest('.drawn')).map(plot),
        drawn: [...document.querySelectorAll('.drawn')].map(canvas),
        lines: document.querySelectorAll('.plot').length,
        elements: document.querySelectorAll('*').length,
        beyond: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        contrast: (lighter + 0.05) / (darker + 0.05),
        dark: light(body.backgroundColor) < 0.2,
    };
})()";

/// What is wrong with a page, where scripts run and where they are blocked.
fn faults(browser: &mut Chromium, page: &Path, width: u32, scheme: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for with_scripts in [true, false] {
        browser.allow_scripts(with_scripts);
        faults.extend(faults_of_one(browser, page, width, scheme, with_scripts));
    }
    browser.allow_scripts(true);
    faults
}

/// In as many words as a reader would say it.
fn faults_of_one(browser: &mut Chromium, page: &Path, width: u32, scheme: &str, with_scripts: bool) -> Vec<String> {
    browser.open(page, width, scheme);
    let look = browser.value(LOOK);
    let mut faults = browser.complaints(page);
    let number = |of: &Value, key: &str| of[key].as_f64().unwrap_or(0.0);
    let plots = look["plots"].as_array().unwrap();
    if plots.is_empty() {
        faults.push("has no plot".to_owned());
    }
    for plot in plots {
        let (marks, texts) = (number(plot, "marks"), number(plot, "texts"));
        if number(plot, "width").min(number(plot, "height")) < PLOT_LEAST
            || marks == 0.0
            || number(plot, "shown") < marks
        {
            faults.push(format!("a plot is not drawn: {plot}"));
        } else if number(plot, "within") < marks + texts {
            faults.push(format!("a plot leaves its frame: {plot}"));
        }
        // A bar has no text of its own.
        if texts > 0.0 && number(plot, "text") < TEXT_LEAST {
            faults.push(format!("a plot cannot be read: {plot}"));
        }
    }
    let drawn = look["drawn"].as_array().unwrap();
    if drawn.len() as f64 != if with_scripts { number(&look, "lines") } else { 0.0 } {
        faults.push(format!("has plots that a script did not draw: {}", look["drawn"]));
    }
    for plot in drawn {
        if number(plot, "width").min(number(plot, "height")) < PLOT_LEAST || number(plot, "colored") < COLORED_LEAST {
            faults.push(format!("a plot is not drawn by the script: {plot}"));
        } else if number(plot, "beyond") > 1.0 {
            faults.push(format!("a plot leaves its frame: {plot}"));
        }
    }
    if number(&look, "beyond") > 0.0 {
        faults.push(format!("is wider than the screen by {}", look["beyond"]));
    }
    if number(&look, "contrast") < CONTRAST_LEAST || look["dark"] != (scheme == "dark") {
        faults.push(format!(
            "has a contrast of {}, and is dark: {}",
            look["contrast"], look["dark"]
        ));
    }
    if number(&look, "elements") > ELEMENTS_MAX {
        faults.push(format!("has {} elements", look["elements"]));
    }
    faults
}

/// The page of a forecast.
fn page(folder: &Path, scenario: &str, options: &[&str]) -> PathBuf {
    let out = folder.join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .arg("plan")
        .arg(format!("{}/../../scenarios/{scenario}", env!("CARGO_MANIFEST_DIR")))
        .arg("--out")
        .arg(&out)
        .args(options)
        .output()
        .unwrap();
    let page = out.join("report.html");
    assert!(page.is_file(), "{}", String::from_utf8_lossy(&output.stderr));
    page
}

/// The page of a small forecast, in its folder, and a browser; none where no Chromium is there.
fn smoke() -> Option<(tempfile::TempDir, PathBuf, Chromium)> {
    let program = chromium::program()?;
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path(), "smoke.toml", &[]);
    Some((folder, page, Chromium::start(&program)))
}

#[test]
fn a_page_opens_without_an_error_or_a_request_and_its_plots_are_drawn() {
    let Some((_folder, page, mut browser)) = smoke() else {
        return;
    };
    for (width, scheme) in [(1200, "light"), (1200, "dark"), (390, "light"), (390, "dark")] {
        let faults = faults(&mut browser, &page, width, scheme);
        assert!(faults.is_empty(), "{width} wide, {scheme}: {faults:#?}");
    }
    // What is drawn is seen, and not only there.
    browser.open(&page, 1200, "light");
    let shown = browser.picture();
    browser.value("document.querySelectorAll('svg, canvas').forEach(svg => svg.style.visibility = 'hidden')");
    assert_ne!(shown, browser.picture(), "the page looks the same without its plots");
}

#[test]
fn the_page_of_ten_thousand_hosts_is_no_larger_for_a_browser() {
    let Some(program) = chromium::program() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let small = [
        "--no-records",
        "--set",
        "build.size=256 KiB",
        "--set",
        "build.chunk_size=32 KiB",
    ];
    let page = page(folder.path(), "10k-hosts.toml", &small);
    let mut browser = Chromium::start(&program);
    let faults = faults(&mut browser, &page, 1200, "light");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn what_is_wrong_with_a_page_is_seen() {
    let Some((folder, page, mut browser)) = smoke() else {
        return;
    };
    let whole = std::fs::read_to_string(page).unwrap();
    let changed = folder.path().join("changed.html");
    let cases = [
        ("</body>", "<script>throw new Error('broken')</script></body>", "throws"),
        ("</body>", "<script>console.error('broken')</script></body>", "says"),
        ("</body>", "<img src=\"http://127.0.0.1:1/x.png\"></body>", "asks for"),
        ("</body>", "<link rel=\"stylesheet\" href=\"x.css\"></body>", "asks for"),
        (
            ".line{fill:none;stroke:currentColor",
            ".line{fill:none;stroke:none",
            "is not drawn",
        ),
        ("new uPlot(", "new noPlot(", "throws"),
        ("new uPlot(", "new noPlot(", "did not draw"),
        (
            "(`--${colour}`), width: 2",
            "(`--${colour}`), width: 0",
            "not drawn by the script",
        ),
        ("svg{width:100%", "svg{display:none;width:100%", "is not drawn"),
        (
            "</body>",
            "<p style=\"width:2000px\">wide</p></body>",
            "wider than the screen",
        ),
        ("--ink:#1b1f24", "--ink:#ddd", "contrast"),
        (
            "svg text{fill:var(--dim);font-size:12px",
            "svg text{fill:var(--dim);font-size:5px",
            "cannot be read",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(whole.contains(from), "{from}");
        std::fs::write(&changed, whole.replacen(from, to, 1)).unwrap();
        let faults = faults(&mut browser, &changed, 1200, "light");
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{to}: {faults:#?}");
    }
}

#[test]
fn a_reader_points_at_a_plot_and_is_told_its_values_and_draws_a_part_larger() {
    let Some((_folder, page, mut browser)) = smoke() else {
        return;
    };
    browser.open(&page, 1200, "light");
    const FIRST: &str = "document.querySelector('.drawn')";
    let place = browser.value(&format!(
        "{FIRST}.scrollIntoView(), (({{ left, top, width, height }}) => [left, top, width, height])({FIRST}.querySelector('.u-over').getBoundingClientRect())"
    ));
    let place: Vec<f64> = place
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of.as_f64().unwrap())
        .collect();
    let at = |x: f64, y: f64| (place[0] + place[2] * x, place[1] + place[3] * y);
    let values = format!("[...{FIRST}.querySelectorAll('.u-value')].map(value => value.textContent).join()");
    let drawing = format!("{FIRST}.querySelector('canvas').toDataURL()");
    let whole = browser.value(&drawing);

    browser.mouse("mouseMoved", at(0.1, 0.5), 0);
    browser.mouse("mouseMoved", at(0.6, 0.5), 0);
    let told = browser.value(&values);
    // The place, then bound and hosts done of both regions.
    let told: Vec<f64> = told
        .as_str()
        .unwrap()
        .split(',')
        .map(|value| value.parse().unwrap())
        .collect();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told[0] > 0.0 && told[1] >= told[2] && told[1] <= 100.0, "{told:?}");

    browser.mouse("mousePressed", at(0.6, 0.5), 1);
    browser.mouse("mouseMoved", at(0.8, 0.5), 1);
    browser.mouse("mouseReleased", at(0.8, 0.5), 1);
    assert_ne!(
        browser.value(&drawing),
        whole,
        "a part that was drawn over is not shown larger"
    );
    for clicks in 1..=2 {
        browser.mouse("mousePressed", at(0.7, 0.5), clicks);
        browser.mouse("mouseReleased", at(0.7, 0.5), clicks);
    }
    assert_eq!(browser.value(&drawing), whole, "two clicks do not bring the whole back");
    assert!(browser.complaints(&page).is_empty());
}

#[test]
fn paper_gets_the_drawings_and_nothing_to_click_at() {
    let Some((_folder, page, mut browser)) = smoke() else {
        return;
    };
    browser.open(&page, 800, "dark");
    browser.print();
    let shown = "[...document.querySelectorAll('svg, .uplot, .of-script')].filter(of => of.getBoundingClientRect().height > 0)\
                 .map(of => of.tagName).join()";
    assert_eq!(browser.value(shown), ["svg"; 7].join(","));
}

/// Makes the pictures of README anew: `scripts/pictures.sh`. They are of a forecast, which is the same everywhere.
#[test]
#[ignore = "writes into docs/pictures"]
fn pictures() {
    let Some(program) = chromium::program() else {
        return;
    };
    let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pictures");
    std::fs::create_dir_all(&to).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = [
        "--set",
        "description=500 hosts of which 1 % stall and 1 % send wrong bytes, and a seeder that is away; 2 GiB",
        "--set",
        "regions.region-a.hosts=500",
        "--set",
        "build.size=2 GiB",
        "--set",
        "faults.seeder-dies.at=1s",
    ];
    let page = page(folder.path(), "bad-day.toml", &options);
    let mut browser = Chromium::start(&program);
    for (name, scheme) in [("report.png", "light"), ("report-dark.png", "dark")] {
        browser.open(&page, PICTURE.0, scheme);
        std::fs::write(to.join(name), browser.picture_of(PICTURE)).unwrap();
    }
}

/// Width and height of a picture: what a reader sees first.
const PICTURE: (u32, u32) = (860, 1540);
/// Pixels of a plot's sides: a bar is low.
const PLOT_LEAST: f64 = 20.0;
/// Pixels of a letter's height that can be read.
const TEXT_LEAST: f64 = 9.0;
/// Pixels of a plot's lines: of one across a plot more.
const COLORED_LEAST: f64 = 100.0;
/// WCAG 2.1, level AA, for text.
const CONTRAST_LEAST: f64 = 4.5;
/// Of a page that scrolls without jerks on a phone; tables of every host would have more.
const ELEMENTS_MAX: f64 = 3_000.0;
