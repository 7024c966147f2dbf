//! What can go wrong with the cloud, in our words: which bucket, key or table, and whether trying again can help.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// There is no such object.
    #[error("object {key} is not in bucket {bucket}")]
    ObjectMissing {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// There is no such bucket.
    #[error("bucket {bucket} does not exist")]
    BucketMissing {
        /// The bucket.
        bucket: String,
    },
    /// The object is another one than when it was first looked at.
    #[error("object {key} in bucket {bucket} was overwritten while it was being read (ETag {expected} became {found})")]
    ObjectChanged {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The ETag at first.
        expected: String,
        /// The ETag now.
        found: String,
    },
    /// The call makes no sense: asking again will not help.
    #[error("failed to {action}: {message}")]
    Invalid {
        /// What was tried, with bucket, key or table.
        action: String,
        /// What is wrong with it.
        message: String,
    },
    /// A condition on a row did not hold.
    #[error("row {key} of table {table} belongs to another execution by now")]
    ConditionFailed {
        /// The table.
        table: String,
        /// The row.
        key: String,
    },
    /// Anything else that the service says, or that keeps us from reaching it.
    #[error("failed to {action}: {message}")]
    Service {
        /// What was tried, with bucket, key or table.
        action: String,
        /// The code and message of the service, or of the connection.
        message: String,
        /// Whether the same call may go through later.
        retryable: bool,
    },
    /// A local file could not be read.
    #[error("failed to read {path}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
}

impl CloudError {
    /// Whether the same call may go through later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Service { retryable: true, .. })
    }

    /// From an SDK error whose code is none that the caller knows better. For this crate and `pipeline`.
    pub fn service<E, R>(action: impl Into<String>, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let retryable = match error {
            SdkError::ConstructionFailure(_) => false,
            // What cannot be sent at all, for want of credentials for example, cannot be sent later either.
            SdkError::DispatchFailure(failure) => {
                failure.is_io() || failure.is_timeout() || failure.as_other().is_some()
            }
            SdkError::ServiceError(service) => service.err().code().is_none_or(is_retryable_code),
            _ => true,
        };
        let message = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            (None, _) => chain(error),
        };
        let action = action.into();
        if error.code() == Some("ValidationException") {
            return Self::Invalid { action, message };
        }
        Self::Service {
            action,
            message,
            retryable,
        }
    }
}

/// Codes by which services ask for patience or confess a fault of their own.
fn is_retryable_code(code: &str) -> bool {
    matches!(
        code,
        "InternalError"
            | "InternalServerError"
            | "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded"
            | "RequestTimeout"
            | "ServiceUnavailable"
            | "SlowDown"
            | "Throttling"
            | "ThrottlingException"
    )
}

/// The messages of an error and all its causes, with colons between them.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message
}
