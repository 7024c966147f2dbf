//! Where traces go: by --otlp, or by the environment variables that OpenTelemetry's specification has for exporters.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::body;
use super::tls::{self, Trust};
use crate::live::Timeline;

/// A collector, and what it is told beside a trace. Its URL may have a password, and is told without.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    url: Uri,
    headers: Vec<(String, String)>,
    /// Of who sends.
    service: Vec<(String, String)>,
    patience: Duration,
    trust: Trust,
}

/// The URL of a collector, as --otlp has it.
///
/// # Errors
/// What was expected.
pub(crate) fn base_of(text: &str) -> Result<Uri, String> {
    let expected = "expected the URL of a collector, such as http://127.0.0.1:4318";
    let url: Uri = text.parse().map_err(|error| format!("{error}; {expected}"))?;
    match (url.scheme_str(), url.authority()) {
        (Some("http" | "https"), Some(_)) => Ok(url),
        _ => Err(expected.to_owned()),
    }
}

impl Collector {
    /// The one that was asked for, or that the environment names; none where there is none. What is wrong in the environment was said.
    pub(crate) fn of(asked: Option<&Uri>, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let url = match asked {
            Some(base) => of_traces(base),
            None => of_environment(&variable)?,
        };
        let either = |kind: &str| {
            let own = variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{kind}"));
            own.or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{kind}")))
        };
        let mut service = pairs(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
        let name = variable("OTEL_SERVICE_NAME");
        if name.is_some() || !service.iter().any(|(key, _)| key == "service.name") {
            service.retain(|(key, _)| key != "service.name");
            let name = name.unwrap_or_else(|| "fleetcast".to_owned());
            service.insert(0, ("service.name".to_owned(), name));
        }
        let trust = match Trust::of(&either) {
            Ok(trust) => trust,
            Err(why) => {
                say!("harness: warning: {why}; no trace is sent");
                return None;
            }
        };
        let patience = either("TIMEOUT").and_then(|ms| {
            let read = ms.parse().ok();
            if read.is_none() {
                say!(
                    "harness: warning: OTEL_EXPORTER_OTLP_TIMEOUT, or that of traces, is {ms}; expected milliseconds, so it counts as {}",
                    PATIENCE.as_millis()
                );
            }
            read
        });
        Some(Self {
            url,
            headers: pairs(&either("HEADERS").unwrap_or_default()),
            service,
            patience: patience.map_or(PATIENCE, Duration::from_millis),
            trust,
        })
    }

    /// Sends the trace of a run. Where that cannot be done, one line says why.
    pub(crate) async fn send(&self, timeline: &Timeline) {
        let sent = tokio::time::timeout(self.patience, self.post(timeline)).await;
        let why = match sent {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(_elapsed) => format!("it did not answer within {} ms", self.patience.as_millis()),
        };
        say!(
            "harness: warning: the trace of this run was not taken by {}: {why}; the run itself is not affected. Expected a collector that \
             takes OTLP over HTTP",
            self.told()
        );
    }

    /// Where it is: scheme, host and path.
    fn told(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let host = self.url.host().unwrap_or_default();
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{host}{port}{}", self.url.path())
    }

    async fn post(&self, timeline: &Timeline) -> Result<(), String> {
        let body = body::request(timeline, &self.service).to_string();
        let mut request = Request::post(&self.url).header(CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            // Values may be credentials, and are not repeated.
            let wrong = |_| format!("{name} of OTEL_EXPORTER_OTLP_HEADERS, or of that of traces, is no header of HTTP");
            let name = HeaderName::try_from(name).map_err(|error| wrong(error.to_string()))?;
            let mut value = HeaderValue::try_from(value).map_err(|error| wrong(error.to_string()))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let answer = if self.url.scheme_str() == Some("https") {
            self.trust.client()?.request(request).await
        } else {
            Client::builder(TokioExecutor::new())
                .build_http()
                .request(request)
                .await
        };
        let answer = answer.map_err(|error| tls::hinted(crate::exit::chain(&error)))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("it answered {status}"));
        }
        let said = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let said = said.map(|said| said.to_bytes()).unwrap_or_default();
        rejected(&serde_json::from_slice(&said).unwrap_or_default())
    }
}

/// A collector that takes a request may have refused a part of it.
fn rejected(answer: &Value) -> Result<(), String> {
    let partial = &answer["partialSuccess"];
    let count = match &partial["rejectedSpans"] {
        Value::String(count) => count.parse().unwrap_or_default(),
        count => count.as_u64().unwrap_or_default(),
    };
    if count == 0 {
        return Ok(());
    }
    let why = partial["errorMessage"].as_str().unwrap_or("it does not say why");
    Err(format!("it rejected {count} spans ({why})"))
}

/// As the specification has it for an endpoint of all signals: the signal's path is added.
fn of_traces(base: &Uri) -> Uri {
    let text = base.to_string();
    let text = text.trim_end_matches('/');
    if text.ends_with(TRACES) {
        return base.clone();
    }
    format!("{text}{TRACES}").parse().unwrap_or_else(|_| base.clone())
}

fn of_environment(variable: &impl Fn(&str) -> Option<String>) -> Option<Uri> {
    let is = |name: &str, value: &str| variable(name).is_some_and(|set| set.eq_ignore_ascii_case(value));
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    let named = |name: &'static str| Some((name, variable(name)?));
    let of_one = named("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let (name, text) = of_one.clone().or_else(|| named("OTEL_EXPORTER_OTLP_ENDPOINT"))?;
    match base_of(&text) {
        // An endpoint of traces alone is taken as it is.
        Ok(url) if of_one.is_some() => Some(url),
        Ok(base) => Some(of_traces(&base)),
        Err(why) => {
            say!("harness: warning: {name} = {text}: {why}; no trace is sent");
            None
        }
    }
}

/// `key=value,key=value`, with percent signs as in URLs.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (unescaped(key.trim()), unescaped(value.trim())))
        .collect()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const TRACES: &str = "/v1/traces";
/// What the specification has for exporters.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than a collector says of a request that it took.
const ANSWER_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(asked: Option<&str>, variables: &[(&str, &str)]) -> Option<Collector> {
        let asked = asked.map(|asked| base_of(asked).unwrap());
        Collector::of(asked.as_ref(), |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn url(asked: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        of(asked, variables).map(|collector| collector.url.to_string())
    }

    #[test]
    fn the_flag_counts_before_the_environment_and_traces_before_all_signals() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/prefix/");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:9/as/it/is");
        assert_eq!(url(None, &[]), None);
        assert_eq!(url(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        assert_eq!(url(None, &[all]).unwrap(), "http://all:4318/prefix/v1/traces");
        assert_eq!(url(None, &[all, traces]).unwrap(), "http://traces:9/as/it/is");
        assert_eq!(
            url(Some("https://own"), &[all, traces]).unwrap(),
            "https://own/v1/traces"
        );
        assert_eq!(url(Some("http://own/v1/traces"), &[]).unwrap(), "http://own/v1/traces");
        assert_eq!(url(None, &[all, ("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(url(None, &[all, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert_eq!(url(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "all:4318")]), None);
        for wrong in ["", "collector", "grpc://collector:4317", "http://", "127.0.0.1:4318"] {
            assert!(base_of(wrong).unwrap_err().contains("http://127.0.0.1:4318"), "{wrong}");
        }
    }

    #[test]
    fn what_is_told_of_a_collector_has_no_password() {
        let collector = of(Some("https://me:secret@c:9/a"), &[]).unwrap();
        assert_eq!(collector.told(), "https://c:9/a/v1/traces");
    }

    #[test]
    fn headers_and_attributes_are_read_with_their_escapes() {
        let collector = of(
            Some("http://c"),
            &[
                ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b%3D, other = 100%"),
                ("OTEL_RESOURCE_ATTRIBUTES", "team=builds,service.name=theirs"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ],
        )
        .unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(collector.headers, [pair("x-key", "a b="), pair("other", "100%")]);
        assert_eq!(
            collector.service,
            [pair("team", "builds"), pair("service.name", "theirs")]
        );
        assert_eq!(collector.patience, Duration::from_millis(250));
        let named = of(
            Some("http://c"),
            &[
                ("OTEL_SERVICE_NAME", "ours"),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=theirs"),
            ],
        );
        assert_eq!(named.unwrap().service, [pair("service.name", "ours")]);
        assert_eq!(
            of(Some("http://c"), &[]).unwrap().service,
            [pair("service.name", "fleetcast")]
        );
    }

    #[test]
    fn what_a_collector_rejects_is_told() {
        assert!(rejected(&Value::Null).is_ok());
        assert!(rejected(&serde_json::json!({ "partialSuccess": {} })).is_ok());
        let some = serde_json::json!({ "partialSuccess": { "rejectedSpans": "2", "errorMessage": "full" } });
        assert_eq!(rejected(&some).unwrap_err(), "it rejected 2 spans (full)");
    }
}
