//! Every key of a scenario file in one table: what the reader accepts and what the JSON Schema says.

use serde_json::{Map, Value, json};
use settings::parse_duration;

use crate::SwarmSettings;
use crate::report_fields;
use crate::words::{
    CUT_FROM, FAULT_KINDS, FIDELITIES, KEPT_STORES, LOCALITIES, POLICIES, TRANSPORTS, WAYS, Words, word_of,
};

/// A key, or a table.
pub(crate) struct Key {
    /// Its dotted path; `*` stands for a name that the user chooses.
    pub(crate) pattern: &'static str,
    pub(crate) kind: Kind,
    doc: &'static str,
    default: Default,
}

impl Key {
    /// What holds where it is not given: a value, a rule, or nothing.
    pub(crate) fn default_text(&self) -> String {
        self.default.text()
    }
}

/// What holds where a key is not given.
enum Default {
    /// As it would be written, or a rule; empty where there is none.
    Told(&'static str),
    /// Of the swarm's own settings, which come from the core.
    OfSwarm(fn(&SwarmSettings) -> String),
}

impl Default {
    fn text(&self) -> String {
        match self {
            Self::Told(text) => (*text).to_owned(),
            Self::OfSwarm(text) => text(&<SwarmSettings as std::default::Default>::default()),
        }
    }
}

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Table,
    Text,
    Texts,
    Seed,
    Number {
        min: u32,
        max: u32,
        unit: &'static str,
        hint: u32,
    },
    Duration,
    Size,
    Rate,
    Share,
    /// US dollars.
    Money,
    /// One of these.
    Words(&'static dyn Words),
}

const fn key(pattern: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        pattern,
        kind,
        doc,
        default: Default::Told(default),
    }
}

/// A key whose default is the core's.
const fn of_swarm(pattern: &'static str, kind: Kind, default: fn(&SwarmSettings) -> String, doc: &'static str) -> Key {
    Key {
        pattern,
        kind,
        doc,
        default: Default::OfSwarm(default),
    }
}

/// What is measured has no default.
fn measured(given: Option<usize>) -> String {
    given.map_or_else(|| "measured".to_owned(), |number| number.to_string())
}

const fn number(min: u32, max: u32, unit: &'static str, hint: u32) -> Kind {
    Kind::Number { min, max, unit, hint }
}

// One key a line: it is read as a table.
#[rustfmt::skip]
pub(crate) const KEYS: &[Key] = &[
    key("description", Kind::Text, "", "One line on what the scenario is for."),
    key("extends", Kind::Text, "", "Another scenario, relative to this file, that this one changes."),
    key("seed", Kind::Seed, "1", "Seed of everything random; printed in the report."),
    key("deadline", Kind::Duration, "from the lower bound and the times of faults", "When to give up, after the build is complete in the regional buckets."),
    key("fidelity", Kind::Words(&FIDELITIES), "faithful", "What a forecast simulates: the whole protocol, or for very large fleets its bare policy."),
    key("regions", Kind::Table, "", "The regions; each is a swarm of its own."),
    key("regions.*", Kind::Table, "", "A region; its name also names its bucket."),
    key("regions.*.hosts", number(1, 1_000_000, "hosts of the region", 100), "", "Hosts of the region."),
    key("regions.*.zones", number(1, 1000, "zones of the region", 3), "1", "Zones that the hosts are spread over."),
    key("regions.*.seeders", number(1, 8, "seeders of the region", 2), "1", "Seeders of the region. Each pulls the build, and begins with its part of the chunks."),
    key("build", Kind::Table, "", "The build to distribute."),
    key("build.id", Kind::Text, "build-<scenario>.zip", "Its S3 key."),
    key("build.size", Kind::Size, "", "Size of a build that is generated from the seed."),
    key("build.path", Kind::Text, "", "A real file instead of a generated one, relative to the file that says so."),
    key("build.chunk_size", Kind::Size, "by the build's size", "Unit of transfer and verification. Smaller spreads faster and costs more messages."),
    key("network", Kind::Table, "", "How hosts are connected."),
    key("network.transport", Kind::Words(&TRANSPORTS), "in-process", "Transport of a live run. The first two do not encrypt."),
    key("network.latency", Kind::Duration, "1ms", "One-way delay between hosts; a live run adds it to what the machine takes. Forecasts only above 10 s."),
    key("network.host", Kind::Table, "no limit", "Links of every host; leave it out to run flat out."),
    key("network.host.uplink", Kind::Rate, "", "What a host sends at most."),
    key("network.host.downlink", Kind::Rate, "", "What a host receives at most."),
    key("network.host.spread", Kind::Share, "0%", "How far hosts' links differ: each host's by one factor, uniform in 1 plus or minus this, drawn from the seed."),
    key("network.host.disk", Kind::Rate, "no limit", "What a host writes at most: it receives no faster (forecasts only)."),
    key("network.host.cores", number(1, 1024, "cores of a host", 2), "no limit", "Cores of a host, which limit what it sends and receives together to cores over cpu_per_gb (forecasts only)."),
    key("network.host.cpu_per_gb", Kind::Duration, "2 s, as TCP with TLS", "CPU time that a host takes to send a GB, or to receive one, where it has cores. TCP with TLS took 2.7 to 4.6 ns a byte at both ends together where it was measured."),
    key("network.classes", Kind::Table, "", "Kinds of hosts with links of their own."),
    key("network.classes.*", Kind::Table, "", "A kind of hosts."),
    key("network.classes.*.hosts", Kind::Share, "", "How many hosts of each region, or which share of them."),
    key("network.classes.*.uplink", Kind::Rate, "", "What such a host sends at most."),
    key("network.classes.*.downlink", Kind::Rate, "", "What such a host receives at most."),
    key("network.classes.*.disk", Kind::Rate, "network.host.disk", "What such a host writes at most (forecasts only)."),
    key("network.classes.*.cores", number(1, 1024, "cores of a host", 2), "network.host.cores", "Cores of such a host (forecasts only)."),
    key("network.classes.*.cpu_per_gb", Kind::Duration, "network.host.cpu_per_gb", "CPU time that such a host takes to send a GB, or to receive one."),
    key("network.zones", Kind::Table, "", "Between the zones of a region."),
    key("network.zones.latency", Kind::Duration, "network.latency", "One-way delay between hosts of different zones (forecasts only)."),
    key("network.zones.uplink", Kind::Rate, "no limit", "What a zone sends to the others at most, and receives from them; in a live run where all hosts are in one process."),
    key("network.zones.usd_per_gib", Kind::Money, "not counted", "What a GiB that crosses from one zone to another costs, in US dollars."),
    key("network.racks", Kind::Table, "", "Racks (forecasts only)."),
    key("network.racks.hosts", number(1, 10_000, "hosts of a rack", 40), "", "Hosts of a rack."),
    key("network.racks.uplink", Kind::Rate, "", "What a rack sends out at most, and receives."),
    key("network.bucket", Kind::Table, "", "The regional bucket; in a live run where the cloud is embedded."),
    key("network.bucket.rate", Kind::Rate, "no limit", "How fast a seeder pulls the build from it."),
    key("network.logs", Kind::Table, "", "The table of deployment logs."),
    key("network.logs.latency", Kind::Duration, "10ms", "How long writing a row takes (forecasts only)."),
    key("network.logs.rows_per_second", number(1, 1_000_000, "rows a second", 16_000), "16000", "Rows that the table takes a second. The embedded table of a live run refuses what is more, where fewer than 16,000 are set."),
    key("network.seeder", Kind::Table, "as a host", "Links of every seeder."),
    key("network.seeder.uplink", Kind::Rate, "", "What a seeder sends at most."),
    key("network.seeder.downlink", Kind::Rate, "", "What a seeder receives at most."),
    key("swarm", Kind::Table, "", "How the swarm behaves."),
    of_swarm("swarm.degree", number(1, 64, "neighbours per host", 12), |s| s.degree.to_string(), "Neighbours of a host."),
    of_swarm("swarm.policy", Kind::Words(&POLICIES), |s| s.policy.word().to_owned(), "Which chunk is asked for first."),
    of_swarm("swarm.upload_slots", number(1, 16, "chunks served at a time", 2), |s| measured(s.upload_slots), "Chunks that a host serves at a time."),
    of_swarm("swarm.chunks_in_flight", number(1, 64, "chunks asked for at a time", 3), |s| measured(s.chunks_in_flight), "Chunks that a host asks for at a time."),
    of_swarm("swarm.seeder_clients", number(1, 512, "hosts served by a seeder", 32), |s| s.seeder_clients.to_string(), "Hosts that a seeder sends chunks to."),
    of_swarm("swarm.seeder_slots", number(1, 64, "chunks that a seeder sends at a time", 2), |s| measured(s.seeder_slots), "Chunks that a seeder serves at a time."),
    of_swarm("swarm.have_interval", Kind::Duration, |s| format!("{:?}", s.have_interval), "How long news of acquired chunks wait for company."),
    of_swarm("swarm.patience", Kind::Duration, |s| format!("{:?}", s.patience), "A request without progress is not given up before this; another neighbour may be asked too much earlier. Less than a second needs hosts that are not busy otherwise."),
    of_swarm("swarm.locality", Kind::Words(&LOCALITIES), |s| word_of(&LOCALITIES, &s.locality).unwrap_or_default().to_owned(), "Whether payload stays within the zones of a region (two to eight of them) as far as possible."),
    key("workers", Kind::Table, "", "Worker processes of a live run."),
    key("workers.processes", number(1, 64, "worker processes", 6), "as few as the file limit allows", "Processes that the hosts are spread over (TCP and QUIC)."),
    key("faults", Kind::Table, "", "What goes wrong."),
    key("faults.*", Kind::Table, "", "A fault."),
    key("faults.*.kind", Kind::Words(&FAULT_KINDS), "", "What goes wrong: with hosts, between members (reset, partition, silent-cut), or with seeders."),
    key("faults.*.hosts", Kind::Share, "", "How many hosts of each region, or which share of them."),
    key("faults.*.regions", Kind::Texts, "all", "In which regions."),
    key("faults.*.zone", number(0, 999, "a zone, counted from 0", 1), "all", "In which zone of each region; hosts is then a number or a share of that zone's."),
    key("faults.*.at", Kind::Duration, "", "When, after the build is complete in the regional buckets. Members that do something else with requests do it from the start, and have none."),
    key("faults.*.seeder", number(0, 7, "a seeder, counted from 0", 1), "all", "Which seeder of each region (seeder-restart, seeder-lost)."),
    key("faults.*.for", Kind::Duration, "till the end (slow-down)", "How long (slow-down, pause, crash, partition, silent-cut, seeder-restart)."),
    key("faults.*.to", Kind::Share, "", "What is left of the links of its hosts (slow-down)."),
    key("faults.*.worst", Kind::Share, "as to", "Makes its hosts unequally slow, by a heavy tail: half of them have less than half of what to says, one of a hundred less than a hundredth of it, and none less than this (slow-down)."),
    key("faults.*.store", Kind::Words(&KEPT_STORES), "", "What its hosts still hold when they are back; what they held where it is left out (crash)."),
    key("faults.*.from", Kind::Words(&CUT_FROM), "", "Whom its hosts are cut from: everybody where it is left out, and for a reset the other hosts (reset, partition, silent-cut)."),
    key("faults.*.way", Kind::Words(&WAYS), "", "Which way nothing passes; both where it is left out (silent-cut)."),
    key("faults.*.connections", Kind::Share, "100%", "How many of each host's connections, or which share of them (reset)."),
    key("thresholds", Kind::Table, "", "What must hold at the end; else the exit code is 1."),
    key("thresholds.*", Kind::Text, "", "A field of the report, a comparison and a value, such as \"stretch.max <= 1.35\". x-report-fields lists the fields; a number without a unit is in the field's own, as 60 in \"fanout_latency_ms.p99 <= 60\" is 60 ms."),
];

/// The key at a path, whatever names the user has chosen in it.
pub(crate) fn key_at(path: &str) -> Option<&'static Key> {
    let is_at = |key: &&Key| {
        let (mut pattern, mut path) = (key.pattern.split('.'), path.split('.').map(str::trim));
        loop {
            match (pattern.next(), path.next()) {
                (None, None) => return true,
                (Some(expected), Some(part)) if expected == part || expected == "*" => {}
                _ => return false,
            }
        }
    };
    KEYS.iter().find(is_at)
}

/// The last part of `pattern` where it is directly below `parent`.
pub(crate) fn child_of<'a>(pattern: &'a str, parent: &str) -> Option<&'a str> {
    let rest = if parent.is_empty() {
        pattern
    } else {
        pattern.strip_prefix(parent)?.strip_prefix('.')?
    };
    (!rest.contains('.')).then_some(rest)
}

/// JSON Schema (draft 2020-12) of a scenario file.
pub fn schema() -> Value {
    let mut root = table_schema("");
    root.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    root.insert("title".to_owned(), json!("fleetcast scenario"));
    // What a file does not have may be in the one that it extends.
    root.insert(
        "anyOf".to_owned(),
        json!([{"required": ["extends"]}, {"required": ["regions", "build"]}]),
    );
    let mut schema = Value::Object(root);
    schema["properties"]["build"]["not"] = json!({"required": ["size", "path"]});
    schema["properties"]["regions"]["propertyNames"] =
        json!({"pattern": "^[a-z0-9][a-z0-9-]{0,39}$", "not": {"enum": ["all", "global"]}});
    // No word of JSON Schema says this, and validators pass over words they do not know.
    schema["properties"]["thresholds"]["x-report-fields"] = report_fields::schema_of_fields();
    schema
}

fn table_schema(pattern: &str) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut additional = json!(false);
    for key in KEYS {
        match child_of(key.pattern, pattern) {
            Some("*") => {
                // Whoever extends a file may not want all that it has.
                let out = json!({"const": false, "description": "Leaves out what an extended file has."});
                additional = json!({"anyOf": [key_schema(key), out]});
            }
            Some(name) => {
                properties.insert(name.to_owned(), key_schema(key));
            }
            None => {}
        }
    }
    let mut table = Map::new();
    table.insert("type".to_owned(), json!("object"));
    table.insert("properties".to_owned(), Value::Object(properties));
    table.insert("additionalProperties".to_owned(), additional);
    table
}

fn key_schema(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Table => table_schema(key.pattern),
        Kind::Text => object(json!({"type": "string"})),
        Kind::Texts => object(json!({"type": "array", "items": {"type": "string"}})),
        Kind::Seed => object(json!({"type": "integer", "minimum": 0, "maximum": crate::reader::SEED_MAX})),
        Kind::Number { min, max, .. } => object(json!({"type": "integer", "minimum": min, "maximum": max})),
        Kind::Duration => quantity(r"^\s*([0-9_.]+\s*(us|ms|s|m|min|h)\s*)+$", "150ms"),
        Kind::Size => quantity(r"^\s*[0-9_.]+\s*([kKMGT]|[KMGT]i)?B\s*$", "64 MiB"),
        Kind::Rate => quantity(r"^\s*[0-9_.]+\s*([kKMGT]|[KMGT]i)?(bit|B)/s\s*$", "1 Gbit/s"),
        Kind::Share => object(
            json!({"oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^[0-9.]+\s*%$"}]}),
        ),
        Kind::Money => object(json!({"type": "number", "minimum": 0})),
        Kind::Words(words) => {
            let told = words.told().into_iter();
            let each = told.map(|(word, meaning)| json!({"const": word, "description": meaning}));
            object(json!({"oneOf": each.collect::<Vec<_>>()}))
        }
    };
    let default = key.default.text();
    let doc = match default.as_str() {
        "" => key.doc.to_owned(),
        default => format!("{} Default: {default}.", key.doc),
    };
    schema.insert("description".to_owned(), json!(doc));
    if let Some(default) = default_value(key.kind, &default) {
        schema.insert("default".to_owned(), default);
    }
    Value::Object(schema)
}

/// The default as a value of the file, where it is one and not a rule such as "as a host".
pub(crate) fn default_value(kind: Kind, default: &str) -> Option<Value> {
    match kind {
        Kind::Seed | Kind::Number { .. } => default.parse::<u64>().ok().map(Value::from),
        Kind::Duration => parse_duration(default).ok().map(|_| json!(default)),
        Kind::Words(words) => words
            .told()
            .iter()
            .any(|(word, _)| *word == default)
            .then(|| json!(default)),
        _ => None,
    }
}

fn quantity(pattern: &str, example: &str) -> Map<String, Value> {
    object(json!({"type": "string", "pattern": pattern, "examples": [example]}))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
