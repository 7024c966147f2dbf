//! In place of the pipeline's commands where the program is built without its clients, which take longer to compile than all
//! that `run` and `plan` need.

use crate::cli::{BootstrapArguments, DeadLettersArguments, DoctorArguments, StatusArguments, UpArguments};
use crate::exit::Exit;

pub(crate) async fn up(_arguments: UpArguments) -> Exit {
    refuse("up")
}

pub(crate) async fn status(_arguments: &StatusArguments) -> Exit {
    refuse("status")
}

pub(crate) async fn bootstrap(_arguments: BootstrapArguments) -> Exit {
    refuse("bootstrap")
}

pub(crate) async fn doctor(_arguments: &DoctorArguments) -> Exit {
    refuse("doctor")
}

pub(crate) async fn dead_letters(_arguments: &DeadLettersArguments) -> Exit {
    refuse("dead-letters")
}

fn refuse(command: &str) -> Exit {
    say!(
        "harness: {command} needs the pipeline's clients, and this program is built without them; expected \
         `cargo run --release -p harness --features pipeline -- {command} …`"
    );
    Exit::Usage
}
