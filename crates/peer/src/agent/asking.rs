//! `peer status`: asks the agent of this machine how it is, and shows that.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::check::not_configured;
use super::configuration::{NotConfigured, read_sources};
use super::http::HttpAddress;
use super::speech;
use super::status::Status;

/// Say how the agent of this machine is: its builds, what it moves, and why it waits.
#[derive(Debug, Parser)]
#[command(name = "peer status")]
struct Arguments {
    /// The agent's configuration, which says where it answers. Where nobody names one /etc/fleetcast/host.toml, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the agent answers, if that is not to be found in its configuration.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<HttpAddress>,
    /// For people, or the object that /status answers.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// Asks, and prints the answer. The exit code is 4 where nobody answers, and 2 where it is not known whom to ask.
pub(crate) fn status(flags: &[OsString]) -> ExitCode {
    let line = std::iter::once(OsString::from("peer status")).chain(flags.iter().cloned());
    let arguments = match Arguments::try_parse_from(line) {
        Ok(arguments) => arguments,
        Err(error) => return not_configured(NotConfigured::Flags(error)),
    };
    let address = match address_of(&arguments) {
        Ok(address) => address,
        Err(exit) => return exit,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail((4, format!("failed to start the runtime: {error}"))),
    };
    let asked: Result<String, String> = runtime.block_on(async {
        let text = get(&address, "/status").await?;
        match arguments.format {
            Format::Json => Ok(text),
            Format::Text => {
                let first = parsed(&text)?;
                // A rate is what was moved between two looks.
                tokio::time::sleep(BETWEEN_LOOKS).await;
                let second = parsed(&get(&address, "/status").await?)?;
                Ok(shown(&first, &second))
            }
        }
    });
    match asked {
        Ok(text) => match speech::print_line(text.trim_end()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => super::fail((4, format!("failed to print the status: {error}"))),
        },
        Err(why) => super::fail((4, format!("{address}: {why}; is the agent running there?"))),
    }
}

/// Where the agent answers, by flag, environment or file.
fn address_of(arguments: &Arguments) -> Result<HttpAddress, ExitCode> {
    if let Some(address) = &arguments.http {
        return Ok(address.clone());
    }
    let config = arguments
        .config
        .iter()
        .flat_map(|file| ["--config".into(), file.clone().into_os_string()]);
    let flags: Vec<OsString> = config.collect();
    let merged = read_sources(&flags).map_err(|problems| not_configured(NotConfigured::Problems(problems)))?;
    let said = merged.get("http").and_then(|http| http.values.first());
    said.and_then(|said| said.parse().ok()).ok_or_else(|| {
        let file = merged
            .file
            .map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string());
        super::fail((
            2,
            format!("{file} does not say where the agent answers; expected a key http there, or --http ADDRESS"),
        ))
    })
}

async fn get(address: &HttpAddress, path: &str) -> Result<String, String> {
    let answered = async {
        match address {
            HttpAddress::Tcp(at) => get_over(TcpStream::connect(at).await.map_err(|e| e.to_string())?, path).await,
            HttpAddress::Unix(at) => get_over(UnixStream::connect(at).await.map_err(|e| e.to_string())?, path).await,
        }
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(answer) => answer,
        Err(_late) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn get_over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, path: &str) -> Result<String, String> {
    let told = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(told)?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "localhost")
        .body(Empty::<bytes::Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(told)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() {
        Ok(text)
    } else {
        Err(format!("{status}: {}", text.trim_end()))
    }
}

fn parsed(text: &str) -> Result<Status, String> {
    serde_json::from_str(text).map_err(|error| format!("the answer is none of this release's agent: {error}"))
}

/// The second look for people, with what was moved since the first.
fn shown(first: &Status, second: &Status) -> String {
    let seconds = (second.up_s - first.up_s).max(0.001);
    let rate = |before: u64, now: u64| speech::bytes((now.saturating_sub(before) as f64 / seconds) as u64);
    let limit = |limit: Option<u64>| {
        limit.map_or_else(
            || "no limit".to_owned(),
            |limit| format!("at most {}/s", speech::bytes(limit)),
        )
    };
    let (before, now) = (&first.bytes, &second.bytes);
    let received = |bytes: &super::status::Bytes| bytes.from_seeders + bytes.from_hosts;
    let mut text = String::new();
    let Status {
        version,
        host,
        folder,
        directory,
        ..
    } = second;
    let answers = match (&directory.error, directory.answers) {
        (Some(error), _) => format!("does not answer: {error}"),
        (None, true) => "answers".to_owned(),
        (None, false) => "has not answered yet".to_owned(),
    };
    let lines = [
        format!("host {host}, release {version}, up for {} s", second.up_s as u64),
        format!("directory {}: {answers}", directory.address),
        format!(
            "sends {}/s ({}), receives {}/s ({})",
            rate(before.sent, now.sent),
            limit(second.upload_limit_bytes_per_s),
            rate(received(before), received(now)),
            limit(second.download_limit_bytes_per_s)
        ),
        format!(
            "{} of builds in {folder}, {} free; {} neighbours, {} connections, {} rows wait",
            speech::bytes(second.store_bytes),
            second
                .disk_free_bytes
                .map_or_else(|| "unknown".to_owned(), speech::bytes),
            second.neighbours,
            second.connections,
            second.rows_waiting
        ),
    ];
    for line in lines {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{line}");
    }
    text.push_str(&table(second));
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The builds, each in a line.
fn table(status: &Status) -> String {
    let mut text = String::new();
    let names = status.builds.iter().map(|build| build.build.chars().count());
    let width = names.max().unwrap_or_default().max("BUILD".len());
    if !status.builds.is_empty() {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "\n{:width$}  {:<9} {:>13} {:>10}  WHY",
            "BUILD", "STATE", "CHUNKS", "NEIGHBOURS"
        );
    }
    for build in &status.builds {
        let chunks = format!("{}/{}", build.chunks_held, build.chunks_total);
        let otherwise = if build.is_listed { "" } else { "not listed any more" };
        let why = build.why.as_deref().unwrap_or(otherwise);
        let state = build.state.word().replace('_', " ");
        let _ = writeln!(
            text,
            "{:width$}  {state:<9} {chunks:>13} {:>10}  {why}",
            build.build, build.neighbours
        );
    }
    text
}

/// Between two looks at what was moved.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// An agent that turns answers long before.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const ANSWER_MAX: usize = 16 << 20;
