//! Builds in S3: looking, and reading by ranges of one version. Uploading and copying are in `uploads.rs`.
//!
//! Invariant: ranges that were read with the same `ObjectInfo` are of the same version of the object.

use std::collections::HashMap;
use std::ops::Range;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use bytes::Bytes;

use crate::clients::Credentials;
use crate::error::CloudError;
use crate::names::{fnv1a, is_build};
use crate::retry::Backoff;

/// An object as it was when first looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The ETag: reading a range checks that the object still has it.
    pub etag: String,
}

/// The buckets of a cloud.
#[derive(Clone, Debug)]
pub struct Buckets {
    pub(crate) client: Client,
    /// Whether uploads land only where nothing is.
    pub(crate) only_new: bool,
    /// Who vouches for what is uploaded.
    signature: Option<String>,
}

impl Buckets {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            only_new: false,
            signature: None,
        }
    }

    /// The same buckets, to which an upload comes only where there is no object of its key: a build id does not silently mean two
    /// builds.
    #[must_use]
    pub fn only_new(&self) -> Self {
        Self {
            only_new: true,
            ..self.clone()
        }
    }

    /// The same buckets, to which an upload comes with this signature: metadata of the object, which it has from the moment in which it is
    /// there, and which copies take along.
    #[must_use]
    pub fn signed(&self, signature: String) -> Self {
        Self {
            signature: Some(signature),
            ..self.clone()
        }
    }

    /// The same buckets, asked by who has these credentials.
    #[must_use]
    pub fn asked_by(&self, credentials: &Credentials) -> Self {
        let credentials = credentials.for_sdk("session");
        let config = self.client.config().to_builder().credentials_provider(credentials);
        Self {
            client: Client::from_conf(config.build()),
            ..self.clone()
        }
    }

    /// The metadata of an upload.
    pub(crate) fn metadata(&self) -> Option<HashMap<String, String>> {
        let signature = self.signature.clone()?;
        Some(HashMap::from([(SIGNATURE.to_owned(), signature)]))
    }

    /// Makes a bucket; a bucket of ours that is there is fine.
    pub async fn create_if_missing(&self, bucket: &str) -> Result<(), CloudError> {
        Backoff::READ
            .seeded(fnv1a(bucket).into())
            .run(|| self.create_once(bucket))
            .await
    }

    async fn create_once(&self, bucket: &str) -> Result<(), CloudError> {
        if self.is_ours(bucket).await {
            return Ok(());
        }
        let mut request = self.client.create_bucket().bucket(bucket);
        // S3 wants no word on the region where it is the first one, and its name everywhere else.
        if let Some(region) = self
            .client
            .config()
            .region()
            .filter(|region| region.as_ref() != "us-east-1")
        {
            let location = BucketLocationConstraint::from(region.as_ref());
            let configuration = CreateBucketConfiguration::builder()
                .location_constraint(location)
                .build();
            request = request.create_bucket_configuration(configuration);
        }
        match request.send().await {
            Ok(_) => Ok(()),
            // Somebody else may have been faster, in which case it is there by now.
            Err(_) if self.is_ours(bucket).await => Ok(()),
            Err(error) => Err(CloudError::service(format!("create bucket {bucket}"), &error)),
        }
    }

    async fn is_ours(&self, bucket: &str) -> bool {
        self.client.head_bucket().bucket(bucket).send().await.is_ok()
    }

    /// The build that was changed last, of all in a bucket whose keys end as builds do (see [`is_build`]).
    pub async fn newest(&self, bucket: &str, suffixes: &str) -> Result<Option<String>, CloudError> {
        let newest = self.last_changed(bucket, suffixes).await?;
        Ok(newest.map(|(key, _)| key))
    }

    /// The same, and when it was changed: milliseconds of the service's clock since 1970.
    pub async fn last_changed(&self, bucket: &str, suffixes: &str) -> Result<Option<(String, i64)>, CloudError> {
        let mut newest: Option<(String, i64)> = None;
        let mut token = None;
        loop {
            let list = || async {
                let request = self.client.list_objects_v2().bucket(bucket);
                let listed = request.set_continuation_token(token.clone()).send().await;
                listed.map_err(|error| CloudError::service(format!("list bucket {bucket}"), &error))
            };
            let listed = Backoff::READ.seeded(fnv1a(bucket).into()).run(list).await?;
            for object in listed.contents.unwrap_or_default() {
                let changed = object.last_modified.and_then(|at| at.to_millis().ok());
                if let (Some(changed), Some(key)) = (changed, object.key)
                    && is_build(&key, suffixes)
                    && newest.as_ref().is_none_or(|(_, at)| changed > *at)
                {
                    newest = Some((key, changed));
                }
            }
            token = listed.next_continuation_token;
            if token.is_none() {
                return Ok(newest);
            }
        }
    }

    /// Looks at an object; tries again where that can help.
    pub async fn head(&self, bucket: &str, key: &str) -> Result<ObjectInfo, CloudError> {
        Ok(self.head_signed(bucket, key).await?.0)
    }

    /// The same, and who vouches for it: what [`Buckets::signed`] gave it, whatever that is.
    pub async fn head_signed(&self, bucket: &str, key: &str) -> Result<(ObjectInfo, Option<String>), CloudError> {
        let (object, mut headers) = match self.head_version(bucket, key, None).await {
            Ok(there) => there.split(),
            Err(error @ CloudError::ObjectMissing { .. }) => {
                // The answer to HEAD has no body, which would say what is missing.
                let is_there = !matches!(self.region_of(bucket).await, Err(CloudError::BucketMissing { .. }));
                let bucket = bucket.to_owned();
                return Err(if is_there {
                    error
                } else {
                    CloudError::BucketMissing { bucket }
                });
            }
            Err(error) => return Err(error),
        };
        Ok((object, headers.metadata.remove(SIGNATURE)))
    }

    /// Who vouches for the very object that `object` describes.
    ///
    /// # Errors
    /// `ObjectChanged` where it has been overwritten, `ObjectMissing` where it is gone.
    pub async fn signature_of(&self, object: &ObjectInfo) -> Result<Option<String>, CloudError> {
        let (now, signature) = self.head_signed(&object.bucket, &object.key).await?;
        if now.etag != object.etag {
            return Err(changed(object, &now.etag));
        }
        Ok(signature)
    }

    /// Reads a range of the very object that `object` describes; tries again where that can help.
    ///
    /// # Errors
    /// `ObjectChanged` where it has been overwritten, `ObjectMissing` where it is gone, `Invalid` for a range that is not
    /// within it.
    pub async fn get_range(&self, object: &ObjectInfo, range: Range<u64>) -> Result<Bytes, CloudError> {
        if range.start > range.end || range.end > object.size {
            return Err(CloudError::Invalid {
                action: read_action(object, &range),
                message: format!("the object has {} bytes", object.size),
            });
        }
        // HTTP has no empty ranges.
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let backoff = Backoff::READ.seeded(u64::from(fnv1a(&object.key)) ^ range.start);
        backoff.run(|| self.get_range_once(object, range.clone())).await
    }

    async fn get_range_once(&self, object: &ObjectInfo, range: Range<u64>) -> Result<Bytes, CloudError> {
        let ObjectInfo { bucket, key, .. } = object;
        let request = self.client.get_object().bucket(bucket).key(key).if_match(&object.etag);
        let response = request
            .range(format!("bytes={}-{}", range.start, range.end - 1))
            .send()
            .await
            .map_err(|error| {
                let status = error.raw_response().map(|response| response.status().as_u16());
                if error.as_service_error().is_some_and(|e| e.is_no_such_key()) {
                    missing(bucket, key)
                } else if status == Some(412) {
                    changed(object, "another")
                } else if status == Some(416) {
                    // The range is within the object that we looked at.
                    changed(object, "one of another size")
                } else {
                    CloudError::service(read_action(object, &range), &error)
                }
            })?;
        // Not every S3 honours If-Match on reads.
        let etag = response.e_tag().unwrap_or_default();
        if etag != object.etag {
            return Err(changed(object, etag));
        }
        let failed = |message: String| CloudError::Service {
            action: read_action(object, &range),
            message,
            retryable: true,
        };
        let body = response
            .body
            .collect()
            .await
            .map_err(|error| failed(error.to_string()))?
            .into_bytes();
        if body.len() as u64 != range.end - range.start {
            return Err(failed(format!("{} bytes came", body.len())));
        }
        Ok(body)
    }
}

fn read_action(object: &ObjectInfo, range: &Range<u64>) -> String {
    let ObjectInfo { bucket, key, .. } = object;
    format!("read bytes {}..{} of {key} in bucket {bucket}", range.start, range.end)
}

pub(crate) fn missing(bucket: &str, key: &str) -> CloudError {
    CloudError::ObjectMissing {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
    }
}

pub(crate) fn changed(object: &ObjectInfo, found: &str) -> CloudError {
    CloudError::ObjectChanged {
        bucket: object.bucket.clone(),
        key: object.key.clone(),
        expected: object.etag.clone(),
        found: found.to_owned(),
    }
}

/// Metadata of a build: who vouches for it.
pub(crate) const SIGNATURE: &str = "fleetcast-signature";
