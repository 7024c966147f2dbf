//! What everything comes to, as a file of keys that says where each value comes from.

use std::fmt::Write as _;

use crate::keys::{Key, Kind};
use crate::merge::{Merged, Setting};

impl Merged {
    /// Every key with the value that holds, which `values` says as its flag takes it, and where that comes from. Who reads it as a file again
    /// has the same settings.
    pub fn shown(&self, keys: &[Key], prefix: &str, values: impl Fn(&Key) -> Vec<String>) -> String {
        let file = self.file.as_ref();
        let file = file.map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
        let mut shown = format!("# flags, then variables {prefix}…, then {file}, then defaults\n");
        for key in keys {
            let (values, said) = (values(key), self.get(key.name));
            // Writing to a String does not fail.
            // What it needs nobody has said, and a file with it alone would be wrong.
            let is_idle = key.needs.is_some_and(|needed| self.get(needed).is_none());
            let _ = match said {
                None if values.is_empty() || values == [""] || is_idle => writeln!(shown, "# {} is not said", key.name),
                _ => {
                    let from = said.map_or_else(|| "default".to_owned(), Setting::told);
                    let line = format!("{} = {}", key.name, key.toml_of(&values));
                    let pad = COLUMN.saturating_sub(line.chars().count()).max(1);
                    writeln!(shown, "{line}{:pad$}# {from}", "")
                }
            };
        }
        shown
    }
}

impl Key {
    /// Values as a file has them.
    fn toml_of(&self, values: &[String]) -> String {
        let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
        match self.kind {
            Kind::Switch | Kind::Number { .. } => values.concat(),
            Kind::Text(_) | Kind::Quantity(_) => quoted.concat(),
            Kind::Texts(_) => format!("[{}]", quoted.join(", ")),
        }
    }
}

/// Where the origins stand.
const COLUMN: usize = 40;
