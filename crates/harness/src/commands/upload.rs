//! `harness upload`: a build into the global bucket, in parts where it is large.

use std::time::{Duration, Instant, SystemTime};

use cloud::{BUILD_SUFFIXES, BuildId, CloudError, is_build};
use scenario::Stop;
use signing::SecretKey;
use swarm::Bytes;

use super::run::watch_signals;
use super::{print, reach, sign};
use crate::cli::{Format, UploadArguments};
use crate::exit::{Exit, chain, print_error};
use crate::live;
use crate::progress::Sending;

pub(crate) async fn upload(arguments: UploadArguments) -> Exit {
    let build_id = match build_id(&arguments) {
        Ok(build_id) => build_id,
        Err(message) => {
            say!("harness: {message}");
            return Exit::Usage;
        }
    };
    let size = match (&arguments.file, arguments.size) {
        (Some(file), _) => match std::fs::metadata(file) {
            Ok(found) if found.is_file() && found.len() > 0 => found.len(),
            Ok(_) => {
                say!("harness: {} is empty or no file; expected a build", file.display());
                return Exit::Usage;
            }
            Err(error) => {
                say!("harness: {} cannot be read: {error}; expected a build", file.display());
                return Exit::Usage;
            }
        },
        (None, Some(size)) if size > 0 => size,
        (None, _) => {
            say!("harness: nothing to upload; expected a FILE, or --size such as 64MiB");
            return Exit::Usage;
        }
    };
    let signature = match signature(&arguments, &build_id, size).await {
        Ok(signature) => signature,
        Err((exit, message)) => {
            say!("harness: {message}");
            return exit;
        }
    };
    let cloud = match reach::connect(&arguments.place).await {
        Ok(cloud) => cloud,
        Err(exit) => return exit,
    };
    let bucket = cloud.global_bucket();
    let sending = Sending::new("upload", size);
    let began = Instant::now();
    let progress = |bytes: u64| sending.add(bytes);
    let buckets = match arguments.replace {
        true => cloud.buckets(),
        false => cloud.buckets().only_new(),
    };
    let buckets = match &signature {
        Some(signature) => buckets.signed(signature.clone()),
        None => buckets,
    };
    if !is_build(build_id.as_str(), BUILD_SUFFIXES) {
        say!(
            "harness: {build_id} does not end as builds do, in .zip or .tar.gz for example: it is copied to the regions, and no \
             host is told of it unless the pipeline's build_suffixes say so"
        );
    }
    let (began_at, mut stop) = match watch_signals() {
        Ok(stop) => (SystemTime::now(), stop),
        Err(error) => {
            print_error("failed to listen for signals", &error);
            return Exit::Failed;
        }
    };
    let put = async {
        match &arguments.file {
            Some(file) => buckets.put_file(&bucket, build_id.as_str(), file, &progress).await,
            None => {
                let source = live::generated(arguments.seed);
                buckets.put(&bucket, build_id.as_str(), size, &source, &progress).await
            }
        }
    };
    let went: Option<Result<(), CloudError>> = tokio::select! {
        went = put => Some(went),
        _ = stop.wait_for(Option::is_some) => None,
    };
    sending.finish();
    let Some(went) = went else {
        let aborted = buckets.abort_uploads(&bucket, build_id.as_str(), began_at);
        let left = match tokio::time::timeout(ABORT_PATIENCE, aborted).await {
            Ok(Ok(_)) => format!("nothing of {build_id} is left in bucket {bucket}"),
            _ => format!(
                "parts of {build_id} may be left in bucket {bucket}, which cost and which no listing of objects shows; `aws s3api \
                 list-multipart-uploads --bucket {bucket}` shows them and `abort-multipart-upload` removes them"
            ),
        };
        say!("harness: interrupted; {left}");
        let signal = *stop.borrow();
        return match signal {
            Some(Stop::Terminated) => Exit::Terminated,
            _ => Exit::Interrupted,
        };
    };
    if let Err(CloudError::ObjectThere { .. }) = &went {
        say!(
            "harness: {build_id} is in bucket {bucket} already, and one id is not to mean two builds; --replace puts this one in \
             its place"
        );
        return Exit::No;
    }
    if let Err(error) = went {
        print_error(&format!("{build_id} is not uploaded"), &error);
        return Exit::Failed;
    }
    let seconds = began.elapsed().as_secs_f64();
    match arguments.format {
        Format::Text => print(&format!(
            "{build_id} {} in bucket {bucket}, {}{seconds:.1} s\n",
            Bytes::new(size),
            signature.as_ref().map_or("", |_| "signed, "),
        )),
        Format::Json => {
            let json = serde_json::json!({
                "build_id": build_id.as_str(), "bucket": bucket, "bytes": size, "seconds": seconds, "signature": signature,
            });
            print(&format!("{json:#}\n"));
        }
    }
    Exit::Success
}

/// The signature that is asked for.
async fn signature(
    arguments: &UploadArguments,
    build_id: &BuildId,
    size: u64,
) -> Result<Option<String>, (Exit, String)> {
    let Some(key) = &arguments.sign else {
        if arguments.terms.is_given() {
            let message =
                "--sequence, --expires and --chunk-size are said of a signature; expected --sign KEY with them";
            return Err((Exit::Usage, message.to_owned()));
        }
        return Ok(None);
    };
    let key = SecretKey::read(key).map_err(|error| (Exit::Usage, chain(&error)))?;
    let source = match &arguments.file {
        Some(file) => live::file(file).map_err(|error| (Exit::Usage, chain(&error)))?,
        None => live::generated(arguments.seed),
    };
    let signed = sign::sign_source(&key, build_id, size, &source, &arguments.terms).await;
    let signed = signed.map_err(|error| (Exit::Failed, format!("{build_id} cannot be signed: {}", chain(&error))))?;
    Ok(Some(signed.to_string()))
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

/// Parts of an upload that is given up are removed in this time, or named.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);
