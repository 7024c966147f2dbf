//! From the tree to checked values. All problems are collected: who mends a file wants to mend it once.

use std::cell::RefCell;
use std::fmt::Display;
use std::path::Path;

use swarm::{BUILD_ID_LENGTH_MAX, CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, CHUNKS_MAX};

use crate::faults::{Fault, FaultKind, HostShare};
use crate::file::{Entry, Table, Value};
use crate::problem::{Place, Problem, ScenarioError};
use crate::quantity::{QuantityError, parse_duration, parse_rate, parse_size};
use crate::schema::{self, Kind};
use crate::thresholds::Threshold;
use crate::{Build, BuildSource, Links, Network, Policy, Region, Scenario, SwarmSettings, Transport};

pub(crate) fn read(path: &Path, tree: &Table) -> Result<Scenario, ScenarioError> {
    let name = path.file_stem().map_or_else(|| "scenario".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let reader = Reader {
        file: path.display().to_string(),
        problems: RefCell::new(Vec::new()),
    };
    let root = Section {
        reader: &reader,
        path: String::new(),
        pattern: String::new(),
        table: Some(tree),
    };
    reader.check_keys(tree, "", "");
    let scenario = Scenario {
        description: root.text("description").unwrap_or_default(),
        seed: root.integer("seed", 0, i64::MAX).map_or(1, i64::cast_unsigned),
        deadline: root.parsed("deadline", parse_duration),
        regions: read_regions(&root),
        build: read_build(&root, &name, path),
        network: read_network(&root),
        swarm: read_swarm(&root),
        worker_processes: root.section("workers").number("processes"),
        faults: read_faults(&root),
        thresholds: read_thresholds(&root),
        name,
    };
    let mut problems = reader.problems.into_inner();
    if problems.is_empty() {
        return Ok(scenario);
    }
    problems.sort_by_key(|(place, _)| place.as_ref().map(|place| (place.layer.name.clone(), place.span.start)));
    let problems = problems.into_iter().map(|(_, problem)| problem).collect();
    Err(ScenarioError { problems })
}

fn read_regions(root: &Section<'_>) -> Vec<Region> {
    let regions: Vec<Region> = root
        .section("regions")
        .named()
        .map(|(name, section)| {
            let bucket_safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if !name.chars().all(bucket_safe) || name.len() > 40 || name.starts_with('-') {
                section.problem("", "expected a name of at most 40 of a-z 0-9 -, since it names a bucket");
            }
            if section.entry("hosts").is_none() {
                section.problem("hosts", "missing; expected the number of hosts, such as hosts = 100");
            }
            Region {
                hosts: section.number("hosts").unwrap_or(1),
                zones: section.number("zones").unwrap_or(1),
                name,
            }
        })
        .collect();
    if regions.is_empty() {
        root.problem("regions", "missing; expected at least one table such as [regions.region-a] with hosts = 100");
    }
    regions
}

fn read_build(root: &Section<'_>, name: &str, file: &Path) -> Build {
    let build = root.section("build");
    let id = build.text("id").unwrap_or_else(|| format!("build-{name}.zip"));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
    let climbs = id.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    if id.is_empty() || id.len() > BUILD_ID_LENGTH_MAX || !id.chars().all(allowed) || climbs {
        build.problem("id", "expected an S3 key of the characters A-Z a-z 0-9 . _ / -, such as \"build-123.zip\"");
    }
    let size = build.parsed("size", parse_size);
    let source = match (size, build.text("path")) {
        (Some(_), Some(_)) => {
            build.problem("path", "given together with build.size; expected one of them");
            BuildSource::Generated { bytes: 1 }
        }
        (Some(bytes), None) => {
            if !(1..=BUILD_SIZE_MAX).contains(&bytes) {
                build.problem("size", "expected 1 B to 64 GiB");
            }
            BuildSource::Generated { bytes }
        }
        (None, Some(path)) => {
            let path = file.parent().unwrap_or_else(|| Path::new("")).join(path);
            let bytes = match std::fs::metadata(&path) {
                Ok(found) if found.is_file() && found.len() > 0 => found.len(),
                Ok(found) if found.is_file() => {
                    build.problem("path", format!("{} is empty; expected a build", path.display()));
                    1
                }
                Ok(_) => {
                    build.problem("path", format!("{} is not a file", path.display()));
                    1
                }
                Err(error) => {
                    build.problem("path", format!("{} cannot be read ({error}); expected a file", path.display()));
                    1
                }
            };
            BuildSource::File { path, bytes }
        }
        (None, None) => {
            if build.entry("size").is_none() {
                build.problem("size", "missing; expected build.size = \"4 MiB\", or build.path");
            }
            BuildSource::Generated { bytes: 1 }
        }
    };
    let chunk_size = build.parsed("chunk_size", parse_size).map(|bytes| {
        let (BuildSource::Generated { bytes: total } | BuildSource::File { bytes: total, .. }) = &source;
        if !(u64::from(CHUNK_SIZE_MIN)..=u64::from(CHUNK_SIZE_MAX)).contains(&bytes) {
            build.problem("chunk_size", "expected 16 B to 64 MiB; try \"64 KiB\" for small builds, \"16 MiB\" for large ones");
        } else if total.div_ceil(bytes) > CHUNKS_MAX.into() {
            build.problem("chunk_size", format!("makes more than {CHUNKS_MAX} chunks; expected larger ones"));
        }
        u32::try_from(bytes).unwrap_or(CHUNK_SIZE_MAX)
    });
    Build {
        id,
        source,
        chunk_size,
    }
}

fn read_network(root: &Section<'_>) -> Network {
    let network = root.section("network");
    let links = |key: &str| {
        let links = network.section(key);
        links.table?;
        let rate = |name: &str| {
            let rate = links.parsed(name, parse_rate);
            if links.entry(name).is_none() {
                links.problem(name, "missing; expected a rate, such as \"100 Mbit/s\"");
            }
            if rate == Some(0) {
                links.problem(name, "expected more than nothing; leave the table out for no limit");
            }
            rate.unwrap_or(1).max(1)
        };
        let (uplink, downlink) = (rate("uplink"), rate("downlink"));
        Some(Links { uplink, downlink })
    };
    let (host, seeder) = (links("host"), links("seeder"));
    if seeder.is_some() && host.is_none() {
        network.problem("seeder", "limits the seeder only; expected [network.host] as well");
    }
    Network {
        transport: network.word("transport", &TRANSPORTS).unwrap_or(Transport::InProcess),
        latency: network.parsed("latency", parse_duration).unwrap_or(std::time::Duration::from_millis(1)),
        host,
        seeder,
    }
}

fn read_swarm(root: &Section<'_>) -> SwarmSettings {
    let swarm = root.section("swarm");
    SwarmSettings {
        degree: swarm.number("degree").and_then(|n| u16::try_from(n).ok()).unwrap_or(12),
        policy: swarm.word("policy", &POLICIES).unwrap_or(Policy::LatestUseful),
        upload_slots: swarm.number("upload_slots").unwrap_or(2) as usize,
        chunks_in_flight: swarm.number("chunks_in_flight").unwrap_or(3) as usize,
        seeder_clients: swarm.number("seeder_clients").unwrap_or(32) as usize,
        have_interval: swarm.parsed("have_interval", parse_duration).unwrap_or(std::time::Duration::from_millis(5)),
    }
}

fn read_faults(root: &Section<'_>) -> Vec<Fault> {
    let regions: Vec<String> = root.section("regions").named().map(|(name, _)| name).collect();
    let read = |(name, fault): (String, Section<'_>)| {
        let kind = fault.word("kind", &FAULT_KINDS);
        if fault.entry("kind").is_none() {
            fault.problem("kind", "missing; expected \"leave\", \"join-late\", \"corrupt\" or \"stall\"");
        }
        let hosts = match fault.entry("hosts").map(|entry| &entry.value) {
            Some(Value::Integer(count)) => u32::try_from(*count).ok().map(HostShare::Count),
            Some(Value::Text(text)) => {
                let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                percent.filter(|p| (0.0..=100.0).contains(p)).map(HostShare::Percent)
            }
            _ => None,
        };
        if hosts.is_none() {
            fault.problem("hosts", "expected a number of hosts or a share of them, such as 10 or \"5%\"");
        }
        let chosen = fault.texts("regions");
        for region in chosen.iter().flatten().filter(|region| !regions.contains(region)) {
            fault.problem("regions", format!("names {region:?}, which is no region of this scenario"));
        }
        let at = fault.parsed("at", parse_duration);
        let timed = matches!(kind, Some(FaultKind::Leave | FaultKind::JoinLate));
        if timed && fault.entry("at").is_none() {
            fault.problem("at", "missing; expected when, after the build is complete in the region, such as \"3s\"");
        }
        if !timed && kind.is_some() && at.is_some() {
            fault.problem("at", "this kind of fault holds from the start; expected no time");
        }
        Fault {
            name,
            kind: kind.unwrap_or(FaultKind::Leave),
            hosts: hosts.unwrap_or(HostShare::Count(0)),
            regions: chosen,
            at: at.unwrap_or_default(),
        }
    };
    root.section("faults").named().map(read).collect()
}

fn read_thresholds(root: &Section<'_>) -> Vec<Threshold> {
    let section = root.section("thresholds");
    let names: Vec<String> = section.table.iter().flat_map(|table| table.entries.keys().cloned()).collect();
    let read = |name: String| {
        let text = section.text(&name)?;
        match Threshold::parse(&name, &text) {
            Ok(threshold) => Some(threshold),
            Err(error) => {
                section.problem(&name, error.to_string());
                None
            }
        }
    };
    names.into_iter().filter_map(read).collect()
}

struct Reader {
    file: String,
    problems: RefCell<Vec<(Option<Place>, Problem)>>,
}

impl Reader {
    /// Every key must be one that the schema knows.
    fn check_keys(&self, table: &Table, path: &str, pattern: &str) {
        for (key, entry) in &table.entries {
            let full = join(path, key);
            let known = [join(pattern, key), join(pattern, "*")];
            let found = schema::KEYS.iter().find(|k| known.iter().any(|pattern| k.pattern == *pattern));
            match (found, &entry.value) {
                (Some(found), Value::Table(inner)) if found.kind == Kind::Table => {
                    self.check_keys(inner, &full, found.pattern);
                }
                (Some(found), _) if found.kind == Kind::Table => {
                    self.report(&entry.place, format!("{full} — expected a table, [{full}]"));
                }
                (Some(_), _) => {}
                (None, _) => {
                    let siblings = schema::KEYS.iter().filter_map(|k| schema::child_of(k.pattern, pattern));
                    let nearest = siblings
                        .map(|sibling| (strsim::damerau_levenshtein(key, sibling), sibling))
                        .filter(|(distance, sibling)| *sibling != "*" && *distance <= 3.max(sibling.len() / 3))
                        .min();
                    let hint = match nearest {
                        Some((_, sibling)) => format!("did you mean {}?", join(path, sibling)),
                        None => {
                            let siblings = schema::KEYS.iter().filter_map(|k| schema::child_of(k.pattern, pattern));
                            let list: Vec<_> = siblings.collect();
                            format!("expected one of {}", list.join(", "))
                        }
                    };
                    self.report(&entry.place, format!("{full} is not a key of a scenario — {hint}"));
                }
            }
        }
    }

    fn report(&self, place: &Place, message: String) {
        self.problems.borrow_mut().push((Some(place.clone()), Problem::at(place, message)));
    }
}

/// A table of the tree, there or not, and how to name what is in it.
struct Section<'a> {
    reader: &'a Reader,
    path: String,
    pattern: String,
    table: Option<&'a Table>,
}

impl<'a> Section<'a> {
    fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.table?.entries.get(key)
    }

    fn section(&self, key: &str) -> Section<'a> {
        let table = match self.entry(key).map(|entry| &entry.value) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        };
        Section {
            reader: self.reader,
            path: join(&self.path, key),
            pattern: join(&self.pattern, key),
            table,
        }
    }

    /// The tables that this one names.
    fn named(&self) -> impl Iterator<Item = (String, Section<'a>)> {
        let keys: Vec<String> = self.table.iter().flat_map(|table| table.entries.keys().cloned()).collect();
        let sections: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let mut section = self.section(&key);
                section.pattern = join(&self.pattern, "*");
                (key, section)
            })
            .filter(|(_, section)| section.table.is_some())
            .collect();
        sections.into_iter()
    }

    /// Reports a problem at `key` of this section, or with the section where the key is not there.
    fn problem(&self, key: &str, message: impl Display) {
        let full = if key.is_empty() { self.path.clone() } else { join(&self.path, key) };
        let entry = self.entry(key);
        let shown = entry.map(|entry| show(&entry.value)).unwrap_or_default();
        let message = format!("{full}{shown} — {message}");
        let place = entry.map(|entry| &entry.place).or_else(|| {
            // A key that is missing: its section's first key is near enough.
            self.table?.entries.values().map(|entry| &entry.place).min_by_key(|place| place.span.start)
        });
        match place {
            Some(place) => self.reader.report(place, message),
            None => {
                let problem = Problem::of_file(self.reader.file.clone(), message);
                self.reader.problems.borrow_mut().push((None, problem));
            }
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        match &self.entry(key)?.value {
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.problem(key, "expected text in quotes");
                None
            }
        }
    }

    fn texts(&self, key: &str) -> Option<Vec<String>> {
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        let texts = match &self.entry(key)?.value {
            Value::Array(items) => items.iter().map(text).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        if texts.is_none() {
            self.problem(key, "expected a list of texts, such as [\"region-a\"]");
        }
        texts
    }

    fn integer(&self, key: &str, min: i64, max: i64) -> Option<i64> {
        match &self.entry(key)?.value {
            Value::Integer(number) if (min..=max).contains(number) => Some(*number),
            _ => {
                let range = if max == i64::MAX { format!("{min} or more") } else { format!("{min} to {max}") };
                self.problem(key, format!("expected {range}"));
                None
            }
        }
    }

    /// A number whose range the schema has.
    fn number(&self, key: &str) -> Option<u32> {
        let entry = self.entry(key)?;
        let pattern = join(&self.pattern, key);
        let described = schema::KEYS.iter().find(|k| k.pattern == pattern)?;
        let Kind::Number { min, max, unit, hint } = described.kind else {
            return None;
        };
        match &entry.value {
            Value::Integer(number) if (i64::from(min)..=i64::from(max)).contains(number) => u32::try_from(*number).ok(),
            _ => {
                self.problem(key, format!("expected {min} to {max} ({unit}); try {hint}"));
                None
            }
        }
    }

    fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, QuantityError>) -> Option<T> {
        let text = match &self.entry(key)?.value {
            Value::Text(text) => text.as_str(),
            // A bare number has no unit, and is told so.
            _ => "",
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(key, error);
                None
            }
        }
    }

    fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let entry = self.entry(key)?;
        let found = match &entry.value {
            Value::Text(text) => words.iter().find(|(word, _)| word == text),
            _ => None,
        };
        if found.is_none() {
            let list: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.problem(key, format!("expected one of {}", list.join(", ")));
        }
        found.map(|(_, value)| *value)
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn show(value: &Value) -> String {
    match value {
        Value::Text(text) => format!(" = {text:?}"),
        Value::Integer(number) => format!(" = {number}"),
        Value::Float(number) => format!(" = {number}"),
        Value::Boolean(value) => format!(" = {value}"),
        Value::Array(_) => " = […]".to_owned(),
        Value::Table(_) | Value::Other => String::new(),
    }
}

const TRANSPORTS: [(&str, Transport); 4] = [
    ("in-process", Transport::InProcess),
    ("memory", Transport::Memory),
    ("tcp", Transport::Tcp),
    ("quic", Transport::Quic),
];

const POLICIES: [(&str, Policy); 4] = [
    ("latest-useful", Policy::LatestUseful),
    ("rarest-first", Policy::RarestFirst),
    ("random", Policy::Random),
    ("sequential", Policy::Sequential),
];

const FAULT_KINDS: [(&str, FaultKind); 4] = [
    ("leave", FaultKind::Leave),
    ("join-late", FaultKind::JoinLate),
    ("corrupt", FaultKind::Corrupt),
    ("stall", FaultKind::Stall),
];

/// Builds that a run generates at most.
const BUILD_SIZE_MAX: u64 = 64 << 30;
