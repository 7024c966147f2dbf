//! `harness keygen`, `sign` and `verify`: keys of publishers, and what they say of a build.

use std::io;
use std::path::Path;
use std::time::Duration;

use cloud::{BuildId, PartSource};
use signing::{KeyError, Moment, PublicKey, SecretKey, Signature, Terms, TrustedKeys};
use swarm::{Bytes, default_chunk_size};

use super::print;
use crate::cli::{Expiry, KeygenArguments, SignArguments, TermArguments, VerifyArguments};
use crate::exit::{Exit, chain};
use crate::live;

/// Why there is no result, and how the program ends for that.
type Failure = (Exit, String);

pub(crate) fn keygen(arguments: &KeygenArguments) -> Exit {
    let made = SecretKey::generate().and_then(|key| Ok((key.write(&arguments.file)?, key.public())));
    match made {
        Ok((public_file, public)) => {
            print(&format!("{public}\n"));
            say!(
                "harness: {} is secret: keep it where only its owner reads it; {} is for seeders and hosts, --trust for builds that it signs and --members for members that it certifies",
                arguments.file.display(),
                public_file.display()
            );
            Exit::Success
        }
        Err(error) => {
            say!(
                "harness: no key is made: {}; expected a FILE that is not there yet, in a folder that this user may write to",
                chain(&error)
            );
            Exit::Failed
        }
    }
}

pub(crate) async fn sign(arguments: &SignArguments) -> Exit {
    ended(signed(arguments).await)
}

pub(crate) async fn verify(arguments: &VerifyArguments) -> Exit {
    ended(verified(arguments).await)
}

fn ended(result: Result<String, Failure>) -> Exit {
    match result {
        Ok(line) => {
            print(&format!("{line}\n"));
            Exit::Success
        }
        Err((exit, message)) => {
            say!("harness: {message}");
            exit
        }
    }
}

async fn signed(arguments: &SignArguments) -> Result<String, Failure> {
    let key = secret(&arguments.key).map_err(|message| (Exit::Usage, message))?;
    let (build_id, size, source) = build(&arguments.file, arguments.build_id.as_ref())?;
    let signature = sign_source(&key, &build_id, size, &source, &arguments.terms).await;
    let signature = signature.map_err(|error| unreadable(&arguments.file, &error))?;
    Ok(signature.to_string())
}

/// The secret key in a file.
pub(super) fn secret(file: &Path) -> Result<SecretKey, String> {
    SecretKey::read(file).map_err(|error| match error {
        KeyError::File { .. } => format!(
            "{}; expected the file that `harness keygen FILE` has written",
            chain(&error)
        ),
        error => chain(&error),
    })
}

/// Signs a build whose bytes come by range.
///
/// # Errors
/// Where they cannot be read, or are none of a build.
pub(super) async fn sign_source(
    key: &SecretKey,
    build_id: &BuildId,
    size: u64,
    source: &PartSource,
    terms: &TermArguments,
) -> io::Result<Signature> {
    let chunk_size = terms.chunk_size.unwrap_or_else(|| default_chunk_size(Bytes::new(size)));
    let manifest = live::manifest_of(build_id.as_str(), size, chunk_size, source).await?;
    let signed = Moment::now();
    let expires = match terms.expires.unwrap_or(Expiry::After(EXPIRES_AFTER)) {
        Expiry::After(duration) => Some(signed.plus(duration)),
        Expiry::At(moment) => Some(moment),
        Expiry::Never => None,
    };
    let terms = Terms {
        sequence: terms.sequence.unwrap_or_else(|| signed.as_millis()),
        signed,
        expires,
    };
    Ok(key.sign(&manifest, terms))
}

async fn verified(arguments: &VerifyArguments) -> Result<String, Failure> {
    let keys = TrustedKeys::read(&arguments.trust).map_err(|error| {
        let expected = "expected a file of public keys, such as release.key.pub";
        (Exit::Usage, format!("--trust: {}; {expected}", chain(&error)))
    })?;
    let text = signature_text(&arguments.signature)?;
    let (build_id, size, source) = build(&arguments.file, arguments.build_id.as_ref())?;
    let refused = |why: String| (Exit::No, format!("{build_id} is refused: {why}"));
    // Before the file is read: how it is cut is in the signature.
    let said = keys.check(build_id.as_str(), Some(&text), Moment::now());
    let said = said.map_err(|error| refused(error.to_string()))?;
    if said.size() != size {
        return Err(refused(format!(
            "{} bytes of it were signed, and the file has {size}",
            said.size()
        )));
    }
    let manifest = live::manifest_of(build_id.as_str(), size, said.chunk_size(), &source).await;
    let manifest = manifest.map_err(|error| unreadable(&arguments.file, &error))?;
    let root = manifest.root();
    keys.verify(build_id.as_str(), root, Some(&text), Moment::now())
        .map_err(|error| refused(error.to_string()))?;
    let Terms {
        sequence,
        signed,
        expires,
    } = said.terms();
    let expires = expires.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let key: PublicKey = said.key();
    Ok(format!(
        "{build_id} {root}: signed with {key} at {signed}, sequence {sequence}, expires {expires}"
    ))
}

/// The text itself, or the file that it is in.
fn signature_text(given: &str) -> Result<String, Failure> {
    if given.parse::<Signature>().is_ok() || given.contains(';') {
        return Ok(given.trim().to_owned());
    }
    let text = std::fs::read_to_string(given);
    let text = text.map_err(|error| {
        let expected = "expected what `harness sign` has printed, or a file with it";
        (Exit::Usage, format!("--signature {given}: {error}; {expected}"))
    })?;
    Ok(text.trim().to_owned())
}

/// Id, size and bytes of the build in a file.
fn build(file: &Path, build_id: Option<&BuildId>) -> Result<(BuildId, u64, PartSource), Failure> {
    let build_id = match build_id {
        Some(build_id) => build_id.clone(),
        None => {
            let name = file
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            name.parse()
                .map_err(|error| (Exit::Usage, format!("{error}; --build-id names it")))?
        }
    };
    let size = match std::fs::metadata(file) {
        Ok(found) if found.is_file() && found.len() > 0 => found.len(),
        Ok(_) => {
            return Err((
                Exit::Usage,
                format!("{} is empty or no file; expected a build", file.display()),
            ));
        }
        Err(error) => return Err(unreadable(file, &error)),
    };
    let source = live::file(file).map_err(|error| unreadable(file, &error))?;
    Ok((build_id, size, source))
}

fn unreadable(file: &Path, error: &io::Error) -> Failure {
    (
        Exit::Usage,
        format!("{} cannot be read: {error}; expected a build", file.display()),
    )
}

/// What a build is deployed in, and hosts that are added later come for it.
const EXPIRES_AFTER: Duration = Duration::from_secs(90 * 24 * 60 * 60);
