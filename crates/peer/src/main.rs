//! `peer`: joins a seeder's swarm, fetches its build to a file, and exits 0 when the file is in place; or follows a region's
//! directory and keeps a folder with every build that is seeded there, until it is told to stop.

mod agent;

use std::process::ExitCode;

use agent::{Arguments, Stop};
use clap::Parser;
use peer::{agent_runtime, log_to_stderr};

fn main() -> ExitCode {
    log_to_stderr("warn");
    let arguments = Arguments::parse();
    let runtime = match agent_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return agent::fail((4, format!("failed to start the runtime: {error}"))),
    };
    let code = runtime.block_on(async {
        match Stop::listen() {
            Ok(stop) => agent::run(arguments, stop).await,
            Err(error) => agent::fail((4, format!("failed to listen for signals: {error}"))),
        }
    });
    // A thread that still reads or syncs a file is not waited for.
    runtime.shutdown_background();
    code
}
