//! Something to begin with: `harness scenarios` has those of the repository in the program, `harness init` writes one of one's own.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

use super::print;
use crate::cli::{InitArguments, ScenariosArguments};
use crate::exit::{Exit, print_error};

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../scenarios/", $name, ".toml")))),*]
    };
}

/// Names and texts of what is in `scenarios/`.
pub(crate) const SHIPPED: &[(&str, &str)] = shipped![
    "smoke",
    "shaped-1k",
    "10k-hosts",
    "10k-hosts-flat-out",
    "10k-hosts-tcp",
    "10k-hosts-10gb",
    "100k-hosts-10gb",
    "1m-hosts",
    "aws-1k",
    "bad-day",
    "canary",
    "equal-links",
    "kraken-2600",
    "late-zone",
    "mixed-links",
    "rolling",
    "rough-day",
    "scale-out",
    "several-seeders",
    "slow-hosts",
    "three-zones",
];

/// `harness scenarios`: a line for each, or the text of one.
pub(crate) fn scenarios(arguments: &ScenariosArguments) -> Exit {
    let Some(wanted) = &arguments.name else {
        let line = |(name, text): &(&str, &str)| format!("{name:<20} {}\n", description(text));
        let lines: String = SHIPPED.iter().map(line).collect();
        print(&format!(
            "{lines}\n`harness scenarios NAME` prints one: a file to begin with.\n"
        ));
        return Exit::Success;
    };
    let wanted = wanted.trim_end_matches(".toml");
    match SHIPPED.iter().find(|(name, _)| *name == wanted) {
        Some((_, text)) => {
            print(text);
            Exit::Success
        }
        None => {
            let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
            say!(
                "harness: there is no scenario {wanted}; expected one of {}",
                names.join(", ")
            );
            Exit::Usage
        }
    }
}

/// What a scenario says of itself.
fn description(text: &str) -> &str {
    let line = text.lines().find_map(|line| line.strip_prefix("description = \""));
    line.and_then(|line| line.strip_suffix('"')).unwrap_or_default()
}

/// `harness init`: a commented scenario of one's own.
pub(crate) fn init(arguments: &InitArguments) -> Exit {
    let text = text(arguments);
    let Some(path) = &arguments.out else {
        print(&text);
        return Exit::Success;
    };
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    match made.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => {
            let shown = path.display();
            print(&format!(
                "{shown} is written; `harness check {shown}` says what it comes to\n"
            ));
            Exit::Success
        }
        Err(error) => {
            print_error(&format!("{} is not written", path.display()), &error);
            Exit::Failed
        }
    }
}

fn text(arguments: &InitArguments) -> String {
    let InitArguments {
        hosts,
        size,
        uplink,
        downlink,
        regions,
        ..
    } = arguments;
    let share = hosts.div_ceil(u32::try_from(regions.len()).unwrap_or(u32::MAX).max(1));
    let mut text = format!(
        "# What to try: `harness check` on this file, then `harness plan`, then `harness run` where this machine holds so many\n\
         # hosts. `harness schema scenario` has every key.\n\n\
         description = \"{} hosts, {size}\"\n\n\
         # Seed of everything random: one more run is one more draw, so `harness plan FILE --seeds 1..21` says more.\n\
         seed = 1\n\n\
         [build]\nsize = \"{size}\"\n\n",
        u64::from(share) * regions.len() as u64
    );
    for region in regions {
        let _ = write!(
            text,
            "[regions.{region}]\nhosts = {share}\n# zones = 3       # payload stays within them as far as possible\n\
             # seeders = 2     # each begins with its part of the chunks\n\n"
        );
    }
    let _ = write!(
        text,
        "[network]\n# One way, between any two hosts.\nlatency = \"1ms\"\n\n\
         # Links of every host. Without this table nothing is limited, and latencies measure this machine.\n\
         [network.host]\nuplink = \"{uplink}\"\ndownlink = \"{downlink}\"\n# spread = \"50%\"  # how far hosts' links differ\n\n\
         # What goes wrong. Kinds: leave, join-late, crash, pause, slow-down, corrupt, stall, partition, reset and others.\n\
         # [faults.gone]\n# kind = \"leave\"\n# hosts = \"1%\"\n# at = \"2s\"\n\n\
         # What must hold at the end, else the exit code is 1. Fields: `harness schema report`.\n\
         [thresholds]\neveryone = \"hosts.pending == 0\"\n# Latency of the last host over what no schedule beats.\n\
         last-host = \"stretch.last <= 1.5\"\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_that_is_in_the_folder_is_in_the_program_and_says_what_it_is() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
        let files = std::fs::read_dir(folder).unwrap();
        let files =
            files.filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".toml")?.to_owned()));
        let shipped: BTreeSet<String> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(files.collect::<BTreeSet<_>>(), shipped);
        for (name, text) in SHIPPED {
            assert!(!description(text).is_empty(), "{name}");
        }
    }
}
