//! Plays files against a target, or, built by scripts/fuzz.sh, is libFuzzer with the target that FLEETCAST_FUZZ_TARGET names.

#![cfg_attr(fleetcast_fuzz, no_main)]

#[cfg(fleetcast_fuzz)]
mod fuzzer {
    use std::sync::LazyLock;

    static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
        let name = std::env::var("FLEETCAST_FUZZ_TARGET").unwrap_or_default();
        fleetcast_fuzz::target(&name).unwrap_or_else(|| panic!("FLEETCAST_FUZZ_TARGET={name:?} is no target"))
    });

    libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
}

#[cfg(not(fleetcast_fuzz))]
fn main() -> std::process::ExitCode {
    use fleetcast_fuzz::{TARGETS, target};
    let mut arguments = std::env::args().skip(1);
    let named = arguments.next().and_then(|name| target(&name));
    let files: Vec<String> = arguments.collect();
    let (Some(run), false) = (named, files.is_empty()) else {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "fleetcast-fuzz: expected a target and files, such as: wire crash-1234. Targets: {}",
            names.join(", ")
        );
        return std::process::ExitCode::from(2);
    };
    for file in files {
        match std::fs::read(&file) {
            Ok(data) => run(&data),
            Err(error) => {
                eprintln!("fleetcast-fuzz: {file} cannot be read: {error}");
                return std::process::ExitCode::from(4);
            }
        }
        eprintln!("{file}: well");
    }
    std::process::ExitCode::SUCCESS
}
