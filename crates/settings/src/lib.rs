//! Files of keys, as people write them: TOML in which every key remembers where it stands, quantities with their units, and what is
//! wrong said with file, line, key and what was expected.
//!
//! A scenario is one such file. An agent's configuration is another: a table of [`Key`]s says what each may hold, and [`merge`] puts the
//! file below the environment and that below the command line. Reads files, and nothing else of the system.
//!
//! ```
//! use settings::{Layer, Table, Value, parse_rate};
//!
//! assert_eq!(parse_rate("8 Mbit/s")?, 1_000_000);
//! // A table knows where each key stands.
//! let table = Table::parse(Layer::of_file("host.toml", "# limits\nuplink = \"8 Mbit/s\"\n".to_owned()))?;
//! let uplink = &table.entries["uplink"];
//! assert!(matches!(&uplink.value, Value::Text(text) if text == "8 Mbit/s"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "flags")]
mod flags;
mod keys;
mod merge;
mod problem;
mod quantity;
mod shown;
mod tree;

pub use keys::{Changed, Key, Kind, Text, asks_for_words, is_some_text, mismatches};
pub use merge::{Merged, Origin, Setting, Sources, merge};
pub use problem::{Layer, Place, Problem, Problems};
pub use quantity::{QuantityError, parse_duration, parse_rate, parse_size, shown_bytes};
pub use tree::{Entry, Table, Value};

/// The one of `known` that somebody who wrote `name` meant, if one is near.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|known| (strsim::damerau_levenshtein(name, known), known));
    let near = near.filter(|(distance, known)| *distance <= 3.max(known.len() / 3));
    near.min().map(|(_, known)| known)
}
