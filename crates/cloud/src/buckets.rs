//! Builds in S3: looking, reading by ranges of a pinned version, uploading, copying.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::{TryStreamExt, stream};

use crate::error::CloudError;
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

/// Where the bytes of an upload come from, by range, so that no build has to be in memory.
pub type PartSource =
    Arc<dyn Fn(Range<u64>) -> Pin<Box<dyn Future<Output = std::io::Result<Bytes>> + Send>> + Send + Sync>;

/// The buckets of a cloud.
#[derive(Clone, Debug)]
pub struct Buckets {
    client: Client,
}

impl Buckets {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes a bucket; a bucket of ours that is there is fine.
    pub async fn create_if_missing(&self, bucket: &str) -> Result<(), CloudError> {
        if self.client.head_bucket().bucket(bucket).send().await.is_ok() {
            return Ok(());
        }
        match self.client.create_bucket().bucket(bucket).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_bucket_already_owned_by_you()) => Ok(()),
            Err(error) => Err(CloudError::service(format!("create bucket {bucket}"), &error)),
        }
    }

    /// Looks at an object; tries again where that can help.
    pub async fn head(&self, bucket: &str, key: &str) -> Result<ObjectInfo, CloudError> {
        Backoff::READ.run(|| self.head_once(bucket, key)).await
    }

    async fn head_once(&self, bucket: &str, key: &str) -> Result<ObjectInfo, CloudError> {
        let head = self.client.head_object().bucket(bucket).key(key).send().await.map_err(|error| {
            if error.as_service_error().is_some_and(|e| e.is_not_found()) {
                missing(bucket, key)
            } else {
                CloudError::service(format!("look at {key} in bucket {bucket}"), &error)
            }
        })?;
        Ok(ObjectInfo {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            size: u64::try_from(head.content_length().unwrap_or_default()).unwrap_or_default(),
            etag: head.e_tag().unwrap_or_default().to_owned(),
        })
    }

    /// Reads a range of the very object that `object` describes; tries again where that can help.
    pub async fn get_range(&self, object: &ObjectInfo, range: Range<u64>) -> Result<Bytes, CloudError> {
        Backoff::READ.run(|| self.get_range_once(object, range.clone())).await
    }

    async fn get_range_once(&self, object: &ObjectInfo, range: Range<u64>) -> Result<Bytes, CloudError> {
        let ObjectInfo { bucket, key, .. } = object;
        let action = || format!("read bytes {}..{} of {key} in bucket {bucket}", range.start, range.end);
        let changed = |found: &str| CloudError::ObjectChanged {
            bucket: bucket.clone(),
            key: key.clone(),
            expected: object.etag.clone(),
            found: found.to_owned(),
        };
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
                    changed("another")
                } else if status == Some(416) {
                    // Our range was within the object that we looked at.
                    changed("one of another size")
                } else {
                    CloudError::service(action(), &error)
                }
            })?;
        // Not every S3 honours If-Match on reads.
        let etag = response.e_tag().unwrap_or_default();
        if etag != object.etag {
            return Err(changed(etag));
        }
        let failed = |message: String| CloudError::Service {
            action: action(),
            message,
            retryable: true,
        };
        let body = response.body.collect().await.map_err(|error| failed(error.to_string()))?.into_bytes();
        if body.len() as u64 != range.end - range.start {
            return Err(failed(format!("{} bytes came", body.len())));
        }
        Ok(body)
    }

    /// Uploads `size` bytes from `source`; above 16 MiB in parts, several at a time. `progress` is told of bytes that
    /// are there. Nothing is left behind where it fails.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        size: u64,
        source: &PartSource,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), CloudError> {
        if size > PART_SIZE_MIN {
            return self.put_multipart(bucket, key, size, source, progress).await;
        }
        let body = read_part(source, key, 0..size).await?;
        let send = || async {
            let request = self.client.put_object().bucket(bucket).key(key);
            let sent = request.body(ByteStream::from(body.clone())).send().await;
            sent.map_err(|error| {
                if error.as_service_error().and_then(|e| e.meta().code()) == Some("NoSuchBucket") {
                    let bucket = bucket.to_owned();
                    return CloudError::BucketMissing { bucket };
                }
                CloudError::service(format!("upload {key} to bucket {bucket}"), &error)
            })
        };
        Backoff::READ.run(send).await?;
        progress(size);
        Ok(())
    }

    async fn put_multipart(
        &self,
        bucket: &str,
        key: &str,
        size: u64,
        source: &PartSource,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), CloudError> {
        let upload = self.begin_multipart(bucket, key).await?;
        let parts = stream::iter(part_ranges(size).map(Ok)).map_ok(|(number, range)| {
            let upload = &upload;
            async move {
                let length = range.end - range.start;
                let body = read_part(source, key, range).await?;
                let send = || async {
                    let request = self.client.upload_part().bucket(bucket).key(key).upload_id(upload);
                    let sent = request.part_number(number).body(ByteStream::from(body.clone())).send().await;
                    sent.map_err(|e| CloudError::service(format!("upload part {number} of {key} to {bucket}"), &e))
                };
                let sent = Backoff::READ.run(send).await?;
                progress(length);
                Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build())
            }
        });
        let parts = parts.try_buffered(PARTS_AT_A_TIME).try_collect().await;
        self.end_multipart(bucket, key, &upload, parts).await
    }

    /// Copies `key` between buckets within S3: in one call up to 5 GB, which is the most that one call copies, and in
    /// parts above.
    pub async fn copy(&self, from: &str, to: &str, key: &str) -> Result<(), CloudError> {
        let object = self.head(from, key).await?;
        let source = format!("{from}/{key}");
        if object.size <= COPY_SIZE_MAX {
            let copy = || async {
                let request = self.client.copy_object().bucket(to).key(key).copy_source(&source);
                let sent = request.copy_source_if_match(&object.etag).send().await;
                sent.map_err(|error| {
                    if error.as_service_error().and_then(|e| e.meta().code()) == Some("NoSuchBucket") {
                        let bucket = to.to_owned();
                        return CloudError::BucketMissing { bucket };
                    }
                    CloudError::service(format!("copy {key} from bucket {from} to {to}"), &error)
                })
            };
            return Backoff::READ.run(copy).await.map(|_| ());
        }
        let upload = self.begin_multipart(to, key).await?;
        let parts = stream::iter(part_ranges(object.size).map(Ok)).map_ok(|(number, range)| {
            let (upload, source) = (&upload, &source);
            async move {
                let copy = || async {
                    let request = self.client.upload_part_copy().bucket(to).key(key).upload_id(upload);
                    let request = request.part_number(number).copy_source(source);
                    let range = format!("bytes={}-{}", range.start, range.end - 1);
                    let sent = request.copy_source_range(range).send().await;
                    sent.map_err(|e| CloudError::service(format!("copy part {number} of {key} to {to}"), &e))
                };
                let sent = Backoff::READ.run(copy).await?;
                let etag = sent.copy_part_result.and_then(|result| result.e_tag);
                Ok(CompletedPart::builder().part_number(number).set_e_tag(etag).build())
            }
        });
        let parts = parts.try_buffered(PARTS_AT_A_TIME).try_collect().await;
        self.end_multipart(to, key, &upload, parts).await
    }

    async fn begin_multipart(&self, bucket: &str, key: &str) -> Result<String, CloudError> {
        let begun = self.client.create_multipart_upload().bucket(bucket).key(key).send().await;
        let begun = begun.map_err(|e| CloudError::service(format!("begin the upload of {key} to {bucket}"), &e))?;
        Ok(begun.upload_id.unwrap_or_default())
    }

    async fn end_multipart(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: Result<Vec<CompletedPart>, CloudError>,
    ) -> Result<(), CloudError> {
        let completed = match parts {
            Ok(parts) => {
                let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
                let request = self.client.complete_multipart_upload().bucket(bucket).key(key).upload_id(upload);
                let sent = request.multipart_upload(parts).send().await;
                sent.map(|_| ()).map_err(|e| CloudError::service(format!("complete the upload of {key} to {bucket}"), &e))
            }
            Err(error) => Err(error),
        };
        if completed.is_err() {
            // Parts that nobody aborts are paid for until somebody does.
            let request = self.client.abort_multipart_upload().bucket(bucket).key(key).upload_id(upload);
            if let Err(error) = request.send().await {
                tracing::warn!(bucket, key, upload, error = %error, "multipart upload not aborted");
            }
        }
        completed
    }
}

async fn read_part(source: &PartSource, key: &str, range: Range<u64>) -> Result<Bytes, CloudError> {
    source(range).await.map_err(|source| CloudError::File {
        path: key.to_owned(),
        source,
    })
}

/// Part numbers from 1 with their byte ranges.
fn part_ranges(size: u64) -> impl Iterator<Item = (i32, Range<u64>)> {
    let part_size = PART_SIZE_MIN.max(size.div_ceil(PARTS_MAX));
    let count = size.div_ceil(part_size);
    (0..count).zip(1..).map(move |(index, number)| {
        let start = index * part_size;
        (number, start..(start + part_size).min(size))
    })
}

fn missing(bucket: &str, key: &str) -> CloudError {
    CloudError::ObjectMissing {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
    }
}

/// What one CopyObject copies at most (Amazon S3 API reference).
const COPY_SIZE_MAX: u64 = 5 << 30;
/// Parts are at least this large; below, one call does.
const PART_SIZE_MIN: u64 = 16 << 20;
/// Parts of one upload at most (Amazon S3 user guide, multipart upload limits).
const PARTS_MAX: u64 = 10_000;
/// Parts on their way at a time.
const PARTS_AT_A_TIME: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_an_object_once_and_stay_within_the_limits() {
        for size in [PART_SIZE_MIN + 1, 10_000_000_000, 5 << 40] {
            let parts: Vec<_> = part_ranges(size).collect();
            assert!(parts.len() as u64 <= PARTS_MAX);
            assert_eq!(parts[0].0, 1);
            assert_eq!(parts.last().unwrap().1.end, size);
            assert!(parts.windows(2).all(|w| w[0].1.end == w[1].1.start && w[0].0 + 1 == w[1].0));
        }
    }
}
