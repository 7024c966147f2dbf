//! Who this process is, and whom it talks to, as its command line says; and the sentence where that is everybody.

use std::sync::Arc;

use peer::{Addresses, BelongingError, Directory, Members, NodeIdentity, OPEN_SWARM};

use super::{Arguments, Failure, speech};
use program::Exit;

/// Who this process is, and who may be talked to.
pub(crate) struct Who {
    pub(crate) identity: NodeIdentity,
    pub(crate) members: Option<Arc<Members>>,
}

impl Who {
    /// Follows the directory at these addresses.
    ///
    /// # Errors
    /// Exit code and sentence where the transport cannot be set up.
    pub(crate) fn follow(&self, arguments: &Arguments, directory: Addresses) -> Result<Directory, Failure> {
        let members = self.members.clone();
        Directory::follow_as(&self.identity, members, arguments.traffic_class, directory)
            .map_err(|error| (Exit::Failed, program::chain(&error)))
    }
}

/// Prints the peer id, where that is all that is asked for.
pub(crate) fn printed_id(arguments: &Arguments) -> Option<Result<(), Failure>> {
    if !arguments.belonging.print_id {
        return None;
    }
    let printed = arguments.belonging.own_identity(arguments.folder.as_deref());
    Some(printed.map_err(failure).and_then(|identity| {
        let id = identity.map(|identity| identity.peer_id().to_string());
        speech::print_line(&id.unwrap_or_default())
            .map_err(|error| (Exit::Failed, format!("failed to print the peer id: {error}")))
    }))
}

/// Reads key, certificate and the keys that certify. What the certificate says of this host is what it is called, and where it is.
///
/// # Errors
/// Exit code and sentence where one of them cannot be had, or what is said otherwise is something else.
pub(crate) fn take_up(arguments: &mut Arguments) -> Result<Who, Failure> {
    let belonging = arguments.belonging.clone();
    let identity = belonging.own_identity(arguments.folder.as_deref()).map_err(failure)?;
    let identity = identity.unwrap_or_else(NodeIdentity::random);
    let members = belonging.members(&identity).map_err(failure)?;
    let Some(own) = members.as_ref().map(|members| members.own()) else {
        arguments.say(OPEN_SWARM);
        return Ok(Who { identity, members });
    };
    take(&mut arguments.host_id, Some(own.host()), "--host-id")?;
    take(&mut arguments.zone, own.zone(), "--zone")?;
    Ok(Who { identity, members })
}

/// What is certified, where nothing else was said.
fn take(said: &mut Option<String>, certified: Option<&str>, what: &str) -> Result<(), Failure> {
    match (said.as_deref(), certified) {
        (Some(said), certified) if certified != Some(said) => {
            let certified = certified.unwrap_or("nothing");
            let why = format!("{what} {said}: the certificate says {certified}; expected the same, or no {what}");
            Err((Exit::Usage, why))
        }
        _ => {
            *said = certified.map(str::to_owned);
            Ok(())
        }
    }
}

fn failure(error: BelongingError) -> Failure {
    (Exit::Usage, program::chain(&error))
}
