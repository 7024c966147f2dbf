//! The swarm's core in virtual time: a discrete-event network that forecasts a scenario for fleets that no laptop holds.
//!
//! It drives [`swarm::Peer`] and [`swarm::Seeder`] as the live driver does, so the protocol that is forecast is the one
//! that runs. What the network's model neglects is in `docs/model.md`. Equal scenarios give equal results, on any machine
//! and with any number of threads: regions are separate swarms, each simulated by one thread from its own seed.
//!
//! ```
//! use std::time::Duration;
//!
//! use scenario::{LoadOptions, Scenario};
//! use simulator::{Options, Status, forecast};
//!
//! let folder = tempfile::tempdir()?;
//! let file = folder.path().join("fleet.toml");
//! let links = "[network.host]\nuplink = \"1 Gbit/s\"\ndownlink = \"1 Gbit/s\"\n";
//! std::fs::write(&file, format!("[regions.region-a]\nhosts = 20\n[build]\nsize = \"16 MiB\"\n{links}"))?;
//! let scenario = Scenario::load(&file, &LoadOptions::default())?;
//! let options = Options { threads: 1, deadline: Duration::from_secs(60), record: false };
//! // Another thread may look at the status meanwhile, and stop it.
//! let forecast = forecast(&scenario, &options, &Status::new(&scenario))?;
//! assert!(forecast.regions[0].hosts.iter().all(|host| host.verified_after.is_some()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(clippy::iter_over_hash_type, clippy::cast_possible_truncation, clippy::float_cmp)]

mod event_queue;
mod forecast;
mod kernel;
mod links;
mod member;
mod prefetch;
mod region;
mod topology;
mod transfers;

pub use event_queue::EventQueue;
pub use forecast::{Forecast, Options, SimulationError, Status, forecast, kernel_difference, memory_estimate};
pub use region::{HostResult, RegionResult};
