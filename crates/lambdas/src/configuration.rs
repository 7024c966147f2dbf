//! What a function is told by its environment.

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
