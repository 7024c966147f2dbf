//! `peer`: joins a seeder's swarm, fetches its build to a file, and exits 0 when the file is in place; or follows a region's
//! directory and keeps a folder with every build that is seeded there, until it is told to stop; or gets one of these by its key.

mod agent;

use std::ffi::OsString;
use std::process::ExitCode;

use agent::{Configuration, Get, Stop};
use peer::agent_runtime;
use program::{Exit, LogFormat, log_to_stderr};

fn main() -> ExitCode {
    let flags: Vec<OsString> = std::env::args_os().skip(1).collect();
    match flags.first().and_then(|first| first.to_str()) {
        Some("check") => agent::check(&flags[1..]),
        Some("status") => agent::status(&flags[1..]),
        Some("get") => match Get::read(&flags[1..]) {
            Ok(get) => run(get.log_format(), |stop| get.run(stop)),
            Err(why) => agent::not_configured(why),
        },
        _ => match Configuration::read(&flags) {
            Ok(configuration) => run(configuration.arguments.log_format, |stop| {
                Box::pin(agent::run(configuration, stop))
            }),
            Err(why) => agent::not_configured(why),
        },
    }
}

fn run<R: Future<Output = ExitCode>>(format: LogFormat, what: impl FnOnce(Stop) -> R) -> ExitCode {
    log_to_stderr("warn,peer::said=info,peer::hook=info", format);
    if format == LogFormat::Json {
        agent::say_as_log_lines();
    }
    let runtime = match agent_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return agent::fail((Exit::Failed, format!("failed to start the runtime: {error}"))),
    };
    let code = runtime.block_on(async {
        match Stop::listen() {
            Ok(stop) => what(stop).await,
            Err(error) => agent::fail((Exit::Failed, format!("failed to listen for signals: {error}"))),
        }
    });
    // A thread that still reads or syncs a file is not waited for.
    runtime.shutdown_background();
    code
}
