//! `harness certify`: makes members of hosts and seeders, offline.

use std::time::Duration;

use peer::{PeerId, replace_file};
use signing::{Certificate, Member, MemberTerms, Moment};

use super::print;
use super::sign::secret;
use crate::cli::{CertifyArguments, Expiry};
use crate::exit::Exit;

pub(crate) fn certify(arguments: &CertifyArguments) -> Exit {
    let certificate = match made(arguments) {
        Ok(certificate) => format!("{certificate}\n"),
        Err(why) => {
            say!("harness: no certificate is made: {why}");
            return Exit::Usage;
        }
    };
    let Some(out) = &arguments.out else {
        print(&certificate);
        return Exit::Success;
    };
    match replace_file(out, certificate.as_bytes()) {
        Ok(()) => Exit::Success,
        Err(error) => {
            say!("harness: failed to write {}: {error}", out.display());
            Exit::Failed
        }
    }
}

fn made(arguments: &CertifyArguments) -> Result<Certificate, String> {
    let key = secret(&arguments.key)?;
    let peer = arguments.peer.parse::<PeerId>();
    peer.map_err(|error| {
        let (peer, expected) = (
            &arguments.peer,
            "expected what `peer --print-id` or `seeder --print-id` prints",
        );
        format!("--peer {peer}: {error}; {expected}")
    })?;
    let now = Moment::now();
    let until = match arguments.expires.unwrap_or(Expiry::After(LASTS)) {
        Expiry::After(duration) => now.plus(duration),
        Expiry::At(moment) => moment,
        Expiry::Never => {
            return Err("--expires never: a certificate ends; expected a time such as 24h or 30d".to_owned());
        }
    };
    let member = Member::new(MemberTerms {
        peer: arguments.peer.clone(),
        host: arguments.host.clone(),
        zone: arguments.zone.clone(),
        groups: arguments.group.clone(),
        addresses: arguments.address.clone(),
        not_before: now,
        not_after: until,
    });
    Ok(key.certify(member.map_err(|error| error.to_string())?))
}

/// A stolen host is one for no longer than this, where nobody notices.
const LASTS: Duration = Duration::from_secs(24 * 60 * 60);
