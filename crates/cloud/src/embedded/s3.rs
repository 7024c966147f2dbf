//! The embedded S3: s3s over a folder, where an object is a file.
//!
//! Invariant: a GET answers with the bytes and the ETag of one version, and that version's bytes stay as they are while
//! they are being read. s3s-fs alone does not promise that: it puts an object in place before it notes its ETag, copies
//! over the file that a reader has open, and does not look at `If-Match`. So writes of a key and the opening of it for
//! reading exclude each other here, a copy never goes into an existing file, and conditions are checked. It also makes
//! buckets that nobody has made, which is refused here.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use async_trait::async_trait;
use futures::StreamExt;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CopySource, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, ETag, ETagCondition, GetBucketLocationInput,
    GetBucketLocationOutput, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutObjectInput, PutObjectOutput, StreamingBlob,
    UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::EmbeddedError;
use super::faults::{Faults, GetFault};
use crate::clients::Credentials;

pub(super) fn service(folder: &Path, credentials: &Credentials, faults: Faults) -> Result<S3Service, EmbeddedError> {
    let files = FileSystem::new(folder).map_err(|error| EmbeddedError::Folder {
        path: folder.to_owned(),
        source: std::io::Error::other(format!("{error:?}")),
    })?;
    let objects = Objects {
        files,
        faults,
        locks: std::array::from_fn(|_| RwLock::new(())),
    };
    let mut builder = S3ServiceBuilder::new(objects);
    builder.set_auth(SimpleAuth::from_single(
        credentials.access_key_id.clone(),
        credentials.secret_access_key.clone(),
    ));
    Ok(builder.build())
}

struct Objects {
    files: FileSystem,
    faults: Faults,
    /// One for the many keys with its hash: bounded, and keys that share one only wait for each other.
    locks: [RwLock<()>; LOCKS],
}

#[async_trait]
impl S3 for Objects {
    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        match self.faults.on_get(&key) {
            GetFault::Unavailable => return Err(s3_error!(SlowDown, "a fault that was asked for")),
            GetFault::Overwrite(bytes) => {
                let input = PutObjectInput {
                    bucket: bucket.clone(),
                    key: key.clone(),
                    body: Some(StreamingBlob::from(Body::from(bytes))),
                    ..PutObjectInput::default()
                };
                self.put_object(with_input(&req, input)).await?;
            }
            GetFault::None => {}
        }
        let condition = req.input.if_match.clone();
        // Held until the file is open and its ETag is known; the body is read from the open file afterwards.
        let _opening = self.locks[lock_of(&bucket, &key)].read().await;
        if condition.is_some() {
            // Before the range is looked at: another version may be too short for it.
            self.check(&req, &bucket, &key, condition.as_ref()).await?;
        }
        let mut answer = self.files.get_object(req).await?;
        answer.output.body = answer.output.body.map(|body| self.paced(bucket, body));
        Ok(answer)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let _looking = self.locks[lock_of(&req.input.bucket, &req.input.key)].read().await;
        self.files.head_object(req).await
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.check_bucket(&req, &req.input.bucket).await?;
        let _writing = self.locks[lock_of(&req.input.bucket, &req.input.key)].write().await;
        self.check_there(&req, &req.input.bucket, &req.input.key).await?;
        self.files.put_object(req).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let _writing = self.locks[lock_of(&req.input.bucket, &req.input.key)].write().await;
        self.check_there(&req, &req.input.bucket, &req.input.key).await?;
        self.files.complete_multipart_upload(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let _writing = self.locks[lock_of(&req.input.bucket, &req.input.key)].write().await;
        self.files.delete_object(req).await
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let (from_bucket, from_key) = source(&req.input.copy_source)?;
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let _both = self
            .lock_both(lock_of(&from_bucket, &from_key), lock_of(&bucket, &key))
            .await;
        self.check(&req, &from_bucket, &from_key, req.input.copy_source_if_match.as_ref())
            .await?;
        self.check_there(&req, &bucket, &key).await?;
        if (&from_bucket, &from_key) != (&bucket, &key) {
            let input = DeleteObjectInput {
                bucket,
                key,
                ..DeleteObjectInput::default()
            };
            // Readers that have the old file open keep it.
            self.files.delete_object(with_input(&req, input)).await?;
        }
        self.files.copy_object(req).await
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let (bucket, key) = source(&req.input.copy_source)?;
        let _reading = self.locks[lock_of(&bucket, &key)].read().await;
        self.check(&req, &bucket, &key, req.input.copy_source_if_match.as_ref())
            .await?;
        self.files.upload_part_copy(req).await
    }

    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        self.files.create_bucket(req).await
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.files.get_bucket_location(req).await
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        self.files.list_buckets(req).await
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        self.files.list_objects(req).await
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(req).await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.check_bucket(&req, &req.input.bucket).await?;
        self.files.create_multipart_upload(req).await
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.files.upload_part(req).await
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        self.files.list_parts(req).await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.files.abort_multipart_upload(req).await
    }
}

impl Objects {
    /// A body that comes as fast as GETs of its bucket do.
    fn paced(&self, bucket: String, body: StreamingBlob) -> StreamingBlob {
        if !self.faults.is_slow(&bucket) {
            return body;
        }
        let faults = self.faults.clone();
        StreamingBlob::wrap(body.then(move |piece| {
            let length = piece.as_ref().map_or(0, |piece| piece.len() as u64);
            let comes_at = faults.on_bytes(&bucket, length);
            async move {
                if let Some(at) = comes_at {
                    tokio::time::sleep_until(at.into()).await;
                }
                piece.map_err(std::io::Error::other)
            }
        }))
    }

    /// Fails where there is no such bucket: s3s-fs would make one.
    async fn check_bucket<T>(&self, req: &S3Request<T>, bucket: &str) -> S3Result<()> {
        let input = HeadBucketInput {
            bucket: bucket.to_owned(),
            ..HeadBucketInput::default()
        };
        self.files.head_bucket(with_input(req, input)).await.map(|_| ())
    }

    /// Fails where the object is missing or is not the one of the condition. The object's lock is held.
    async fn check<T>(
        &self,
        req: &S3Request<T>,
        bucket: &str,
        key: &str,
        condition: Option<&ETagCondition>,
    ) -> S3Result<()> {
        let input = HeadObjectInput {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            ..HeadObjectInput::default()
        };
        let head = self.files.head_object(with_input(req, input)).await?;
        let etag = head.output.e_tag.as_ref().map(ETag::value);
        match condition.and_then(ETagCondition::as_etag) {
            Some(wanted) if Some(wanted.value()) != etag => Err(s3_error!(PreconditionFailed)),
            _ => Ok(()),
        }
    }

    /// Fails where what is at the destination of a write is not what `If-Match` or `If-None-Match` say. Its lock is held. Read from
    /// the headers: what s3s reads of a copy has no such conditions.
    async fn check_there<T>(&self, req: &S3Request<T>, bucket: &str, key: &str) -> S3Result<()> {
        let header = |name: &str| req.headers.get(name).and_then(|value| value.to_str().ok());
        let (matches, none_matches) = (header("if-match"), header("if-none-match"));
        if matches.is_none() && none_matches.is_none() {
            return Ok(());
        }
        let input = HeadObjectInput {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            ..HeadObjectInput::default()
        };
        let there = self.files.head_object(with_input(req, input)).await.ok();
        let etag = there.and_then(|there| there.output.e_tag);
        let wanted = matches.map(|wanted| wanted.trim_matches('"'));
        match (etag.as_ref().map(ETag::value), wanted) {
            (Some(_), None) => Err(s3_error!(PreconditionFailed)),
            (None, Some(_)) => Err(s3_error!(NoSuchKey)),
            (Some(etag), Some(wanted)) if etag != wanted => Err(s3_error!(PreconditionFailed)),
            _ => Ok(()),
        }
    }

    /// Locks one key for reading and one for writing, in the order of the locks, so that two copies that cross do not
    /// wait for each other forever.
    async fn lock_both(
        &self,
        read: usize,
        write: usize,
    ) -> (Option<RwLockReadGuard<'_, ()>>, RwLockWriteGuard<'_, ()>) {
        if read == write {
            return (None, self.locks[write].write().await);
        }
        if read < write {
            let reading = self.locks[read].read().await;
            return (Some(reading), self.locks[write].write().await);
        }
        let writing = self.locks[write].write().await;
        (Some(self.locks[read].read().await), writing)
    }
}

fn lock_of(bucket: &str, key: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    (bucket, key).hash(&mut hasher);
    (hasher.finish() % LOCKS as u64) as usize
}

fn source(source: &CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket { bucket, key, .. } => Ok((bucket.to_string(), key.to_string())),
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => Err(s3_error!(NotImplemented)),
    }
}

/// A request of our own in the name of whoever sent `req`.
fn with_input<T, U>(req: &S3Request<T>, input: U) -> S3Request<U> {
    S3Request {
        input,
        method: req.method.clone(),
        uri: req.uri.clone(),
        headers: req.headers.clone(),
        extensions: req.extensions.clone(),
        credentials: req.credentials.clone(),
        region: req.region.clone(),
        service: req.service.clone(),
        trailing_headers: None,
    }
}

/// Enough that two of a handful of keys seldom share one.
const LOCKS: usize = 64;

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use s3s::Body;

    use super::*;

    fn request<T>(input: T) -> S3Request<T> {
        S3Request {
            input,
            method: hyper::Method::GET,
            uri: hyper::Uri::from_static("/"),
            headers: hyper::HeaderMap::new(),
            extensions: hyper::http::Extensions::new(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        }
    }

    async fn put(objects: &Objects, bucket: &str, bytes: &[u8]) {
        let input = PutObjectInput {
            bucket: bucket.to_owned(),
            key: "b.zip".to_owned(),
            body: Some(StreamingBlob::from(Body::from(bytes.to_vec()))),
            ..PutObjectInput::default()
        };
        objects.put_object(request(input)).await.unwrap();
    }

    // Below HTTP, as its buffers would read the old file to its end before the copy begins.
    #[tokio::test]
    async fn a_reader_that_has_begun_gets_the_old_bytes_whatever_is_copied_over_them() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects {
            files: FileSystem::new(folder.path()).unwrap(),
            faults: Faults::default(),
            locks: std::array::from_fn(|_| RwLock::new(())),
        };
        for bucket in ["from", "to"] {
            let input = CreateBucketInput {
                bucket: bucket.to_owned(),
                ..CreateBucketInput::default()
            };
            objects.create_bucket(request(input)).await.unwrap();
        }
        put(&objects, "from", &[1; 100_000]).await;
        put(&objects, "to", &[2; 200_000]).await;
        let input = GetObjectInput {
            bucket: "to".to_owned(),
            key: "b.zip".to_owned(),
            ..GetObjectInput::default()
        };
        let reading = objects.get_object(request(input)).await.unwrap();
        let copy = CopyObjectInput::builder()
            .bucket("to".to_owned())
            .key("b.zip".to_owned())
            .copy_source(CopySource::Bucket {
                bucket: "from".into(),
                key: "b.zip".into(),
                version_id: None,
            })
            .build();
        objects.copy_object(request(copy.unwrap())).await.unwrap();
        let body: Vec<_> = reading.output.body.unwrap().try_collect().await.unwrap();
        assert!(body.concat() == [2; 200_000], "the copy is in the old version's file");
    }
}
