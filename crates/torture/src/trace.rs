//! A readable log of a day.

use crate::day::Nanos;

/// Where a day's log goes, if anywhere.
pub struct Trace<'a> {
    sink: Option<&'a mut dyn FnMut(&str)>,
}

impl std::fmt::Debug for Trace<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace").field("is_on", &self.is_on()).finish()
    }
}

impl<'a> Trace<'a> {
    /// No log.
    pub const fn off() -> Self {
        Self { sink: None }
    }

    /// A log whose lines go to `sink`.
    pub fn to(sink: &'a mut dyn FnMut(&str)) -> Self {
        Self { sink: Some(sink) }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// Says one thing, with its time in seconds.
    pub(crate) fn say(&mut self, at: Nanos, text: &str) {
        if let Some(sink) = &mut self.sink {
            let (seconds, nanos) = (at / 1_000_000_000, at % 1_000_000_000);
            sink(&format!("{seconds:>4}.{nanos:09} {text}"));
        }
    }
}

/// Events and actions in a line each.
pub(crate) mod describe {
    use swarm::{Action, Event, Message};

    pub(crate) fn event(event: &Event) -> String {
        match event {
            Event::Wakeup => "to wake up".to_owned(),
            Event::Message(from, message) => format!("by {from}: {}", self::message(message)),
            Event::StoreOpened { held } => format!("that its store is open with {} chunks", held.count()),
            Event::ChunkStored { from, chunk } => format!("that {chunk} of {from} is stored"),
            other => format!("{other:?}"),
        }
    }

    pub(crate) fn action(action: &Action) -> String {
        match action {
            Action::Send(to, message) => format!("says to {to}: {}", self::message(message)),
            Action::OpenStore(_) => "opens its store".to_owned(),
            Action::Connect(contact) => format!("dials {}", contact.host),
            Action::ServeChunk { to, chunk } => format!("begins to send {chunk} to {to}"),
            Action::StopServing { to, chunk } => format!("stops sending {chunk} to {to}"),
            Action::Complete => "is complete".to_owned(),
            other => format!("{other:?}"),
        }
    }

    fn message(message: &Message) -> String {
        match message {
            Message::Manifest(_) => "Manifest".to_owned(),
            Message::Build(info) => format!("Build({})", info.build_id),
            Message::HaveSet(set) => format!("HaveSet({} of {})", set.count(), set.len()),
            Message::Neighbours(contacts) => {
                let hosts: Vec<_> = contacts.iter().map(|contact| contact.host.get()).collect();
                format!("Neighbours({hosts:?})")
            }
            other => format!("{other:?}"),
        }
    }
}
