//! JSON Schema of `report.json`: the table of fields as a tree, and by hand what a report lists one by one.

use serde_json::{Map, Value, json};
use swarm::PeerStats;

use crate::report_fields::{PERCENTILES, REPORT_FIELDS, ReportField, ReportsOf, Unit};

/// JSON Schema (draft 2020-12) of a report.
pub fn report_schema() -> Value {
    let mut root = object();
    for field in REPORT_FIELDS {
        let parts: Vec<&str> = field.pattern.split('.').collect();
        put(&mut root, "", &parts, leaf(field));
    }
    for (path, schema) in lists() {
        let parts: Vec<&str> = path.split('.').collect();
        put(&mut root, "", &parts, schema);
    }
    let interrupted = json!({"type": "boolean", "description": "Whether somebody stopped it before it was done."});
    put(&mut root, "", &["interrupted"], interrupted);
    require_all(&mut root);
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("fleetcast report");
    root["properties"]["schema_version"]["const"] = json!(REPORT_SCHEMA_VERSION);
    root
}

/// Version of a report: it grows where a field gets another meaning or goes away.
pub const REPORT_SCHEMA_VERSION: u32 = 2;

fn object() -> Value {
    json!({"type": "object", "properties": {}, "additionalProperties": false})
}

/// Groups that are null as a whole, and when.
const NULL_GROUPS: [(&str, &str); 7] = [
    (
        "about.made",
        "When, where and by which command. Null in a forecast, which is the same everywhere: see timing.json beside it.",
    ),
    ("machine", "What the machine gave and took. Null in a forecast."),
    (
        "machine.load",
        "How the machine was during the fan-out. Null where it did not come to that.",
    ),
    (
        "machine.load.timer_lag_ms",
        "How much later than asked timers were. Null where none was looked at.",
    ),
    (
        "stages",
        "When what happened, in milliseconds from the beginning of the upload. Null but in a run by the pipeline.",
    ),
    ("simulation", "How a forecast was made. Null in a live run."),
    (
        "simulation.kernel_difference",
        "How far the bare policy is from the whole protocol, on a smaller fleet. Null where that was not simulated.",
    ),
];

/// Groups that are lists of regions.
const REGION_LISTS: [&str; 2] = ["regions", "stages.regions"];

fn put(into: &mut Value, path: &str, parts: &[&str], schema: Value) {
    let Some((first, rest)) = parts.split_first() else {
        return;
    };
    let names: Vec<&str> = match *first {
        "%" => PERCENTILES.to_vec(),
        "#" => PeerStats::NAMES.to_vec(),
        name => vec![name],
    };
    for name in names {
        if name == "*" && rest.is_empty() {
            into["additionalProperties"] = schema.clone();
            continue;
        }
        let below = match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        if rest.is_empty() {
            into["properties"][name] = schema.clone();
            continue;
        }
        let group = &mut into["properties"][name];
        if group.is_null() {
            *group = new_group(&below);
        }
        // What is below a region's sign is in the items of a list.
        if rest[0] == "*" && REGION_LISTS.contains(&below.as_str()) {
            put(&mut group["items"], &format!("{below}.*"), &rest[1..], schema.clone());
        } else {
            put(group, &below, rest, schema.clone());
        }
    }
}

fn new_group(path: &str) -> Value {
    if REGION_LISTS.contains(&path) {
        return json!({"type": "array", "items": object()});
    }
    let mut group = object();
    if let Some((_, when)) = NULL_GROUPS.iter().find(|(group, _)| *group == path) {
        group["type"] = json!(["object", "null"]);
        group["description"] = json!(when);
    }
    group
}

fn leaf(field: &ReportField) -> Value {
    let kind = match field.unit {
        Unit::Count | Unit::Bytes => "integer",
        Unit::Text | Unit::Words(_) => "string",
        Unit::Milliseconds | Unit::Seconds | Unit::Ratio | Unit::Percent | Unit::Dollars => "number",
    };
    // A limit is said of a live run only, and what limits is said of all.
    let may_be_null = field.pattern != "limited_by" && (!matches!(field.of, ReportsOf::Both) || is_unreached(field));
    let mut schema = match may_be_null {
        true => json!({"type": [kind, "null"]}),
        false => json!({"type": kind}),
    };
    if let Unit::Words(words) = field.unit {
        let words = words.iter().map(|word| json!(word));
        schema["enum"] = words.chain(may_be_null.then_some(Value::Null)).collect();
    }
    if matches!(kind, "integer" | "number")
        && !field.pattern.ends_with("percent")
        && !field.pattern.ends_with("set_seconds")
    {
        schema["minimum"] = json!(0);
    }
    let unit = match field.unit {
        Unit::Text | Unit::Words(_) | Unit::Count | Unit::Ratio => String::new(),
        unit => format!(" In {}.", unit.name()),
    };
    let reports = match field.of {
        ReportsOf::Both => String::new(),
        ReportsOf::LiveRuns(why) => format!(" Of live runs: {why}."),
        ReportsOf::Forecasts => " Of forecasts.".to_owned(),
    };
    schema["description"] = json!(format!("{}{unit}{reports}", field.doc));
    schema
}

/// Times that are not reached, and what is made of them.
fn is_unreached(field: &ReportField) -> bool {
    field.unit == Unit::Milliseconds || field.pattern.contains("stretch.") || field.pattern.contains("link_use.")
}

fn text(doc: &str) -> Value {
    json!({"type": "string", "description": doc})
}

fn texts(doc: &str) -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": doc})
}

fn count(doc: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "description": doc})
}

fn or_null(kinds: &[&str], doc: &str) -> Value {
    let kinds: Vec<&str> = kinds.iter().copied().chain(["null"]).collect();
    json!({"type": kinds, "description": doc})
}

/// A list of items with these fields.
fn list_of(doc: &str, fields: &[(&str, Value)]) -> Value {
    let mut item = object();
    for (name, schema) in fields {
        item["properties"][*name] = schema.clone();
    }
    json!({"type": "array", "items": item, "description": doc})
}

fn lists() -> Vec<(&'static str, Value)> {
    let values = json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "array"]},
        "description": "What each key of the scenario came to, and the rule where it has no value by itself."});
    let histograms = json!({"type": "object", "additionalProperties": {"type": "string"},
        "description": "By region, and all: HdrHistogram V2, base64, microseconds."});
    let left_out = [
        ("name", text("Its name in the scenario.")),
        ("expression", text("As it was written.")),
        ("reason", text("Why.")),
    ];
    let banned = [("host", text("Name of the host.")), ("by", count("How many others."))];
    vec![
        ("about.values", values),
        (
            "about.set",
            texts("What the command line changed in the scenario, in order: KEY=VALUE."),
        ),
        ("about.made.command", texts("The command, word by word.")),
        ("thresholds", thresholds()),
        (
            "thresholds_left_out",
            list_of("Those that say nothing of a forecast.", &left_out),
        ),
        ("warnings", texts("What of the scenario is legal and hardly meant.")),
        (
            "held_back",
            texts("Which hosts their disks or processors keep from using their links."),
        ),
        (
            "lost",
            texts("Parts of the run that were lost: nothing more is known of their hosts."),
        ),
        ("workers", workers()),
        (
            "logs.failed",
            texts("Rows that were not written, some of them, and why."),
        ),
        ("histograms.fanout_latency_us", histograms),
        ("series", series()),
        ("flows", flows()),
        ("fault_times", fault_times()),
        ("groups", groups()),
        ("last_hosts", last_hosts()),
        ("causes", causes()),
        ("stuck", stuck()),
        (
            "banned",
            list_of("Hosts that others banned for what they sent.", &banned),
        ),
    ]
}

fn workers() -> Value {
    let number = |doc: &str| or_null(&["number"], doc);
    let fields = [
        ("name", text("What it is called, and where it was.")),
        ("hosts", count("Its hosts.")),
        ("not_done", count("Those of them that were not done.")),
        ("p50_ms", number("When half of them were done.")),
        ("last_ms", number("When all of them were done.")),
        (
            "clock_offset_ms",
            number("What its clock was ahead of the run's; null where that is the same one."),
        ),
        ("clock_drift_ppm", number("What it gained, in millionths.")),
        (
            "clock_uncertainty_ms",
            number("How far from the truth its times may be that were mapped."),
        ),
    ];
    list_of("Worker processes, where there were any.", &fields)
}

fn thresholds() -> Value {
    let margin = "How far that is from where the verdict changes, in the unit of the field: above 0 where it holds.";
    let no_verdict = "Why there is no verdict although there was something to compare.";
    let fields = [
        ("name", text("Its name in the scenario.")),
        ("expression", text("As it was written.")),
        ("ok", or_null(&["boolean"], "Null where there is no verdict.")),
        (
            "actual",
            or_null(&["number", "string"], "What this report has for the field."),
        ),
        ("margin", or_null(&["number"], margin)),
        ("no_verdict", or_null(&["string"], no_verdict)),
    ];
    list_of("What was to hold at the end.", &fields)
}

fn series() -> Value {
    let point = json!({"type": "array", "items": {"type": "number", "minimum": 0}});
    let points = |doc: &str| json!({"type": "array", "items": point, "description": doc});
    let bound = "Likewise, how many could have been at most; empty where links are not limited.";
    let fields = [
        ("region", text("Name of the region.")),
        ("expected", count("Hosts of which the build was expected.")),
        (
            "done",
            points(
                "Milliseconds, and how many hosts were done by then: some of the hosts, the first and the last among them.",
            ),
        ),
        ("bound", points(bound)),
    ];
    list_of("Hosts that were done over time, by region.", &fields)
}

fn flows() -> Value {
    let point = json!({"type": "array", "items": {"type": "number"}});
    let points = |doc: &str| json!({"type": "array", "items": point, "description": doc});
    let fields = [
        ("region", text("Name of the region.")),
        (
            "received",
            points(
                "Milliseconds since the build was complete in the region's bucket, bytes that hosts had by then from seeders, and bytes from \
                 other hosts. Of the chunks that were recorded, which stand for all.",
            ),
        ),
        (
            "chunk_ages",
            points("Of chunks, some of many: milliseconds until a first host had it, and until the last one had."),
        ),
        (
            "given",
            points("Part of the hosts, from who gave most on, and how many builds that host has given to others."),
        ),
    ];
    list_of(
        "What passed over time, by region; none where nothing was recorded.",
        &fields,
    )
}

fn fault_times() -> Value {
    let fields = [
        ("name", text("The fault's name in the scenario.")),
        (
            "at_ms",
            json!({"type": "number", "minimum": 0, "description": "Since the build was complete in the region's bucket."}),
        ),
        ("until_ms", or_null(&["number"], "Null where it does not end.")),
    ];
    list_of("When what of the scenario goes wrong.", &fields)
}

fn groups() -> Value {
    let mut latencies = object();
    for percentile in PERCENTILES {
        latencies["properties"][percentile] = json!({"type": ["number", "null"], "minimum": 0});
    }
    let by = json!({"type": "string", "enum": ["class", "zone", "fault"], "description": "By what they are alike."});
    let fields = [
        ("region", text("Name of the region.")),
        ("by", by),
        (
            "name",
            text("Which class, zone, or kind of fault; most and none are those of no class and without a fault."),
        ),
        ("hosts", count("How many they are.")),
        ("verified", count("How many of them have the build.")),
        (
            "excused",
            count("Of how many nothing was expected: they are in no percentile."),
        ),
        ("fanout_latency_ms", latencies),
    ];
    list_of(
        "Hosts of a region that are alike, of each kind of which it has two or more.",
        &fields,
    )
}

fn last_hosts() -> Value {
    let fields = [
        ("region", text("Name of the region.")),
        ("host", text("Name of the host.")),
        (
            "cause",
            text("What made it late, in one word: `harness explain WORD` says what it means."),
        ),
        ("sentence", text("The same for people.")),
    ];
    list_of(
        "The last hosts of each region and why they were late, the very last first; none where nothing was recorded.",
        &fields,
    )
}

fn causes() -> Value {
    let fields = [
        ("region", text("Name of the region.")),
        (
            "hosts",
            count("Hosts that were looked at: the last hundredth of them, and of very many some."),
        ),
        ("cause", text("What they waited for, in one word.")),
        ("main_of", count("Of how many of them it is what made them late.")),
        (
            "share",
            json!({"type": "number", "minimum": 0, "description": "Part of their time beyond their bounds that it took."}),
        ),
    ];
    list_of(
        "What made the slowest hosts of each region late; none where nothing was recorded.",
        &fields,
    )
}

fn stuck() -> Value {
    let fields = [
        ("host", text("Name of the host.")),
        ("chunks_held", count("Chunks that it had.")),
        ("chunks_total", count("Chunks that there are, as far as it knew.")),
        (
            "chunks_without_source",
            count("Chunks that none of its neighbours had."),
        ),
        ("neighbours", count("Hosts that it was connected to.")),
        ("error", or_null(&["string"], "Why it could not go on.")),
    ];
    list_of("Hosts that were not done, some of them.", &fields)
}

/// A report has each of its fields, be it null.
fn require_all(schema: &mut Value) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(require_all);
        let names: Vec<Value> = properties.keys().map(|name| json!(name)).collect();
        if let Some(schema) = schema.as_object_mut() {
            insert_required(schema, names);
        }
    }
    if let Some(items) = schema.get_mut("items") {
        require_all(items);
    }
}

fn insert_required(schema: &mut Map<String, Value>, names: Vec<Value>) {
    if !names.is_empty() {
        schema.insert("required".to_owned(), Value::Array(names));
    }
}
