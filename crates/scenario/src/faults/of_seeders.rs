//! Seeders that go.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A seeder that goes, and comes back with the build or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeederFault {
    /// Its name in the file.
    pub name: String,
    /// In which regions; all where absent.
    pub regions: Option<Vec<String>>,
    /// Which of a region's, counted from 0; all where absent.
    pub seeder: Option<u32>,
    /// When it goes, after it began to seed.
    pub at: Duration,
    /// How long it is away; for good where absent.
    pub down: Option<Duration>,
}

/// Whether it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeederFaultKind {
    /// After a while, with the build.
    Restart,
    /// Never.
    Lost,
}

impl SeederFault {
    /// Whether it is about this seeder of this region.
    pub(crate) fn applies_to(&self, region: &str, seeder: u32) -> bool {
        let regions = self.regions.as_ref();
        let here = regions.is_none_or(|regions| regions.iter().any(|name| name == region));
        here && self.seeder.is_none_or(|one| one == seeder)
    }
}
