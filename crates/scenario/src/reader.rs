//! From the tree to checked values. All problems are collected: who mends a file wants to mend it once.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use settings::{Table, Value, parse_duration, parse_rate, parse_size};
use swarm::{BUILD_ID_LENGTH_MAX, CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, CHUNKS_MAX};

use crate::ScenarioError;
use crate::faults::{self, HostShare};
use crate::file::shown;
use crate::section::{Reader, Section};
use crate::thresholds::Threshold;
use crate::words::{FIDELITIES, LOCALITIES, POLICIES, TRANSPORTS};
use crate::{
    Build, BuildSource, HostClass, HostParts, Links, LogNetwork, Network, RackNetwork, Region, Scenario, SwarmSettings,
    Transport, ZoneNetwork,
};
use crate::{kernel_keys, shares, values};

pub(crate) fn read(path: &Path, tree: &Table, given_twice: Vec<String>) -> Result<Scenario, ScenarioError> {
    let name = match path.to_str() {
        Some("-") => "stdin".to_owned(),
        _ => path
            .file_stem()
            .map_or_else(|| "scenario".to_owned(), |stem| stem.to_string_lossy().into_owned()),
    };
    let reader = Reader {
        file: shown(path),
        problems: RefCell::new(Vec::new()),
    };
    let root = Section {
        reader: &reader,
        path: String::new(),
        pattern: String::new(),
        table: Some(tree),
        place: None,
    };
    reader.check_keys(tree, "", "");
    let faults = faults::read(&root);
    let scenario = Scenario {
        description: root.text("description").unwrap_or_default(),
        seed: root
            .integer("seed", 0, SEED_MAX.cast_signed())
            .map_or(1, i64::cast_unsigned),
        deadline: read_deadline(&root),
        fidelity: root.word("fidelity", &FIDELITIES).unwrap_or_default(),
        regions: read_regions(&root),
        build: read_build(&root, &name, path),
        network: read_network(&root),
        swarm: read_swarm(&root),
        worker_processes: root.section("workers").number("processes"),
        faults: faults.hosts,
        network_faults: faults.network,
        seeder_faults: faults.seeders,
        thresholds: read_thresholds(&root),
        given_twice,
        name,
        values: Vec::new(),
    };
    shares::check_fleet(&root, &scenario);
    faults::check(&root, &scenario);
    kernel_keys::check(&root, &scenario);
    let mut problems = reader.problems.into_inner();
    if problems.is_empty() {
        let values = values::of(tree, &scenario);
        return Ok(Scenario { values, ..scenario });
    }
    problems.sort_by_key(|(place, _)| place.as_ref().map(|place| (place.layer.name.clone(), place.span.start)));
    let problems = problems.into_iter().map(|(_, problem)| problem).collect();
    Err(ScenarioError { problems })
}

fn read_deadline(root: &Section<'_>) -> Option<Duration> {
    let deadline = root.parsed("deadline", parse_duration);
    if deadline == Some(Duration::ZERO) {
        root.problem(
            "deadline",
            "expected more than nothing; leave it out to have it derived",
        );
    }
    deadline
}

fn read_regions(root: &Section<'_>) -> Vec<Region> {
    let regions: Vec<Region> = root
        .section("regions")
        .named()
        .map(|(name, section)| {
            let bucket_safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(bucket_safe) || name.len() > 40 || name.starts_with('-') {
                section.problem(
                    "",
                    "expected a name of at most 40 of a-z 0-9 -, since it names a bucket",
                );
            }
            if let Some((_, what)) = NAMES_TAKEN.iter().find(|(taken, _)| *taken == name) {
                section.problem("", format!("names {what} already; expected another name"));
            }
            if section.entry("hosts").is_none() {
                section.problem("hosts", "missing; expected the number of hosts, such as hosts = 100");
            }
            Region {
                hosts: section.number("hosts").unwrap_or(1),
                zones: section.number("zones").unwrap_or(1),
                seeders: section.number("seeders").unwrap_or(1),
                name,
            }
        })
        .collect();
    if regions.is_empty() {
        root.problem(
            "regions",
            "missing; expected at least one table such as [regions.region-a] with hosts = 100",
        );
    }
    if regions.iter().map(|region| u64::from(region.hosts)).sum::<u64>() > u32::MAX.into() {
        root.problem("regions", format!("expected at most {} hosts in all", u32::MAX));
    }
    regions
}

/// A build's key by the name of its scenario, whatever letters that is written with.
fn id_of(scenario: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let words: Vec<&str> = scenario
        .split(|c| !allowed(c))
        .filter(|word| !word.is_empty())
        .collect();
    match words.as_slice() {
        [] => "build-scenario.zip".to_owned(),
        words => format!("build-{}.zip", words.join("-")),
    }
}

fn read_build_id(build: &Section<'_>, name: &str) -> String {
    let id = build.text("id").unwrap_or_else(|| id_of(name));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
    let climbs = id.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    if id.is_empty() || id.len() > BUILD_ID_LENGTH_MAX || !id.chars().all(allowed) || climbs {
        build.problem(
            "id",
            "expected an S3 key of the characters A-Z a-z 0-9 . _ / -, such as \"build-123.zip\"",
        );
    }
    id
}

fn read_build(root: &Section<'_>, name: &str, file: &Path) -> Build {
    let build = root.section("build");
    let id = read_build_id(&build, name);
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
            // Relative to the file that says so, be it one that is extended; on the command line, to the scenario.
            let folder = build.entry("path").and_then(|entry| entry.place.layer.folder());
            let path = folder
                .or_else(|| file.parent())
                .unwrap_or_else(|| Path::new(""))
                .join(path);
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
                    build.problem(
                        "path",
                        format!("{} cannot be read ({error}); expected a file", path.display()),
                    );
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
            build.problem(
                "chunk_size",
                "expected 16 B to 64 MiB; try \"64 KiB\" for small builds, \"16 MiB\" for large ones",
            );
        } else if total.div_ceil(bytes) > CHUNKS_MAX.into() {
            build.problem(
                "chunk_size",
                format!("makes more than {CHUNKS_MAX} chunks; expected larger ones"),
            );
        }
        u32::try_from(bytes).unwrap_or(CHUNK_SIZE_MAX)
    });
    Build { id, source, chunk_size }
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
    let spread_percent = percent(&network.section("host"), "spread").unwrap_or_default();
    if spread_percent > SPREAD_PERCENT_MAX {
        network.section("host").problem("spread", "expected 0% to 90%");
    }
    let latency = network
        .parsed("latency", parse_duration)
        .unwrap_or(Duration::from_millis(1));
    if seeder.is_some() && host.is_none() {
        network.problem("seeder", "limits the seeder only; expected [network.host] as well");
    }
    Network {
        transport: network.word("transport", &TRANSPORTS).unwrap_or(Transport::InProcess),
        latency,
        host,
        host_parts: read_parts(&network.section("host")),
        seeder,
        spread_percent,
        classes: read_classes(&network, host.is_some()),
        zones: ZoneNetwork {
            latency: network
                .section("zones")
                .parsed("latency", parse_duration)
                .unwrap_or(latency),
            uplink: rate(&network.section("zones"), "uplink"),
            usd_per_gib: network.section("zones").money("usd_per_gib"),
        },
        racks: read_racks(&network),
        bucket_rate: rate(&network.section("bucket"), "rate"),
        logs: LogNetwork {
            latency: network
                .section("logs")
                .parsed("latency", parse_duration)
                .unwrap_or(Duration::from_millis(10)),
            rows_per_second: network
                .section("logs")
                .number("rows_per_second")
                .unwrap_or(crate::ROWS_PER_SECOND),
        },
    }
}

fn read_classes(network: &Section<'_>, has_links: bool) -> Vec<HostClass> {
    let read = |(name, class): (String, Section<'_>)| {
        if !has_links {
            class.problem("", "limits some hosts only; expected [network.host] as well");
        }
        let hosts = share(&class, "hosts");
        if hosts.is_none() {
            class.problem(
                "hosts",
                "expected a number of hosts or a share of them, such as 10 or \"1%\"",
            );
        }
        let link = |key: &str| {
            if class.entry(key).is_none() {
                class.problem(key, "missing; expected a rate, such as \"100 Mbit/s\"");
            }
            rate(&class, key).unwrap_or(1)
        };
        HostClass {
            hosts: hosts.unwrap_or(HostShare::Count(0)),
            links: Links {
                uplink: link("uplink"),
                downlink: link("downlink"),
            },
            parts: read_parts(&class),
            name,
        }
    };
    network.section("classes").named().map(read).collect()
}

fn read_parts(host: &Section<'_>) -> HostParts {
    let cpu_per_gb = host.parsed("cpu_per_gb", parse_duration);
    if cpu_per_gb == Some(Duration::ZERO) {
        host.problem("cpu_per_gb", "expected more than nothing; leave cores out for no limit");
    }
    HostParts {
        disk: rate(host, "disk"),
        cores: host.number("cores"),
        cpu_per_gb: cpu_per_gb.filter(|time| !time.is_zero()),
    }
}

fn read_racks(network: &Section<'_>) -> Option<RackNetwork> {
    let racks = network.section("racks");
    racks.table?;
    for key in ["hosts", "uplink"] {
        if racks.entry(key).is_none() {
            racks.problem(key, "missing; expected hosts = 40 and uplink = \"40 Gbit/s\"");
        }
    }
    Some(RackNetwork {
        hosts: racks.number("hosts").unwrap_or(1),
        uplink: rate(&racks, "uplink").unwrap_or(1),
    })
}

/// A rate of more than nothing.
fn rate(section: &Section<'_>, key: &str) -> Option<u64> {
    let rate = section.parsed(key, parse_rate)?;
    if rate == 0 {
        section.problem(key, "expected more than nothing; leave it out for no limit");
    }
    Some(rate.max(1))
}

pub(crate) fn share(section: &Section<'_>, key: &str) -> Option<HostShare> {
    match section.entry(key).map(|entry| &entry.value) {
        Some(Value::Integer(count)) => u32::try_from(*count).ok().map(HostShare::Count),
        Some(Value::Text(text)) => parse_percent(text).map(HostShare::Percent),
        _ => None,
    }
}

pub(crate) fn percent(section: &Section<'_>, key: &str) -> Option<f64> {
    let found = match &section.entry(key)?.value {
        Value::Text(text) => parse_percent(text),
        _ => None,
    };
    if found.is_none() {
        section.problem(key, "expected a percentage, such as \"50%\"");
    }
    found
}

fn parse_percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?.trim().parse::<f64>().ok();
    number.filter(|percent| (0.0..=100.0).contains(percent))
}

fn read_swarm(root: &Section<'_>) -> SwarmSettings {
    let swarm = root.section("swarm");
    let patience = swarm.parsed("patience", parse_duration);
    if patience == Some(Duration::ZERO) {
        swarm.problem(
            "patience",
            "expected more than nothing, since everybody would count as stalled; try \"2s\"",
        );
    }
    let default = SwarmSettings::default();
    let number = |key: &str, default: usize| swarm.number(key).map_or(default, |number| number as usize);
    SwarmSettings {
        degree: swarm
            .number("degree")
            .and_then(|n| u16::try_from(n).ok())
            .unwrap_or(default.degree),
        policy: swarm.word("policy", &POLICIES).unwrap_or(default.policy),
        upload_slots: swarm.number("upload_slots").map(|slots| slots as usize),
        chunks_in_flight: swarm.number("chunks_in_flight").map(|chunks| chunks as usize),
        seeder_clients: number("seeder_clients", default.seeder_clients),
        seeder_slots: swarm.number("seeder_slots").map(|slots| slots as usize),
        have_interval: swarm
            .parsed("have_interval", parse_duration)
            .unwrap_or(default.have_interval),
        patience: patience.unwrap_or(default.patience),
        locality: swarm.word("locality", &LOCALITIES).unwrap_or(default.locality),
    }
}

fn read_thresholds(root: &Section<'_>) -> Vec<Threshold> {
    let section = root.section("thresholds");
    let regions: Vec<String> = root.section("regions").named().map(|(name, _)| name).collect();
    let regions: Vec<&str> = regions.iter().map(String::as_str).collect();
    let names: Vec<String> = section
        .table
        .iter()
        .flat_map(|table| table.entries.keys().cloned())
        .collect();
    let read = |name: String| {
        let text = section.text(&name)?;
        match Threshold::parse(&name, &text, &regions) {
            Ok(threshold) => Some(threshold),
            Err(error) => {
                section.problem(&name, error.to_string());
                None
            }
        }
    };
    names.into_iter().filter_map(read).collect()
}

/// Names that a region cannot have, and what has them: its bucket would be that one, or its histogram.
const NAMES_TAKEN: [(&str, &str); 2] = [
    ("global", "the bucket that builds are uploaded to, global-builds,"),
    ("all", "the whole fleet in reports"),
];

/// The largest number that every reader of JSON has to its last digit: a report's seed is to be the one that was run.
pub const SEED_MAX: u64 = (1 << 53) - 1;
/// With more some links would be next to nothing.
const SPREAD_PERCENT_MAX: f64 = 90.0;

/// Builds that a run generates at most.
const BUILD_SIZE_MAX: u64 = 64 << 30;
