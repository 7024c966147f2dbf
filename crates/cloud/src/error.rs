//! What can go wrong with the cloud, in our words: which bucket, key or table, and whether trying again can help.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use program::chain;

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
    /// There is such an object, and it is not to be replaced.
    #[error("object {key} is in bucket {bucket} already")]
    ObjectThere {
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

    /// What kind of failure it is, in one word, as functions report it: only `Unavailable` is worth another attempt.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ObjectMissing { .. } => "ObjectMissing",
            Self::BucketMissing { .. } => "BucketMissing",
            Self::ObjectThere { .. } => "ObjectThere",
            Self::ObjectChanged { .. } => "ObjectChanged",
            Self::Invalid { .. } => "Invalid",
            Self::ConditionFailed { .. } => "ConditionFailed",
            Self::Service { retryable: true, .. } => "Unavailable",
            Self::Service { .. } => "Refused",
            Self::File { .. } => "File",
        }
    }

    /// From an SDK error whose code is none that the caller knows better. For this crate and `pipeline`.
    pub fn service<E>(action: impl Into<String>, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let response = error.raw_response();
        let status = response.map(|response| response.status().as_u16());
        let retryable = match error {
            SdkError::ConstructionFailure(_) => false,
            // What cannot be sent at all, for want of credentials for example, cannot be sent later either.
            SdkError::DispatchFailure(failure) => {
                // A certificate that is refused is refused the next time too.
                let is_trusted = !chain(error).to_ascii_lowercase().contains("certificate");
                is_trusted && (failure.is_io() || failure.is_timeout() || failure.as_other().is_some())
            }
            SdkError::ServiceError(service) => {
                service.err().code().is_some_and(is_retryable_code) || status.is_some_and(is_retryable_status)
            }
            _ => true,
        };
        let told = match (error.code(), error.message()) {
            (Some(code), Some(message)) => Some(format!("{code}: {message}")),
            (Some(code), None) => Some(code.to_owned()),
            (None, _) => None,
        };
        // The answer to HEAD has no body, and so no code.
        let message = match (told, status) {
            (Some(told), _) => told,
            (None, Some(status)) if matches!(error, SdkError::ServiceError(_)) => of_status(status),
            (None, _) => chain(error),
        };
        let elsewhere = response.and_then(|response| response.headers().get("x-amz-bucket-region"));
        let message = match elsewhere.filter(|_| matches!(status, Some(301 | 307 | 400))) {
            Some(region) => {
                format!("{message}; the bucket is in {region}: AWS_REGION or the profile names another region")
            }
            None => message,
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

/// What a status means where nothing else is told.
fn of_status(status: u16) -> String {
    let meaning = match status {
        301 | 307 => "it is in another region",
        400 => "the request is not taken: a token that has expired, or a bucket of another region",
        401 | 403 => {
            "forbidden: the role or the keys may not do this, or may not list the bucket, and S3 says so of what is missing too"
        }
        404 => "it is not there",
        412 => "it has changed meanwhile",
        429 | 503 => "the service asks for patience",
        500..=599 => "a fault of the service",
        _ => "the service refuses",
    };
    format!("status {status}: {meaning}")
}

/// A service that confesses a fault, or asks for patience.
const fn is_retryable_status(status: u16) -> bool {
    matches!(status, 429 | 500 | 502..=599)
}

/// Codes by which services ask for patience or confess a fault of their own, whatever the status.
fn is_retryable_code(code: &str) -> bool {
    matches!(
        code,
        "InternalError"
            | "InternalFailure"
            | "InternalServerError"
            | "LimitExceededException"
            | "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "ServiceUnavailable"
            | "ServiceUnavailableException"
            | "SlowDown"
            | "Throttling"
            | "ThrottledException"
            | "ThrottlingException"
            | "TooManyRequestsException"
            | "TransactionInProgressException"
    )
}
