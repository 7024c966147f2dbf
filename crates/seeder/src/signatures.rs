//! Who vouches for a build that is pulled, and whether that is to be believed: before a byte of it is asked for, as far as that can be known
//! then, and when all of it is here.

use cloud::ObjectInfo;
use signing::{Moment, Signature, TrustedKeys};
use swarm::{Bytes as ByteCount, Manifest};

use crate::s3_pull::{PullError, PullOptions, Pulled, waiting};

/// The size of the chunks in which a build is to be cut, where its signature or who asks for it says: what is refused for what its signature
/// says is not pulled.
///
/// # Errors
/// `Refused` where keys are trusted and the object does not come with a signature of one of them, for its id and size, whose time is now.
pub(crate) fn before_pull(
    object: &ObjectInfo,
    options: &PullOptions,
    signature: Option<&str>,
) -> Result<Option<u32>, PullError> {
    let Some(keys) = &options.trust else {
        // What nobody here believes still says how it was cut, for hosts that do.
        let signed = signature.and_then(|text| text.parse().ok());
        let size = ByteCount::new(object.size);
        let can_be = |chunk_size| Manifest::chunk_count_of(&object.key, size, chunk_size).is_ok();
        let signed =
            signed.filter(|signature: &Signature| signature.size() == object.size && can_be(signature.chunk_size()));
        return Ok(options
            .chunk_size
            .or_else(|| signed.map(|signature| signature.chunk_size())));
    };
    let signature = keys.check(&object.key, signature, Moment::now());
    let signature = signature.map_err(|refused| refused_as(refused.to_string()))?;
    if signature.size() != object.size {
        let (signed, size) = (signature.size(), object.size);
        return Err(refused_as(format!(
            "{signed} bytes of it were signed, and the object has {size}"
        )));
    }
    let signed = signature.chunk_size();
    if let Some(asked) = options.chunk_size.filter(|asked| *asked != signed) {
        return Err(refused_as(format!(
            "it was signed in chunks of {signed} bytes, and this seeder is to cut chunks of {asked}; start it without --chunk-size"
        )));
    }
    Ok(Some(signed))
}

impl Pulled {
    /// This is what came with the object. The spool is to know too: a seeder that is started again may not reach S3.
    pub(crate) async fn vouched_by(&mut self, signature: Option<String>) {
        if self.signature == signature {
            return;
        }
        self.signature = signature;
        if let Some(store) = self.spooled.clone() {
            let signature = self.signature.clone();
            waiting(move || store.build().keep_signature(signature)).await;
        }
    }

    /// Whether it may be seeded where these keys are trusted; it may where none are.
    ///
    /// # Errors
    /// `Refused`, and why.
    pub fn check(&self, trust: Option<&TrustedKeys>) -> Result<(), PullError> {
        let Some(keys) = trust else {
            return Ok(());
        };
        let (key, root) = (&self.object.key, self.manifest.root());
        let signature = keys.verify(key, root, self.signature.as_deref(), Moment::now());
        let signature = signature.map_err(|refused| refused_as(refused.to_string()))?;
        if !signature.fits(&self.manifest) {
            return Err(refused_as(
                "it was signed with another size or in other chunks than it has".to_owned(),
            ));
        }
        Ok(())
    }
}

fn refused_as(why: String) -> PullError {
    PullError::Refused { why }
}
