//! Copies of builds to buckets that may be in other AWS regions: what is copied is one version, whole, with all that it says of
//! itself.
//!
//! Invariant: in the end the newest version is in the bucket, in whichever order copies of several versions are asked for. A copy
//! lands only on what was there when its version was still the newest (a condition of the write, not timing), and whoever finds
//! that an older version has landed all the same lands the newest one over it.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::buckets::{Buckets, missing};
use crate::error::CloudError;
use crate::names::fnv1a;
use crate::retry::Backoff;
use crate::uploads::{copy_source, encode, patient, write_error};
use crate::versions::{Headers, ObjectVersion};

/// When a copy is made in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyLimits {
    /// Bytes up to which one call copies all; S3 takes 5 GiB. A call that copies more takes longer than is waited for where the
    /// regions are far apart.
    pub single_bytes_max: u64,
    /// Bytes of a part; S3 wants 5 MiB at least.
    pub part_bytes: u64,
}

impl Default for CopyLimits {
    fn default() -> Self {
        Self {
            single_bytes_max: 512 << 20,
            part_bytes: 128 << 20,
        }
    }
}

/// What became of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landed {
    /// It is there.
    Copied {
        /// Which version of the source: its id or, where there are no versions, its ETag.
        version: String,
        /// Its bytes.
        bytes: u64,
        /// In how many parts; 1 where one call has copied it.
        parts: u32,
        /// Its signature, where it has one.
        signature: Option<String>,
    },
    /// The source has a newer version, whose own copy brings it.
    Superseded {
        /// Its id.
        by: String,
    },
}

/// What a write found.
enum Written {
    Landed {
        parts: u32,
    },
    /// Something else is there by now, or the source has changed.
    Moved,
}

impl Buckets {
    /// Copies a version of `from`/`key` (the newest where none is named) to bucket `to`, which is asked through `there`, in its
    /// own region.
    ///
    /// # Errors
    /// `ObjectMissing` where the version is gone, `BucketMissing` where there is nowhere to copy to; `Service`, retryable, where
    /// others write to the same key all the time. Not cancel-safe: a copy in parts that is dropped leaves them.
    pub async fn copy_version(
        &self,
        (from, key): (&str, &str),
        version_id: Option<&str>,
        there: &Self,
        to: &str,
        limits: CopyLimits,
    ) -> Result<Landed, CloudError> {
        let mut ours = match version_id {
            Some(id) => Some(id.to_owned()),
            None => self.newest_version(from, key).await?,
        };
        for _ in 0..ATTEMPTS {
            // Before the newest version is asked for: what lands later is then not this.
            let standing = match there.head_version(to, key, None).await {
                Ok(object) => Some(object),
                Err(CloudError::ObjectMissing { .. }) => None,
                Err(error) => return Err(error),
            };
            let newest = self.newest_version(from, key).await?;
            if let (Some(own), Some(newer)) = (&ours, &newest)
                && own != newer
            {
                let is_ours = |object: &ObjectVersion| object.headers.metadata.get(SOURCE_VERSION) == Some(own);
                if !standing.as_ref().is_some_and(is_ours) {
                    return Ok(Landed::Superseded { by: newer.clone() });
                }
                // The older one has landed and is in the newer one's way.
                ours = Some(newer.clone());
            }
            let source = self.head_version(from, key, ours.as_deref()).await?;
            let condition = Condition(standing.map(|object| object.etag));
            let written = if source.size > limits.single_bytes_max {
                self.land_in_parts(&source, there, to, &condition, limits).await?
            } else {
                there.land_at_once(&source, to, &condition).await?
            };
            let Written::Landed { parts } = written else {
                continue;
            };
            // The same bytes may have been there before: the condition does not see that.
            let newest = self.newest_version(from, key).await?;
            if newest.is_none() || newest == source.version_id {
                return Ok(Landed::Copied {
                    version: source.version().to_owned(),
                    bytes: source.size,
                    parts,
                    signature: source.signature().map(str::to_owned),
                });
            }
        }
        Err(CloudError::Service {
            action: format!("copy {key} from bucket {from} to {to}"),
            message: format!("it was written by others {ATTEMPTS} times meanwhile"),
            retryable: true,
        })
    }

    async fn land_at_once(
        &self,
        source: &ObjectVersion,
        to: &str,
        condition: &Condition,
    ) -> Result<Written, CloudError> {
        let Headers {
            cache_control,
            content_disposition,
            content_encoding,
            content_language,
            content_type,
            ..
        } = source.headers.clone();
        let copy = || async {
            let request = self
                .client
                .copy_object()
                .bucket(to)
                .key(&source.key)
                .copy_source(source_of(source))
                .copy_source_if_match(&source.etag)
                .metadata_directive(MetadataDirective::Replace)
                .set_metadata(Some(metadata_of(source)))
                .set_cache_control(cache_control.clone())
                .set_content_disposition(content_disposition.clone())
                .set_content_encoding(content_encoding.clone())
                .set_content_language(content_language.clone())
                .set_content_type(content_type.clone())
                .set_if_match(condition.if_match())
                .set_if_none_match(condition.if_none_match());
            let sent = request.customize().config_override(patient()).send().await;
            match sent {
                Ok(_) => Ok(Written::Landed { parts: 1 }),
                Err(error) => moved_or(source, to, &error),
            }
        };
        Backoff::READ.seeded(fnv1a(to).into()).run(copy).await
    }

    async fn land_in_parts(
        &self,
        source: &ObjectVersion,
        there: &Self,
        to: &str,
        condition: &Condition,
        limits: CopyLimits,
    ) -> Result<Written, CloudError> {
        let tagging = self.tagging(source).await?;
        let upload = there.begin_copy(source, to, tagging).await?;
        let written = there.copy_parts(source, to, &upload, condition, limits).await;
        if !matches!(written, Ok(Written::Landed { .. })) {
            let request = there.client.abort_multipart_upload().bucket(to).key(&source.key);
            if let Err(error) = request.upload_id(&upload).send().await {
                tracing::warn!(bucket = to, key = source.key, upload, error = %error, "parts of a copy are left behind");
            }
        }
        written
    }

    async fn begin_copy(
        &self,
        source: &ObjectVersion,
        to: &str,
        tagging: Option<String>,
    ) -> Result<String, CloudError> {
        let action = || format!("begin the copy of {} to {to}", source.key);
        let headers = &source.headers;
        let begin = || async {
            let request = self.client.create_multipart_upload().bucket(to).key(&source.key);
            let begun = request
                .set_metadata(Some(metadata_of(source)))
                .set_cache_control(headers.cache_control.clone())
                .set_content_disposition(headers.content_disposition.clone())
                .set_content_encoding(headers.content_encoding.clone())
                .set_content_language(headers.content_language.clone())
                .set_content_type(headers.content_type.clone())
                .set_tagging(tagging.clone())
                .send()
                .await;
            begun.map_err(|error| write_error(action(), to, &error))
        };
        let begun = Backoff::READ.seeded(fnv1a(&source.key).into()).run(begin).await?;
        begun.upload_id.ok_or_else(|| CloudError::Invalid {
            action: action(),
            message: "the service told no upload id".to_owned(),
        })
    }

    async fn copy_parts(
        &self,
        source: &ObjectVersion,
        to: &str,
        upload: &str,
        condition: &Condition,
        limits: CopyLimits,
    ) -> Result<Written, CloudError> {
        let part_bytes = limits.part_bytes.max(source.size.div_ceil(PARTS_MAX)).max(1);
        let count = u32::try_from(source.size.div_ceil(part_bytes)).unwrap_or(u32::MAX);
        let parts = stream::iter(0..count).map(|index| async move {
            let first = u64::from(index) * part_bytes;
            let last = (first + part_bytes).min(source.size) - 1;
            self.copy_part(source, (to, upload), index + 1, (first, last)).await
        });
        let parts: Vec<Option<CompletedPart>> = parts.buffered(PARTS_AT_A_TIME).try_collect().await?;
        let Some(parts) = parts.into_iter().collect::<Option<Vec<_>>>() else {
            return Ok(Written::Moved);
        };
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = || async {
            let request = self.client.complete_multipart_upload().bucket(to).key(&source.key);
            let request = request
                .upload_id(upload)
                .multipart_upload(all.clone())
                .set_if_match(condition.if_match())
                .set_if_none_match(condition.if_none_match());
            match request.customize().config_override(patient()).send().await {
                Ok(_) => Ok(Written::Landed { parts: count }),
                Err(error) => moved_or(source, to, &error),
            }
        };
        Backoff::READ.seeded(fnv1a(upload).into()).run(complete).await
    }

    /// A part of a copy; `None` where the source has changed.
    async fn copy_part(
        &self,
        source: &ObjectVersion,
        (to, upload): (&str, &str),
        number: u32,
        (first, last): (u64, u64),
    ) -> Result<Option<CompletedPart>, CloudError> {
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        let copy = || async {
            let request = self.client.upload_part_copy().bucket(to).key(&source.key);
            let request = request
                .upload_id(upload)
                .part_number(number)
                .copy_source(source_of(source))
                .copy_source_if_match(&source.etag)
                .copy_source_range(format!("bytes={first}-{last}"));
            match request.customize().config_override(patient()).send().await {
                Ok(copied) => Ok(Some(copied.copy_part_result.and_then(|result| result.e_tag))),
                Err(error) if error.code() == Some("PreconditionFailed") => Ok(None),
                Err(error) => Err(copy_error(source, to, &error)),
            }
        };
        let etag = Backoff::READ.seeded(first).run(copy).await?;
        Ok(etag.map(|etag| CompletedPart::builder().part_number(number).set_e_tag(etag).build()))
    }

    /// The tags of a version, as a copy in parts is to be told of them; a copy at once takes them along by itself.
    async fn tagging(&self, source: &ObjectVersion) -> Result<Option<String>, CloudError> {
        let get = || async {
            let request = self.client.get_object_tagging().bucket(&source.bucket).key(&source.key);
            match request.set_version_id(source.version_id.clone()).send().await {
                Ok(got) => Ok(got.tag_set),
                // The version is there: a stack that says this looks for it where the mark of its deletion is.
                Err(error) if matches!(error.code(), Some("NotImplemented" | "NoSuchKey")) => Ok(Vec::new()),
                Err(error) => {
                    let action = format!("read the tags of {} in bucket {}", source.key, source.bucket);
                    Err(CloudError::service(action, &error))
                }
            }
        };
        let tags = Backoff::READ.seeded(fnv1a(&source.key).into()).run(get).await?;
        let pairs: Vec<String> = tags
            .iter()
            .map(|tag| format!("{}={}", encode(tag.key()), encode(tag.value())))
            .collect();
        Ok((!pairs.is_empty()).then(|| pairs.join("&")))
    }
}

/// What must be there for a copy to land: this ETag, or nothing.
struct Condition(Option<String>);

impl Condition {
    fn if_match(&self) -> Option<String> {
        self.0.clone()
    }

    fn if_none_match(&self) -> Option<String> {
        self.0.is_none().then(|| "*".to_owned())
    }
}

fn source_of(source: &ObjectVersion) -> String {
    let path = copy_source(&source.bucket, &source.key);
    match &source.version_id {
        Some(id) => format!("{path}?versionId={}", encode(id)),
        None => path,
    }
}

fn metadata_of(source: &ObjectVersion) -> std::collections::HashMap<String, String> {
    let mut metadata = source.headers.metadata.clone();
    metadata.insert(SOURCE_VERSION.to_owned(), source.version().to_owned());
    metadata
}

/// Whether a write has failed because somebody else's has come before it: then all is looked at again.
fn moved_or<E>(source: &ObjectVersion, to: &str, error: &SdkError<E, HttpResponse>) -> Result<Written, CloudError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.code() {
        // The last is said of a condition on an object that is gone by now.
        Some("PreconditionFailed" | "ConditionalRequestConflict" | "NoSuchKey") => Ok(Written::Moved),
        _ => Err(copy_error(source, to, error)),
    }
}

fn copy_error<E>(source: &ObjectVersion, to: &str, error: &SdkError<E, HttpResponse>) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if error.code() == Some("NoSuchVersion") {
        return missing(&source.bucket, &source.key);
    }
    write_error(
        format!("copy {} from bucket {} to {to}", source.key, source.bucket),
        to,
        error,
    )
}

/// Metadata of a copy: the version that it is of.
const SOURCE_VERSION: &str = "fleetcast-source-version";
/// Times that others may be faster.
const ATTEMPTS: u32 = 8;
/// Parts of one upload at most (Amazon S3 user guide, multipart upload limits).
const PARTS_MAX: u64 = 10_000;
/// Parts on their way at a time: between regions each goes at some 50 to 100 MB/s.
const PARTS_AT_A_TIME: usize = 16;
