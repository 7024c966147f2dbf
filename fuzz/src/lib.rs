//! What strangers can send, as functions of bytes: each target takes any bytes and panics where something that must hold does not.
//!
//! `scripts/fuzz.sh TARGET SECONDS` runs one under libFuzzer, led by coverage, on the stable toolchain. `cargo test -p fleetcast-fuzz`
//! replays the corpus and changes of it. A crash is a file; `cargo run -p fleetcast-fuzz -- TARGET FILE` plays it again.

mod input;
mod targets;

/// A target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by name.
pub const TARGETS: &[Target] = &[
    ("certificate", targets::certificate::run),
    #[cfg(feature = "edges")]
    ("directory", targets::directory::run),
    #[cfg(feature = "edges")]
    ("events", targets::events::run),
    ("manifest", targets::manifest::run),
    ("peer", targets::peer::run),
    ("scenario", targets::scenario::run),
    ("seeder", targets::seeder::run),
    ("signature", targets::signature::run),
    ("wire", targets::wire::run),
];

/// The target of this name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(own, _)| *own == name).map(|(_, run)| *run)
}

/// Inputs that code makes and no file can hold for long: what is signed changes when a format does.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "certificate" => vec![targets::certificate::genuine().into_bytes()],
        "signature" => vec![targets::signature::genuine().into_bytes()],
        _ => Vec::new(),
    }
}
