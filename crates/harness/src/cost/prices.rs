//! What AWS asks, by region: a dated file, `prices/aws.toml` where nobody gives another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The file of this repository.
const SHIPPED: &str = include_str!("../../../../prices/aws.toml");

/// The prices of a day, in US dollars.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    /// Of which day.
    pub(crate) date: String,
    pub(crate) everywhere: Everywhere,
    regions: BTreeMap<String, OfRegion>,
}

/// What is the same in all regions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Everywhere {
    pub(crate) transitions: Price,
    pub(crate) calls: Price,
    pub(crate) gb_seconds: Price,
    pub(crate) messages: Price,
    pub(crate) cross_zone: Price,
}

/// Dollars for so many.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    pub(crate) price: f64,
    pub(crate) per: f64,
    /// Where that stands.
    source: String,
}

/// What differs: dollars for a GB, for 1,000 requests, for 1,000,000 units of a table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfRegion {
    pub(crate) storage: f64,
    pub(crate) put: f64,
    pub(crate) get: f64,
    out: f64,
    near: Option<String>,
    out_near: Option<f64>,
    pub(crate) write: f64,
    pub(crate) read: f64,
    pub(crate) rows: f64,
}

/// Why there are no prices.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PricesError {
    #[error("{} cannot be read", path.display())]
    Unread { path: PathBuf, source: std::io::Error },
    #[error("{place} is no file of prices: {message}; expected one as prices/aws.toml is")]
    NoPrices { place: String, message: String },
    #[error("there are no prices of region {given:?}; did you mean {nearest}? Those there are: {known}")]
    UnknownRegion {
        given: String,
        nearest: String,
        known: String,
    },
}

impl Prices {
    /// Of this file, or of the one that comes with the program.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, PricesError> {
        let Some(path) = path else {
            return Self::parse("prices/aws.toml", SHIPPED);
        };
        let text = std::fs::read_to_string(path).map_err(|source| PricesError::Unread {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    fn parse(place: &str, text: &str) -> Result<Self, PricesError> {
        let wrong = |message: String| PricesError::NoPrices {
            place: place.to_owned(),
            message,
        };
        let prices: Self = toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        if prices.regions.is_empty() {
            return Err(wrong("it has no regions".to_owned()));
        }
        for (what, value) in prices.values() {
            if !value.is_finite() || value < 0.0 {
                return Err(wrong(format!("{what} = {value}: expected 0 or more dollars")));
            }
        }
        for (what, price) in prices.everywhere.all() {
            if !price.source.starts_with("https://") {
                let source = &price.source;
                return Err(wrong(format!(
                    "everywhere.{what}.source = {source:?}: expected the page that says so"
                )));
            }
            if !price.per.is_finite() || price.per <= 0.0 {
                return Err(wrong(format!(
                    "everywhere.{what}.per = {}: expected more than 0",
                    price.per
                )));
            }
        }
        Ok(prices)
    }

    /// Every price, by its key.
    fn values(&self) -> Vec<(String, f64)> {
        let everywhere = self.everywhere.all();
        let everywhere = everywhere.map(|(key, price)| (format!("everywhere.{key}.price"), price.price));
        let regions = self.regions.iter().flat_map(|(name, of)| {
            let keys = [
                ("storage", of.storage),
                ("put", of.put),
                ("get", of.get),
                ("out", of.out),
                ("out_near", of.out_near.unwrap_or_default()),
                ("write", of.write),
                ("read", of.read),
                ("rows", of.rows),
            ];
            keys.map(|(key, value)| (format!("regions.{name}.{key}"), value))
        });
        everywhere.into_iter().chain(regions).collect()
    }

    /// Those of a region.
    pub(crate) fn of(&self, region: &str) -> Result<&OfRegion, PricesError> {
        self.regions.get(region).ok_or_else(|| {
            let known = self.regions.keys();
            let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(region, known));
            PricesError::UnknownRegion {
                given: region.to_owned(),
                nearest: nearest.cloned().unwrap_or_default(),
                known: self.regions.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            }
        })
    }
}

impl Everywhere {
    fn all(&self) -> [(&'static str, &Price); 5] {
        [
            ("transitions", &self.transitions),
            ("calls", &self.calls),
            ("gb_seconds", &self.gb_seconds),
            ("messages", &self.messages),
            ("cross_zone", &self.cross_zone),
        ]
    }
}

impl OfRegion {
    /// A GB to another region; nothing within the region itself is asked for.
    pub(crate) fn out_to(&self, own: &str, other: &str) -> f64 {
        match (&self.near, self.out_near) {
            _ if own == other => 0.0,
            (Some(near), Some(price)) if near == other => price,
            _ => self.out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prices_that_come_with_the_program_have_a_date_and_sources() {
        let prices = Prices::load(None).unwrap();
        assert_eq!(prices.date.len(), "2025-07-01".len(), "{}", prices.date);
        for (name, of) in &prices.regions {
            let near = of.near.as_ref();
            assert!(near.is_none_or(|near| prices.regions.contains_key(near)), "{name}");
            assert_eq!(near.is_some(), of.out_near.is_some(), "{name}");
        }
    }

    #[test]
    fn a_region_without_prices_is_told_with_the_nearest() {
        let prices = Prices::load(None).unwrap();
        for (given, nearest) in [("eu-west1", "eu-west-1"), ("us-esat-2", "us-east-2"), ("", "us-east-1")] {
            let error = prices.of(given).unwrap_err().to_string();
            assert!(
                error.contains(&format!("did you mean {nearest}?")) || given.is_empty(),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_that_is_none_says_what_is_wrong_and_where() {
        let of = |from: &str, to: &str| {
            assert!(SHIPPED.contains(from), "{from}");
            let error = Prices::parse("my.toml", &SHIPPED.replacen(from, to, 1)).unwrap_err();
            error.to_string()
        };
        for (from, to, message) in [
            ("date = ", "dates = ", "dates"),
            ("storage = 0.023", "storage = -1.0", "storage = -1"),
            ("storage = 0.023", "storage = nan", "storage = NaN"),
            ("storage = 0.023", "storage = \"dear\"", "expected"),
            ("per = 1000", "per = 0", "everywhere.transitions.per"),
            ("https://aws.amazon.com/step", "step", "everywhere.transitions.source"),
            ("[everywhere]", "[everywhere", "line"),
        ] {
            let error = of(from, to);
            assert!(
                error.contains("my.toml is no file of prices") && error.contains(message),
                "{error}"
            );
        }
        let error = Prices::load(Some(Path::new("/no/such/prices.toml"))).unwrap_err();
        assert!(error.to_string().contains("/no/such/prices.toml"));
    }

    #[test]
    fn bytes_to_a_near_region_cost_less_and_within_one_nothing() {
        let prices = Prices::load(None).unwrap();
        let home = prices.of("us-east-1").unwrap();
        let to = |other| home.out_to("us-east-1", other);
        assert_eq!((to("us-east-1"), to("us-east-2"), to("eu-west-1")), (0.0, 0.01, 0.02));
    }
}
