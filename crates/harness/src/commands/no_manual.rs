//! In place of what writes completions and pages for `man`, where the program is built without it.

use crate::cli::{CompletionsArguments, ManArguments};
use crate::exit::Exit;

pub(crate) fn completions(arguments: &CompletionsArguments) -> Exit {
    refuse(&format!("completions {}", arguments.shell))
}

pub(crate) fn man(arguments: &ManArguments) -> Exit {
    refuse(&format!("man {}", arguments.folder.display()))
}

fn refuse(command: &str) -> Exit {
    say!(
        "harness: this program is built without what writes that; expected `cargo run --release -p harness --features manual -- \
         {command}`"
    );
    Exit::Usage
}
