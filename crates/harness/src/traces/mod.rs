//! A run's stages as a trace in the OpenTelemetry protocol, sent to a collector when the run has ended.
//!
//! Map: `body` is the text that is sent, `collector` where to and how, `tls` whom it believes there. Invariant: what becomes of a trace changes nothing of the run; a
//! collector that cannot be reached costs one warning and a limited time.

mod body;
mod collector;
mod tls;

pub(crate) use collector::{Collector, base_of};
