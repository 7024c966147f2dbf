//! Why a function has failed, with a kind that alarms, filters and the workflow can tell from another one.

use cloud::{CloudError, EventError};
use lambda_runtime::Diagnostic;
use program::chain;

use crate::configuration::ConfigurationError;
use crate::http::BadRequest;

/// A failure that the runtime reports: the event is tried again, and then goes to the dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    kind: &'static str,
    message: String,
}

impl Failure {
    /// Of an event or a request that makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidEvent", message)
    }

    /// Of this kind.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    /// Its kind: the `errorType` of a function's answer.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self {
            error_type: failure.kind.to_owned(),
            error_message: failure.message,
        }
    }
}

impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Self {
        Self::new(error.kind(), chain(&error))
    }
}

impl From<EventError> for Failure {
    fn from(error: EventError) -> Self {
        Self::new("NotAnEvent", error.to_string())
    }
}

impl From<ConfigurationError> for Failure {
    fn from(error: ConfigurationError) -> Self {
        Self::new("Configuration", error.to_string())
    }
}

impl From<BadRequest> for Failure {
    fn from(error: BadRequest) -> Self {
        Self::invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_words_and_not_types_of_rust() {
        let failure = Failure::from(CloudError::BucketMissing { bucket: "b".to_owned() });
        let told = Diagnostic::from(failure);
        assert_eq!(told.error_type, "BucketMissing");
        assert!(told.error_message.contains("bucket b"), "{}", told.error_message);
        let event = cloud::objects_created(&serde_json::json!({})).unwrap_err();
        assert_eq!(Failure::from(event).kind(), "NotAnEvent");
    }
}
