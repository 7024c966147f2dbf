//! The host agent: fetches one build to a file, or follows a region's directory and keeps a folder of builds.
//!
//! Map: `configuration` is what flags, environment and file say, and `check` prints it; `single` is one build by its seeders, and `get` one by its key; `follow` the loop of a directory's host, `builds` what it does with each build, `beginning` which are begun and `room` whether there is room for them, `build` one of them, `turns` which one
//! comes next, `keep` which ones may go and `leftovers` how they go. `kept` is the agent's list on disk: what came, when, and what is still to be told
//! of it, and `taking_up` what a process that was killed left to tell; `rows` writes to DynamoDB what is to be told there. `fetch` is one build on the network: the one place that starts a
//! node. `machine` says what this host is called, `stop` hears signals, `belonging` who this process is and whom it talks to, `trusting` whom it believes, `speech` words what is said.

mod arguments;
mod asking;
mod beginning;
mod belonging;
mod build;
mod builds;
mod check;
mod configuration;
mod current;
mod fetch;
mod follow;
mod get;
mod hooks;
mod keep;
mod kept;
mod leftovers;
mod limits;
mod machine;
mod metrics;
mod outside;
mod reloading;
mod room;
mod rows;
mod single;
mod speech;
mod status;
mod stop;
mod surroundings;
mod taking_up;
mod totals;
mod trusting;
mod turns;

use std::process::ExitCode;

pub(crate) use arguments::Arguments;
pub(crate) use asking::status;
pub(crate) use check::{check, not_configured};
pub(crate) use configuration::Configuration;
use follow::Followed;
pub(crate) use get::Get;
use program::Exit;
pub(crate) use speech::say_as_log_lines;
pub(crate) use stop::Stop;

/// Why it does not go on, and how the program ends for that.
pub(crate) type Failure = (Exit, String);

/// Does what the arguments ask for, until it is done or stopped. The exit code is told beforehand to `stop`, which ends the
/// process where this takes too long.
pub(crate) async fn run(configuration: Configuration, stop: Stop) -> ExitCode {
    let mut arguments = configuration.arguments.clone();
    if let Some(ended) = belonging::printed_id(&arguments) {
        return ended.map_or_else(fail, |()| ExitCode::SUCCESS);
    }
    let who = match belonging::take_up(&mut arguments) {
        Ok(who) => who,
        Err(failure) => return fail(failure),
    };
    if who.members.is_none() {
        arguments.find_zone().await;
    }
    let ended = match (&arguments.directory, &arguments.folder, &arguments.out) {
        (Some(directory), Some(folder), _) => {
            let followed = Followed {
                address: directory,
                folder,
            };
            follow::follow(&arguments, configuration, who, followed, stop).await
        }
        (_, _, Some(out)) => single::fetch(&arguments, who, out, stop).await,
        _ => Err((
            Exit::Usage,
            "expected --seeder with --out, or --directory with --folder".to_owned(),
        )),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(failure),
    }
}

/// Tells why it ends.
pub(crate) fn fail((exit, message): Failure) -> ExitCode {
    speech::say(&message);
    exit.into()
}
