//! Builds into S3: uploading from memory, a file or a generator, and copying between buckets, in parts where they are
//! large.
//!
//! Invariant: an upload in parts that fails is aborted. One whose future is dropped is not: whoever drops it calls
//! `abort_uploads`, and where that is not done either a rule of the bucket clears it away.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::{TryStreamExt, stream};

use crate::buckets::{Buckets, ObjectInfo, changed};
use crate::clients::COPY_TIMEOUT;
use crate::error::CloudError;
use crate::names::fnv1a;
use crate::retry::Backoff;

/// Where the bytes of an upload come from, by range, so that no build has to be in memory.
pub type PartSource = Arc<dyn Fn(Range<u64>) -> Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>> + Send + Sync>;

impl Buckets {
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
            let request = request
                .set_if_none_match(self.condition())
                .set_metadata(self.metadata());
            let sent = request.body(ByteStream::from(body.clone())).send().await;
            sent.map_err(|error| self.put_error(format!("upload {key} to bucket {bucket}"), (bucket, key), &error))
        };
        Backoff::READ.seeded(fnv1a(key).into()).run(send).await?;
        progress(size);
        Ok(())
    }

    /// Uploads bytes that are in memory.
    pub async fn put_bytes(&self, bucket: &str, key: &str, bytes: Bytes) -> Result<(), CloudError> {
        let size = bytes.len() as u64;
        let source: PartSource = Arc::new(move |range| {
            // Ranges are within the size that is given below, which is a usize.
            let part = bytes.slice(range.start as usize..range.end as usize);
            Box::pin(async move { Ok(part) })
        });
        self.put(bucket, key, size, &source, &|_| {}).await
    }

    /// Uploads a file, reading what is being sent; `progress` is told of bytes that are there.
    ///
    /// # Errors
    /// `File` where it cannot be read, or has become shorter meanwhile.
    pub async fn put_file(
        &self,
        bucket: &str,
        key: &str,
        path: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), CloudError> {
        let failed = |source| CloudError::File {
            path: path.display().to_string(),
            source,
        };
        let file = Arc::new(std::fs::File::open(path).map_err(failed)?);
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(io::Error::other("it is not a file")));
        }
        let source: PartSource = Arc::new(move |range| {
            let file = Arc::clone(&file);
            Box::pin(async move {
                let read = tokio::task::spawn_blocking(move || {
                    let mut part = vec![0; (range.end - range.start) as usize];
                    file.read_exact_at(&mut part, range.start).map(|()| Bytes::from(part))
                });
                read.await.unwrap_or_else(|error| Err(io::Error::other(error)))
            })
        });
        match self.put(bucket, key, metadata.len(), &source, progress).await {
            Err(CloudError::File { source, .. }) => Err(failed(source)),
            result => result,
        }
    }

    async fn put_multipart(
        &self,
        bucket: &str,
        key: &str,
        size: u64,
        source: &PartSource,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), CloudError> {
        let upload = self
            .begin_multipart(bucket, key, Some(ChecksumAlgorithm::Crc32), self.metadata())
            .await?;
        let parts = stream::iter(part_ranges(size).map(Ok)).map_ok(|(number, range)| {
            let upload = &upload;
            async move {
                let (start, length) = (range.start, range.end - range.start);
                let body = read_part(source, key, range).await?;
                let send = || async {
                    let request = self.client.upload_part().bucket(bucket).key(key).upload_id(upload);
                    let sent = request
                        .part_number(number)
                        .checksum_algorithm(ChecksumAlgorithm::Crc32)
                        .body(ByteStream::from(body.clone()))
                        .send()
                        .await;
                    sent.map_err(|e| CloudError::service(format!("upload part {number} of {key} to {bucket}"), &e))
                };
                let sent = Backoff::READ.seeded(start).run(send).await?;
                progress(length);
                Ok(CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(sent.e_tag)
                    .set_checksum_crc32(sent.checksum_crc32)
                    .build())
            }
        });
        let parts = parts.try_buffered(PARTS_AT_A_TIME).try_collect().await;
        self.end_multipart(bucket, key, &upload, parts).await
    }

    /// Copies `key` between buckets within S3: in one call up to 5 GB, which is the most that one call copies, and in
    /// parts above.
    ///
    /// # Errors
    /// `ObjectChanged` where the object is overwritten meanwhile, `BucketMissing` where there is nowhere to copy to.
    pub async fn copy(&self, from: &str, to: &str, key: &str) -> Result<(), CloudError> {
        self.copy_as(from, key, to, key).await
    }

    /// [`Buckets::copy`] to another key.
    ///
    /// # Errors
    /// Likewise.
    pub async fn copy_as(&self, from: &str, from_key: &str, to: &str, key: &str) -> Result<(), CloudError> {
        let (object, headers) = self.head_version(from, from_key, None).await?.split();
        if object.size > COPY_SIZE_MAX {
            return self.copy_multipart(&object, headers.metadata, to, key).await;
        }
        let copy = || async {
            let request = self
                .client
                .copy_object()
                .bucket(to)
                .key(key)
                .copy_source(copy_source(from, from_key));
            let request = request
                .copy_source_if_match(&object.etag)
                .customize()
                .config_override(patient());
            let sent = request.send().await;
            sent.map_err(|error| copy_error(format!("copy {key} from bucket {from} to {to}"), &object, to, &error))
        };
        Backoff::READ.seeded(fnv1a(to).into()).run(copy).await.map(|_| ())
    }

    /// A copy at once takes metadata along by itself; one in parts is to be told.
    async fn copy_multipart(
        &self,
        object: &ObjectInfo,
        metadata: HashMap<String, String>,
        to: &str,
        key: &str,
    ) -> Result<(), CloudError> {
        let upload = self.begin_multipart(to, key, None, Some(metadata)).await?;
        let parts = stream::iter(part_ranges(object.size).map(Ok)).map_ok(|(number, range)| {
            let upload = &upload;
            async move {
                let copy = || async {
                    let request = self.client.upload_part_copy().bucket(to).key(key).upload_id(upload);
                    let request = request
                        .part_number(number)
                        .copy_source(copy_source(&object.bucket, &object.key));
                    let request = request.copy_source_if_match(&object.etag);
                    let range = format!("bytes={}-{}", range.start, range.end - 1);
                    let sent = request.copy_source_range(range).send().await;
                    sent.map_err(|e| copy_error(format!("copy part {number} of {key} to {to}"), object, to, &e))
                };
                let sent = Backoff::READ.seeded(range.start).run(copy).await?;
                let etag = sent.copy_part_result.and_then(|result| result.e_tag);
                Ok(CompletedPart::builder().part_number(number).set_e_tag(etag).build())
            }
        });
        let parts = parts.try_buffered(PARTS_AT_A_TIME).try_collect().await;
        self.end_multipart(to, key, &upload, parts).await
    }

    /// Ends the uploads in parts of a key that began at `since` or later, whose parts nobody sees and somebody pays; how many they
    /// were. For an upload of ours whose future was dropped.
    pub async fn abort_uploads(&self, bucket: &str, key: &str, since: SystemTime) -> Result<usize, CloudError> {
        let request = self.client.list_multipart_uploads().bucket(bucket).prefix(key);
        let listed = request.send().await;
        let listed = listed.map_err(|e| CloudError::service(format!("list the uploads to bucket {bucket}"), &e))?;
        // S3 tells whole seconds.
        let since = since.checked_sub(Duration::from_secs(1)).unwrap_or(since);
        let mut aborted = 0;
        for upload in listed.uploads().iter().filter(|upload| upload.key() == Some(key)) {
            let begun = upload.initiated().and_then(|at| SystemTime::try_from(*at).ok());
            let (Some(id), true) = (upload.upload_id(), begun.is_none_or(|begun| begun >= since)) else {
                continue;
            };
            let request = self.client.abort_multipart_upload().bucket(bucket).key(key);
            let sent = request.upload_id(id).send().await;
            sent.map_err(|e| CloudError::service(format!("abort upload {id} of {key} to bucket {bucket}"), &e))?;
            aborted += 1;
        }
        Ok(aborted)
    }

    fn condition(&self) -> Option<String> {
        self.only_new.then(|| "*".to_owned())
    }

    fn put_error<E>(&self, action: String, (bucket, key): (&str, &str), error: &SdkError<E, HttpResponse>) -> CloudError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        if self.only_new && error.code() == Some("PreconditionFailed") {
            return CloudError::ObjectThere {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            };
        }
        write_error(action, bucket, error)
    }

    async fn begin_multipart(
        &self,
        bucket: &str,
        key: &str,
        checksums: Option<ChecksumAlgorithm>,
        metadata: Option<HashMap<String, String>>,
    ) -> Result<String, CloudError> {
        let action = || format!("begin the upload of {key} to {bucket}");
        let begin = || async {
            let sent = self
                .client
                .create_multipart_upload()
                .bucket(bucket)
                .key(key)
                .set_checksum_algorithm(checksums.clone())
                .set_metadata(metadata.clone())
                .send()
                .await;
            sent.map_err(|error| write_error(action(), bucket, &error))
        };
        let begun = Backoff::READ.seeded(fnv1a(key).into()).run(begin).await?;
        begun.upload_id.ok_or_else(|| CloudError::Invalid {
            action: action(),
            message: "the service told no upload id".to_owned(),
        })
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
                let complete = || async {
                    let request = self
                        .client
                        .complete_multipart_upload()
                        .bucket(bucket)
                        .key(key)
                        .upload_id(upload);
                    let request = request
                        .multipart_upload(parts.clone())
                        .set_if_none_match(self.condition())
                        .customize()
                        .config_override(patient());
                    let sent = request.send().await;
                    let action = || format!("complete the upload of {key} to {bucket}");
                    sent.map_err(|error| self.put_error(action(), (bucket, key), &error))
                };
                Backoff::READ.seeded(fnv1a(key).into()).run(complete).await.map(|_| ())
            }
            Err(error) => Err(error),
        };
        if completed.is_err() {
            // Parts that nobody aborts are paid for until somebody does.
            let request = self
                .client
                .abort_multipart_upload()
                .bucket(bucket)
                .key(key)
                .upload_id(upload);
            if let Err(error) = request.send().await {
                tracing::warn!(bucket, key, upload, error = %error, "multipart upload not aborted");
            }
        }
        completed
    }
}

async fn read_part(source: &PartSource, key: &str, range: Range<u64>) -> Result<Bytes, CloudError> {
    let length = range.end - range.start;
    let part = source(range).await.and_then(|part| {
        if part.len() as u64 == length {
            return Ok(part);
        }
        // Anything else would become a build of another size.
        Err(io::Error::other(format!(
            "{} bytes came where {length} were asked for",
            part.len()
        )))
    });
    part.map_err(|source| CloudError::File {
        path: key.to_owned(),
        source,
    })
}

/// S3 wants it encoded, but for the slashes.
pub(crate) fn copy_source(bucket: &str, key: &str) -> String {
    let parts: Vec<String> = key.split('/').map(encode).collect();
    format!("{bucket}/{}", parts.join("/"))
}

/// As a part of a URL.
pub(crate) fn encode(part: &str) -> String {
    percent_encoding::utf8_percent_encode(part, KEY_ENCODED).to_string()
}

const KEY_ENCODED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Part numbers from 1 with their byte ranges.
fn part_ranges(size: u64) -> impl Iterator<Item = (i32, Range<u64>)> {
    let part_size = PART_SIZE_MIN.max(size.div_ceil(PARTS_MAX));
    let count = size.div_ceil(part_size);
    (0..count).zip(1..).map(move |(index, number)| {
        let start = index * part_size;
        (number, start..(start + part_size).min(size))
    })
}

/// An error of a call that writes to `bucket`.
pub(crate) fn write_error<E>(action: String, bucket: &str, error: &SdkError<E, HttpResponse>) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if error.code() == Some("NoSuchBucket") {
        let bucket = bucket.to_owned();
        return CloudError::BucketMissing { bucket };
    }
    CloudError::service(action, error)
}

/// An error of a call that copies `object` to bucket `to`.
fn copy_error<E>(action: String, object: &ObjectInfo, to: &str, error: &SdkError<E, HttpResponse>) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if error.code() == Some("PreconditionFailed") {
        return changed(object, "another");
    }
    write_error(action, to, error)
}

/// For calls that say nothing until S3 has moved the whole object.
pub(crate) fn patient() -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder().read_timeout(COPY_TIMEOUT).build();
    aws_sdk_s3::Config::builder().timeout_config(timeouts)
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
    use crate::{Cloud, EmbeddedCloud, GLOBAL_BUCKET, regional_bucket};

    #[test]
    fn parts_cover_an_object_once_and_stay_within_the_limits() {
        for size in [PART_SIZE_MIN + 1, 10_000_000_000, 5 << 40] {
            let parts: Vec<_> = part_ranges(size).collect();
            assert!(parts.len() as u64 <= PARTS_MAX);
            assert_eq!(parts[0].0, 1);
            assert_eq!(parts.last().unwrap().1.end, size);
            assert!(
                parts
                    .windows(2)
                    .all(|w| w[0].1.end == w[1].1.start && w[0].0 + 1 == w[1].0)
            );
        }
    }

    // Objects above 5 GB are copied this way; the test calls it with a smaller one.
    #[tokio::test]
    async fn an_object_is_copied_in_parts_and_only_as_it_was_when_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let embedded = EmbeddedCloud::start(folder.path()).await.unwrap();
        let cloud = Cloud::connect(embedded.config()).await;
        cloud.bootstrap(&["region-a".to_owned()]).await.unwrap();
        let (buckets, regional) = (cloud.buckets(), regional_bucket("region-a"));
        let data: Bytes = (0..PART_SIZE_MIN as usize + 1000)
            .map(|n| (n * 31 % 251) as u8)
            .collect();
        buckets.put_bytes(GLOBAL_BUCKET, "b.zip", data.clone()).await.unwrap();
        let object = buckets.head(GLOBAL_BUCKET, "b.zip").await.unwrap();
        let metadata = HashMap::new();
        buckets
            .copy_multipart(&object, metadata, &regional, &object.key)
            .await
            .unwrap();
        let copy = buckets.head(&regional, "b.zip").await.unwrap();
        assert!(buckets.get_range(&copy, 0..copy.size).await.unwrap() == data);
        buckets
            .put_bytes(GLOBAL_BUCKET, "b.zip", data.slice(1..))
            .await
            .unwrap();
        let error = buckets
            .copy_multipart(&object, HashMap::new(), &regional, &object.key)
            .await
            .unwrap_err();
        assert!(matches!(error, CloudError::ObjectChanged { .. }), "{error}");
        assert_eq!(buckets.head(&regional, "b.zip").await.unwrap(), copy);
    }

    #[tokio::test]
    async fn who_vouches_for_a_build_goes_with_it_however_it_is_uploaded_and_copied() {
        let folder = tempfile::tempdir().unwrap();
        let embedded = EmbeddedCloud::start(folder.path()).await.unwrap();
        let cloud = Cloud::connect(embedded.config()).await;
        cloud.bootstrap(&["region-a".to_owned()]).await.unwrap();
        let (plain, regional) = (cloud.buckets(), regional_bucket("region-a"));
        let buckets = plain.only_new().signed("a signature".to_owned());
        let said = |object: &ObjectInfo| {
            let object = object.clone();
            let plain = plain.clone();
            async move { plain.signature_of(&object).await.unwrap() }
        };
        let large = PART_SIZE_MIN as usize + 1;
        for (key, length) in [("small.zip", 1000), ("in-parts.zip", large)] {
            buckets
                .put_bytes(GLOBAL_BUCKET, key, vec![7; length].into())
                .await
                .unwrap();
            let object = plain.head(GLOBAL_BUCKET, key).await.unwrap();
            assert_eq!(said(&object).await.as_deref(), Some("a signature"), "{key}");
            // As below 5 GB, and as above.
            plain.copy(GLOBAL_BUCKET, &regional, key).await.unwrap();
            let copy = plain.head(&regional, key).await.unwrap();
            assert_eq!(said(&copy).await.as_deref(), Some("a signature"), "{key}");
        }
        let object = plain.head_version(GLOBAL_BUCKET, "in-parts.zip", None).await.unwrap();
        let (info, _) = plain.head_signed(GLOBAL_BUCKET, "in-parts.zip").await.unwrap();
        plain
            .copy_multipart(&info, object.headers.metadata, &regional, "copied.zip")
            .await
            .unwrap();
        let copy = plain.head(&regional, "copied.zip").await.unwrap();
        assert_eq!(said(&copy).await.as_deref(), Some("a signature"));
        // A build that was replaced has not the signature of the one before.
        plain
            .put_bytes(&regional, "small.zip", vec![8; 1000].into())
            .await
            .unwrap();
        let replaced = plain.head(&regional, "small.zip").await.unwrap();
        assert_eq!(said(&replaced).await, None);
        let before = plain.head(GLOBAL_BUCKET, "small.zip").await.unwrap();
        let stale = ObjectInfo {
            bucket: regional,
            ..before
        };
        let changed = plain.signature_of(&stale).await.unwrap_err();
        assert!(matches!(changed, CloudError::ObjectChanged { .. }), "{changed}");
    }
}
