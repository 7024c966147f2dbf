//! Where the trace of a run goes.

use clap::Args;

use crate::traces::base_of;

#[derive(Clone, Debug, Args)]
pub(crate) struct TraceArguments {
    /// Send a trace of the run's stages (upload, copies, pulls, fan-outs, rows) to this OpenTelemetry collector when it ends, such as
    /// http://127.0.0.1:4318, by OTLP over HTTP in JSON. Where absent, OTEL_EXPORTER_OTLP_ENDPOINT and its like say where.
    #[arg(long, value_name = "URL", value_parser = boxed)]
    pub(crate) otlp: Option<Box<hyper::Uri>>,
}

/// A command is a value of one type with all others, and most have no URL.
fn boxed(text: &str) -> Result<Box<hyper::Uri>, String> {
    base_of(text).map(Box::new)
}
