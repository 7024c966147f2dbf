//! Neighbours without a seeder: hosts tell each other whom they know.
//!
//! As long as a seeder can be reached, it plans who is linked with whom. When none can, a host tells its neighbours where it is,
//! with the message that it would send to the seeder. Who lacks neighbours asks those that it has for others, and dials whom it
//! once knew. So links that break are made again, and a host that has one neighbour left finds more. Invariant: nobody is in the
//! book twice, and there are at most [`KNOWN_MAX`].
//!
//! A neighbour may lie. It is heard only when it was asked, it names a few, and what it says pushes nobody out of the book whom a
//! seeder has named or who was connected.

use std::time::Duration;

use bytes::Bytes as ByteBuffer;

use super::{Peer, Timer};
use crate::units::{HostId, Time};
use crate::wire::{Contact, LINKS_MAX, LinkReport, Message};

/// Whom a host knows, and whom it has asked.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    /// Who is likeliest to be there comes last: it is dialled first, and forgotten last.
    known: Vec<Known>,
    /// Neighbours that were asked for others and have not answered.
    asked: Vec<HostId>,
    /// Neighbours to which others were named a moment ago, and when.
    named_to: Vec<(HostId, Time)>,
    /// Whether neighbours were told where this host is, since there is no seeder.
    has_announced: bool,
}

#[derive(Clone, Debug)]
struct Known {
    contact: Contact,
    /// Whether nobody but a neighbour has said so, and it was never connected.
    hearsay: bool,
}

impl Contacts {
    /// A member is there, as a seeder says or as it says itself.
    fn note(&mut self, contact: Contact) {
        self.known.retain(|known| known.contact.host != contact.host);
        if self.known.len() >= KNOWN_MAX {
            self.known.remove(0);
        }
        let hearsay = false;
        self.known.push(Known { contact, hearsay });
    }

    /// A neighbour says that a member is there. In a full book that takes the place of other hearsay, or none.
    fn note_hearsay(&mut self, contact: Contact) {
        if self.place_of(contact.host).is_some() {
            return;
        }
        if self.known.len() >= KNOWN_MAX {
            let Some(place) = self.known.iter().position(|known| known.hearsay) else {
                return;
            };
            self.known.remove(place);
        }
        let hearsay = true;
        self.known.insert(0, Known { contact, hearsay });
    }

    fn place_of(&self, host: HostId) -> Option<usize> {
        self.known.iter().position(|known| known.contact.host == host)
    }

    /// A member is connected.
    pub(super) fn link_up(&mut self, host: HostId) {
        if let Some(place) = self.place_of(host) {
            self.known[place].hearsay = false;
            self.known[place..].rotate_left(1);
        }
    }

    /// A member could not be reached: others are dialled before it is tried again.
    pub(super) fn unreachable(&mut self, host: HostId) {
        if let Some(place) = self.place_of(host) {
            self.known[..=place].rotate_right(1);
        }
    }

    /// There is a seeder again, or there is none any more: neighbours are told and asked anew in the second case.
    fn begin_anew(&mut self) {
        self.has_announced = false;
        self.asked.clear();
    }

    /// Neighbours do not know any more where this host is.
    pub(super) fn moved(&mut self) {
        self.has_announced = false;
    }

    /// Whether others were named to `host` a moment ago; if not, they are now.
    fn were_named_to(&mut self, now: Time, host: HostId) -> bool {
        self.named_to.retain(|(_, at)| now.since(*at) < NAMED_APART);
        let were_named = self.named_to.iter().any(|(other, _)| *other == host);
        if !were_named {
            self.named_to.push((host, now));
        }
        were_named
    }

    /// Whether `host` was asked for others; it has answered.
    fn has_answered(&mut self, host: HostId) -> bool {
        let place = self.asked.iter().position(|asked| *asked == host);
        place.map(|place| self.asked.swap_remove(place)).is_some()
    }
}

impl Peer {
    /// A seeder names members.
    pub(super) fn note_contacts(&mut self, contacts: &[Contact]) {
        contacts.iter().for_each(|contact| self.contacts.note(contact.clone()));
    }

    /// Which seeder tracks this host has changed, or there is none.
    pub(super) fn tracker_changed(&mut self, now: Time) {
        self.contacts.begin_anew();
        self.announce(now);
    }

    /// No seeder can be reached: neighbours hear where this host is, and are asked for others while it lacks some.
    pub(super) fn seek_members(&mut self, now: Time) {
        let wanted = self.neighbours_wanted();
        if !std::mem::replace(&mut self.contacts.has_announced, true) || wanted > 0 {
            let members: Vec<HostId> = self.members().map(|neighbour| neighbour.host).collect();
            members.iter().for_each(|host| self.tell_where(*host, wanted));
            self.contacts.asked = if wanted > 0 { members } else { Vec::new() };
        }
        if wanted == 0 || (self.contacts.asked.is_empty() && self.contacts.known.is_empty()) {
            self.timers.clear(Timer::Announce);
            return;
        }
        self.dial_known(now, wanted);
        self.count_short();
        let delay = self.until_announce();
        self.timers.set(Timer::Announce, now + delay);
    }

    /// A new neighbour, where there is no seeder from which it could know where this host is.
    pub(super) fn greet_member(&mut self, host: HostId) {
        self.contacts.link_up(host);
        if self.is_on_its_own() {
            self.tell_where(host, 0);
        }
    }

    fn tell_where(&mut self, host: HostId, wanted: u16) {
        let links = if wanted > 0 {
            LinkReport {
                up: self.links_up().take(LINKS_MAX).collect(),
                ..LinkReport::default()
            }
        } else {
            LinkReport::default()
        };
        let message = self.announcement(wanted, links);
        self.send(host, message);
    }

    /// Dials those that were there once, as many as are lacking.
    fn dial_known(&mut self, now: Time, wanted: u16) {
        let is_free = |contact: &&Contact| !self.is_linked(contact.host);
        let known = self.contacts.known.iter().rev().map(|known| &known.contact);
        let known = known.filter(is_free);
        let contacts = known.take(wanted.into()).cloned().collect();
        self.dial_contacts(now, contacts);
    }

    /// A neighbour says where it is, and may lack neighbours.
    pub(super) fn handle_member_announce(
        &mut self,
        now: Time,
        host: HostId,
        address: ByteBuffer,
        wanted: u16,
        links: &LinkReport,
    ) {
        self.contacts.note(Contact { host, address });
        if wanted == 0 || self.contacts.were_named_to(now, host) {
            return;
        }
        let is_of_use = |contact: &&Contact| contact.host != host && !links.up.contains(&contact.host);
        let known = self.contacts.known.iter().map(|known| &known.contact);
        let of_use = known.filter(is_of_use).cloned();
        let (mut named, others): (Vec<Contact>, Vec<Contact>) =
            of_use.partition(|contact| self.neighbours.contains(contact.host));
        let start = self.random_below(named.len());
        named.rotate_left(start);
        named.extend(others.into_iter().rev());
        named.retain(|contact| !self.banned.contains_key(&contact.host));
        named.truncate(NAMED_MAX);
        self.send(host, Message::Neighbours(named));
    }

    /// A neighbour names others.
    pub(super) fn handle_member_contacts(&mut self, now: Time, host: HostId, mut contacts: Vec<Contact>) {
        if !self.contacts.has_answered(host) || !self.is_on_its_own() {
            self.stats.messages_ignored += 1;
            return;
        }
        contacts.truncate(NAMED_MAX);
        contacts.retain(|contact| !self.is_linked(contact.host));
        for contact in &contacts {
            self.contacts.note_hearsay(contact.clone());
        }
        contacts.truncate(self.neighbours_wanted().into());
        self.stats.members_named += contacts.len() as u64;
        self.dial_contacts(now, contacts);
    }
}

/// Members remembered; several times as many as a host is linked with.
const KNOWN_MAX: usize = 64;
/// Members that a neighbour names, or is heard to name, at a time: it should not be all that a host has.
const NAMED_MAX: usize = 4;
/// A neighbour is told of others at most so often.
const NAMED_APART: Duration = Duration::from_secs(1);

#[cfg(test)]
mod rules;

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(host: u64) -> Contact {
        Contact {
            host: HostId::new(host),
            address: ByteBuffer::new(),
        }
    }

    fn hosts(contacts: &Contacts) -> Vec<u64> {
        contacts.known.iter().map(|known| known.contact.host.get()).collect()
    }

    #[test]
    fn who_is_likeliest_to_be_there_comes_last() {
        let mut contacts = Contacts::default();
        (1..=4).for_each(|host| contacts.note(contact(host)));
        contacts.note(contact(2));
        assert_eq!(hosts(&contacts), [1, 3, 4, 2]);
        contacts.unreachable(HostId::new(4));
        assert_eq!(hosts(&contacts), [4, 1, 3, 2]);
        contacts.link_up(HostId::new(1));
        assert_eq!(hosts(&contacts), [4, 3, 2, 1]);
        contacts.note_hearsay(contact(5));
        contacts.note_hearsay(contact(1));
        assert_eq!(hosts(&contacts), [5, 4, 3, 2, 1]);
        contacts.unreachable(HostId::new(9));
        contacts.link_up(HostId::new(9));
        assert_eq!(hosts(&contacts), [5, 4, 3, 2, 1], "nobody knows it");
    }

    #[test]
    fn hearsay_pushes_out_nothing_but_hearsay() {
        let mut contacts = Contacts::default();
        let known = KNOWN_MAX as u64;
        (1..known).for_each(|host| contacts.note(contact(host)));
        (1000..2000).for_each(|host| contacts.note_hearsay(contact(host)));
        assert_eq!(contacts.known.len(), KNOWN_MAX);
        assert_eq!(hosts(&contacts)[1..], (1..known).collect::<Vec<_>>());
    }
}
