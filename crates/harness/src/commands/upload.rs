//! `harness upload`: a build into the global bucket, in parts where it is large.

use std::io::IsTerminal;
use std::time::{Instant, SystemTime};

use cloud::{BuildId, Cloud, CloudError};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use swarm::Bytes;

use super::print;
use crate::cli::{Format, UploadArguments};
use crate::exit::{Exit, complain};
use crate::live;

pub(crate) async fn upload(arguments: UploadArguments) -> Exit {
    let build_id = match build_id(&arguments) {
        Ok(build_id) => build_id,
        Err(message) => {
            eprintln!("harness: {message}");
            return Exit::Usage;
        }
    };
    let size = match (&arguments.file, arguments.size) {
        (Some(file), _) => match std::fs::metadata(file) {
            Ok(found) if found.is_file() && found.len() > 0 => found.len(),
            Ok(_) => {
                eprintln!("harness: {} is empty or no file; expected a build", file.display());
                return Exit::Usage;
            }
            Err(error) => {
                complain(&format!("{} cannot be read", file.display()), &error);
                return Exit::Usage;
            }
        },
        (None, Some(size)) if size > 0 => size,
        (None, _) => {
            eprintln!("harness: nothing to upload; expected a FILE, or --size such as 64MiB");
            return Exit::Usage;
        }
    };
    let cloud = Cloud::connect(&arguments.place.config()).await;
    let bucket = cloud.global_bucket();
    let bar = ProgressBar::new(size);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}") {
        bar.set_style(style);
    }
    let began = Instant::now();
    let progress = |bytes: u64| bar.inc(bytes);
    let buckets = cloud.buckets();
    let put = async {
        match &arguments.file {
            Some(file) => buckets.put_file(&bucket, build_id.as_str(), file, &progress).await,
            None => {
                let source = live::generated(arguments.seed);
                buckets.put(&bucket, build_id.as_str(), size, &source, &progress).await
            }
        }
    };
    let went: Result<(), CloudError> = tokio::select! {
        went = put => went,
        _ = tokio::signal::ctrl_c() => {
            bar.finish_and_clear();
            eprintln!("harness: interrupted; nothing of {build_id} is in bucket {bucket}");
            return Exit::Interrupted;
        }
    };
    bar.finish_and_clear();
    if let Err(error) = went {
        complain(&format!("{build_id} is not uploaded"), &error);
        return Exit::Failed;
    }
    let seconds = began.elapsed().as_secs_f64();
    match arguments.format {
        Format::Text => print(&format!(
            "{build_id} {} in bucket {bucket}, {seconds:.1} s\n",
            Bytes::new(size)
        )),
        Format::Json => {
            let json = serde_json::json!({
                "build_id": build_id.as_str(), "bucket": bucket, "bytes": size, "seconds": seconds,
            });
            print(&format!("{json:#}\n"));
        }
    }
    Exit::Well
}

fn build_id(arguments: &UploadArguments) -> Result<BuildId, String> {
    if let Some(build_id) = &arguments.build_id {
        return Ok(build_id.clone());
    }
    let name = match &arguments.file {
        Some(file) => file
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        None => {
            let now = cloud::timestamp(SystemTime::now());
            let stamp: String = now.chars().filter(char::is_ascii_alphanumeric).collect();
            format!("build-{stamp}.zip")
        }
    };
    name.parse().map_err(|error| format!("{error}; --build-id names it"))
}
