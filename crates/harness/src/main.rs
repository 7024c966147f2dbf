//! `harness`: runs a scenario and says how long it took until every host had the build.
//!
//! Results go to stdout, progress and errors to stderr. Exit codes: see [`program::Exit`].

// A line on stderr is `say!`: nobody may be listening, and `eprintln!` would panic.
#[macro_use(say)]
extern crate program;

mod cli;
mod commands;
mod cost;
mod estimates;
mod exit;
mod live;
mod machine;
mod progress;
mod report;
mod traces;
mod virtual_time;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use exit::Exit;

/// Ten thousand peers allocate small frames on many threads, of which the system's allocator keeps twice the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    program::log_to_stderr("error", program::LogFormat::Text);
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            exit::print_error("failed to start the runtime", &error);
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(async {
        match cli.command {
            Command::Run(arguments) => Box::pin(commands::run(arguments)).await,
            Command::Plan(arguments) => commands::plan(arguments).await,
            Command::Compare(arguments) => commands::compare(&arguments),
            Command::Baseline(arguments) => commands::baseline(&arguments),
            Command::Explain(arguments) => commands::explain(&arguments),
            Command::Runs(arguments) => commands::runs(&arguments),
            Command::Check(arguments) => commands::check(&arguments),
            Command::Sweep(arguments) => tokio::task::block_in_place(|| commands::sweep(&arguments)),
            Command::Solve(arguments) => tokio::task::block_in_place(|| commands::solve(&arguments)),
            Command::Torture(arguments) => commands::torture(arguments).await,
            Command::Cost(arguments) => tokio::task::block_in_place(|| commands::cost(&arguments)),
            Command::Count(arguments) => commands::count(arguments).await,
            Command::Upload(arguments) => commands::upload(arguments).await,
            Command::Keygen(arguments) => commands::keygen(&arguments),
            Command::Certify(arguments) => commands::certify(&arguments),
            Command::Sign(arguments) => commands::sign(&arguments).await,
            Command::Verify(arguments) => commands::verify(&arguments).await,
            Command::Watch(arguments) => commands::watch(arguments).await,
            Command::Up(arguments) => commands::up(arguments).await,
            Command::Status(arguments) => commands::status(&arguments).await,
            Command::Bootstrap(arguments) => commands::bootstrap(arguments).await,
            Command::Doctor(arguments) => commands::doctor(&arguments).await,
            Command::DeadLetters(arguments) => commands::dead_letters(&arguments).await,
            Command::Scenarios(arguments) => commands::scenarios(&arguments),
            Command::Init(arguments) => commands::init(&arguments),
            Command::Completions(arguments) => commands::completions(&arguments),
            Command::Man(arguments) => commands::man(&arguments),
            Command::Schema { of } => commands::schema(of),
            Command::Render(arguments) => commands::render(&arguments),
            Command::Worker(arguments) => Box::pin(commands::worker(arguments)).await,
        }
    });
    // Ten thousand nodes need not be taken apart one by one.
    runtime.shutdown_background();
    exit.into()
}
