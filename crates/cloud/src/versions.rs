//! Versions of an object: looking at one, and telling which is the newest that has bytes.

use std::collections::HashMap;
use std::time::SystemTime;

use aws_sdk_s3::config::Region;
use aws_sdk_s3::error::ProvideErrorMetadata as _;

use crate::buckets::{Buckets, ObjectInfo, SIGNATURE, missing};
use crate::error::CloudError;
use crate::names::fnv1a;
use crate::retry::Backoff;

/// One version of an object, with all that a copy of it is to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Its id; `None` in a bucket that keeps no versions.
    pub version_id: Option<String>,
    /// Bytes.
    pub size: u64,
    /// The ETag.
    pub etag: String,
    pub(crate) headers: Headers,
}

/// What an object says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: HashMap<String, String>,
}

/// What an object has in it now, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The id of its newest version; `None` in a bucket that keeps none.
    pub version_id: Option<String>,
    /// Since when it has had these bytes: an upload of equal ones changes nothing. Whole seconds, by S3's clock.
    pub since: SystemTime,
}

impl ObjectVersion {
    /// What tells it from another version of its key: its id or, where there is none, the ETag.
    pub fn version(&self) -> &str {
        self.version_id.as_deref().unwrap_or(&self.etag)
    }

    /// Who vouches for it, where somebody does.
    pub fn signature(&self) -> Option<&str> {
        self.headers.metadata.get(SIGNATURE).map(String::as_str)
    }

    /// The object, and what it says of itself.
    pub(crate) fn split(self) -> (ObjectInfo, Headers) {
        let object = ObjectInfo {
            bucket: self.bucket,
            key: self.key,
            size: self.size,
            etag: self.etag,
        };
        (object, self.headers)
    }
}

impl Buckets {
    /// Looks at a version of an object, or at what is there now; tries again where that can help.
    ///
    /// # Errors
    /// `ObjectMissing` where there is no such version, or it is the mark of a deletion.
    pub async fn head_version(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
    ) -> Result<ObjectVersion, CloudError> {
        let backoff = Backoff::READ.seeded(fnv1a(key).into());
        backoff.run(|| self.head_version_once(bucket, key, version_id)).await
    }

    async fn head_version_once(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
    ) -> Result<ObjectVersion, CloudError> {
        let action = || match version_id {
            Some(version) => format!("look at version {version} of {key} in bucket {bucket}"),
            None => format!("look at {key} in bucket {bucket}"),
        };
        let request = self.client.head_object().bucket(bucket).key(key);
        let head = request.set_version_id(version_id.map(str::to_owned)).send().await;
        let head = head.map_err(|error| {
            let status = error.raw_response().map(|response| response.status().as_u16());
            // 405 is what S3 says of the mark of a deletion.
            if matches!(status, Some(404 | 405)) {
                missing(bucket, key)
            } else {
                CloudError::service(action(), &error)
            }
        })?;
        let invalid = |message: &str| CloudError::Invalid {
            action: action(),
            message: message.to_owned(),
        };
        let size = head.content_length().and_then(|size| u64::try_from(size).ok());
        // Without an ETag nothing could be told about the ranges that are read later.
        let etag = head.e_tag().filter(|etag| !etag.is_empty());
        let told = head.version_id().filter(|id| *id != "null");
        Ok(ObjectVersion {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version_id: version_id.or(told).map(str::to_owned),
            size: size.ok_or_else(|| invalid("the service told no size"))?,
            etag: etag.ok_or_else(|| invalid("the service told no ETag"))?.to_owned(),
            headers: Headers {
                cache_control: head.cache_control,
                content_disposition: head.content_disposition,
                content_encoding: head.content_encoding,
                content_language: head.content_language,
                content_type: head.content_type,
                metadata: head.metadata.unwrap_or_default(),
            },
        })
    }

    /// The id of the newest version of an object that has bytes, whether the object is deleted by now or not; `None` where
    /// there is none, or the bucket keeps no versions.
    pub async fn newest_version(&self, bucket: &str, key: &str) -> Result<Option<String>, CloudError> {
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let list = || async {
                let request = self.client.list_object_versions().bucket(bucket).prefix(key);
                let request = request.set_key_marker(key_marker.clone());
                let listed = request.set_version_id_marker(version_marker.clone()).send().await;
                match listed {
                    Ok(listed) => Ok(Some(listed)),
                    Err(error) if error.code() == Some("NotImplemented") => Ok(None),
                    Err(error) => Err(CloudError::service(
                        format!("list the versions of {key} in bucket {bucket}"),
                        &error,
                    )),
                }
            };
            let Some(listed) = Backoff::READ.seeded(fnv1a(key).into()).run(list).await? else {
                return Ok(None);
            };
            // By key, the shortest of those with this prefix first, and by age, the newest first.
            let newest = listed.versions().iter().find(|version| version.key() == Some(key));
            if let Some(newest) = newest {
                return Ok(newest.version_id().filter(|id| *id != "null").map(str::to_owned));
            }
            let went_by = listed.next_key_marker().is_none_or(|next| next > key);
            if listed.is_truncated() != Some(true) || went_by {
                return Ok(None);
            }
            key_marker = listed.next_key_marker;
            version_marker = listed.next_version_id_marker;
        }
    }

    /// What a build's object has in it now, and since when; `None` where there is no such object.
    pub async fn standing(&self, bucket: &str, key: &str) -> Result<Option<Standing>, CloudError> {
        let list = || async {
            let request = self.client.list_object_versions().bucket(bucket).prefix(key);
            match request.send().await {
                Ok(listed) => Ok(Some(listed)),
                Err(error) if error.code() == Some("NotImplemented") => Ok(None),
                Err(error) => Err(CloudError::service(
                    format!("list the versions of {key} in bucket {bucket}"),
                    &error,
                )),
            }
        };
        let listed = Backoff::READ.seeded(fnv1a(key).into()).run(list).await?;
        let mut standing: Option<(Standing, Option<&str>)> = None;
        let versions = listed.as_ref().map(|listed| listed.versions()).unwrap_or_default();
        for version in versions.iter().filter(|version| version.key() == Some(key)) {
            let Some(since) = version.last_modified().and_then(|at| SystemTime::try_from(*at).ok()) else {
                continue;
            };
            match &mut standing {
                None => {
                    let version_id = version.version_id().filter(|id| *id != "null").map(str::to_owned);
                    standing = Some((Standing { version_id, since }, version.e_tag()));
                }
                Some((standing, etag)) if *etag == version.e_tag() => standing.since = since,
                Some(_) => break,
            }
        }
        Ok(standing.map(|(standing, _)| standing))
    }

    /// The AWS region of a bucket, where the service tells it.
    ///
    /// # Errors
    /// `BucketMissing` where there is no such bucket.
    pub async fn region_of(&self, bucket: &str) -> Result<Option<String>, CloudError> {
        let look = || async {
            let looked = self.client.head_bucket().bucket(bucket).send().await;
            match looked {
                Ok(found) => Ok(found.bucket_region().map(str::to_owned)),
                Err(error) => {
                    let response = error.raw_response();
                    let header = response.and_then(|response| response.headers().get("x-amz-bucket-region"));
                    // Asked in another region, S3 says which one is right.
                    if let Some(region) = header {
                        return Ok(Some(region.to_owned()));
                    }
                    match response.map(|response| response.status().as_u16()) {
                        Some(404) => Err(CloudError::BucketMissing {
                            bucket: bucket.to_owned(),
                        }),
                        // Whoever may not look may copy all the same.
                        Some(403) => Ok(None),
                        _ => Err(CloudError::service(format!("look at bucket {bucket}"), &error)),
                    }
                }
            }
        };
        Backoff::READ.seeded(fnv1a(bucket).into()).run(look).await
    }

    /// The same buckets asked in another AWS region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        let config = self.client.config();
        if config.region().is_some_and(|own| own.as_ref() == region) {
            return self.clone();
        }
        let config = config.to_builder().region(Region::new(region.to_owned())).build();
        Self::new(aws_sdk_s3::Client::from_conf(config))
    }
}
