//! The body of an ExportTraceServiceRequest in the protocol's JSON mapping (OpenTelemetry Protocol 1.x, "JSON Protobuf Encoding"): ids in
//! hexadecimal, 64-bit numbers as strings, enumerations as numbers.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Value, json};

use crate::live::{Stage, Timeline};

/// The request for one trace: the deploy, and below it its stages. `service` are the attributes of who sends it.
pub(super) fn request(timeline: &Timeline, service: &[(String, String)]) -> Value {
    let mut ids = ids();
    let (trace, root) = (hex(&mut ids, 16), hex(&mut ids, 8));
    let (build, bytes) = &timeline.build;
    let deploy = json!({
        "traceId": trace,
        "spanId": root,
        "name": "deploy",
        "kind": INTERNAL,
        "startTimeUnixNano": nanos(timeline.begins),
        "endTimeUnixNano": nanos(timeline.ends),
        "attributes": [
            text("fleetcast.build.id", build),
            number("fleetcast.build.bytes", *bytes),
            text("fleetcast.scenario", &timeline.scenario),
            number("fleetcast.seed", timeline.seed),
        ],
        "status": status(timeline.problem.as_ref()),
    });
    let mut spans = vec![deploy];
    spans.extend(timeline.stages.iter().map(|stage| {
        json!({
            "traceId": trace,
            "spanId": hex(&mut ids, 8),
            "parentSpanId": root,
            "name": stage.name,
            "kind": INTERNAL,
            "startTimeUnixNano": nanos(stage.begins),
            "endTimeUnixNano": nanos(stage.ends),
            "attributes": attributes(stage),
            "status": status(stage.missing.as_ref()),
        })
    }));
    let service: Vec<Value> = service.iter().map(|(key, value)| text(key, value)).collect();
    let scope = json!({ "name": "fleetcast", "version": env!("CARGO_PKG_VERSION") });
    json!({
        "resourceSpans": [{
            "resource": { "attributes": service },
            "scopeSpans": [{ "scope": scope, "spans": spans }],
        }],
    })
}

fn attributes(stage: &Stage) -> Vec<Value> {
    let region = stage.region.iter().map(|region| text("fleetcast.region", region));
    let counts = stage
        .counts
        .iter()
        .map(|(name, count)| number(&format!("fleetcast.{name}"), *count));
    region.chain(counts).collect()
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn status(missing: Option<&String>) -> Value {
    match missing {
        None => json!({ "code": OK }),
        Some(missing) => json!({ "code": ERROR, "message": missing }),
    }
}

fn nanos(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().to_string()
}

/// Ids that no other run has: not from the scenario's seed, which runs share.
fn ids() -> Xoshiro256PlusPlus {
    let now = nanos(SystemTime::now()).parse::<u128>().unwrap_or_default();
    Xoshiro256PlusPlus::seed_from_u64((now as u64) ^ u64::from(std::process::id()) << 40)
}

/// So many bytes, in hexadecimal. All zero is no id.
fn hex(ids: &mut Xoshiro256PlusPlus, bytes: usize) -> String {
    let mut id = vec![0; bytes];
    ids.fill_bytes(&mut id);
    id[0] |= 1;
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SPAN_KIND_INTERNAL.
const INTERNAL: u8 = 1;
/// STATUS_CODE_OK and STATUS_CODE_ERROR.
const OK: u8 = 1;
const ERROR: u8 = 2;
