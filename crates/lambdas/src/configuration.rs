//! What a function is told by its environment.

use std::ops::RangeInclusive;

/// A variable that is missing or makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {variable} {problem}")]
pub struct ConfigurationError {
    variable: &'static str,
    problem: String,
}

/// The text of a variable.
///
/// # Errors
/// Where it is missing or empty.
pub fn text(variable: &'static str) -> Result<String, ConfigurationError> {
    std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or_else(|| ConfigurationError {
            variable,
            problem: "is not set; the function's infrastructure sets it".to_owned(),
        })
}

/// The text of a variable that may be missing.
pub fn optional(variable: &'static str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// A whole number of this range; `otherwise` where it is not said.
///
/// # Errors
/// Where it is something else.
pub fn number(variable: &'static str, otherwise: u32, range: RangeInclusive<u32>) -> Result<u32, ConfigurationError> {
    number_of(variable, optional(variable).as_deref(), otherwise, range)
}

fn number_of(
    variable: &'static str,
    told: Option<&str>,
    otherwise: u32,
    range: RangeInclusive<u32>,
) -> Result<u32, ConfigurationError> {
    let Some(told) = told else {
        return Ok(otherwise);
    };
    let number = told.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| ConfigurationError {
        variable,
        problem: format!("is {told:?}; expected {} to {}", range.start(), range.end()),
    })
}

/// Texts with commas between them.
///
/// # Errors
/// Where there are none.
pub fn list(variable: &'static str) -> Result<Vec<String>, ConfigurationError> {
    let value = text(variable)?;
    Ok(value
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_of_its_range_or_is_refused_with_it() {
        let number = |told| number_of("SEEDERS_PER_REGION", told, 1, 1..=8);
        assert_eq!((number(None), number(Some("3"))), (Ok(1), Ok(3)));
        for wrong in ["0", "9", "two", "-1"] {
            let said = number(Some(wrong)).unwrap_err().to_string();
            assert!(
                said.contains("SEEDERS_PER_REGION is") && said.contains("expected 1 to 8"),
                "{said}"
            );
        }
    }
}
