//! `harness worker`: a part of the hosts of a run, and what `run` needs to have some on other machines.

use crate::cli::{KeyArguments, SpreadArguments, WorkerArguments};
use crate::exit::{Exit, print_error};
use crate::live::{self, Awaited, Connecting, RunKey};

pub(crate) async fn worker(arguments: WorkerArguments) -> Exit {
    let Some(to) = arguments.connect.clone() else {
        return match live::serve_parent().await {
            Ok(()) => Exit::Success,
            Err(error) => {
                print_error("worker", &error);
                Exit::Failed
            }
        };
    };
    let prepared = key(&arguments.key).and_then(|key| Ok((key, index(&arguments)?)));
    let (key, index) = match prepared {
        Ok(prepared) => prepared,
        Err(message) => {
            say!("harness: {message}");
            return Exit::Usage;
        }
    };
    let connecting = Connecting {
        to,
        key,
        index,
        patience: arguments.within,
    };
    match live::work(&connecting).await {
        Ok(()) => Exit::Success,
        Err(error) => {
            say!("harness: {}", crate::exit::chain(&error));
            error.exit()
        }
    }
}

/// Which part it is: what it was told, or what the engine that has started it says.
fn index(arguments: &WorkerArguments) -> Result<Option<u32>, String> {
    if arguments.index.is_some() {
        return Ok(arguments.index);
    }
    for name in INDEX_VARIABLES {
        if let Ok(text) = std::env::var(name) {
            let index = text.parse();
            return index
                .map(Some)
                .map_err(|_unread| format!("{name} is {text:?}; expected a number from 0, or --index"));
        }
    }
    Ok(None)
}

/// What is awaited, where hosts are to be on other machines.
pub(super) fn awaited(arguments: &SpreadArguments) -> Result<Option<Awaited>, String> {
    let (Some(workers), Some(listen)) = (arguments.workers, arguments.listen) else {
        return Ok(None);
    };
    Ok(Some(Awaited {
        workers,
        listen,
        key: key(&arguments.key)?,
        patience: arguments.workers_within,
    }))
}

fn key(arguments: &KeyArguments) -> Result<RunKey, String> {
    match (&arguments.key_file, &arguments.run_key) {
        (Some(file), _) => RunKey::of_file(file),
        (None, Some(secret)) => {
            RunKey::of_secret(secret.as_bytes()).map_err(|why| format!("FLEETCAST_RUN_KEY has {why}"))
        }
        (None, None) => Err(
            "--key-file is missing; expected a file with 16 bytes or more that all processes of the run have, such as \
                             `openssl rand -hex 32 > run.key && chmod 600 run.key` makes"
                .to_owned(),
        ),
    }
}

/// Where Kubernetes, Slurm and AWS Batch say which of their copies a process is.
const INDEX_VARIABLES: [&str; 3] = ["JOB_COMPLETION_INDEX", "SLURM_PROCID", "AWS_BATCH_JOB_ARRAY_INDEX"];
