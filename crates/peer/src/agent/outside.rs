//! What others on this machine want of the agent's loop: a status, a reload, a sign that it turns.

use std::time::Instant;

use peer::{Caretakers, Directory, Reach};

use super::status::{Around, Status};
use super::{Arguments, Failure};
use program::Exit;

/// Those others.
pub(super) struct Outside {
    pub(super) around: Around,
    pub(super) caretakers: Caretakers<Status>,
}

/// What is wanted.
pub(super) enum Asked {
    /// What one of those who look after the agent wants.
    By(peer::Asked<Status>),
    /// Nothing that the loop need do.
    Nothing,
}

impl Outside {
    /// Listens to them from now on.
    ///
    /// # Errors
    /// Exit code and sentence where that cannot be.
    pub(super) async fn start(arguments: &Arguments, directory: &Directory) -> Result<Self, Failure> {
        let caretakers = Caretakers::start(&arguments.http).await;
        let caretakers = caretakers.map_err(|error| (Exit::Failed, error.to_string()))?;
        caretakers.addresses().for_each(|address| arguments.say(&address));
        let address = arguments.directory.as_ref().map(ToString::to_string);
        let around = Around {
            begun: Instant::now(),
            directory: address.unwrap_or_default(),
            reach: directory.reach(),
            has_answered: false,
        };
        Ok(Self { around, caretakers })
    }

    /// What is wanted next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            asked = self.caretakers.next() => Asked::By(asked),
            Ok(()) = self.around.reach.changed() => {
                self.tell_reach();
                Asked::Nothing
            }
        }
    }

    /// The service manager hears whether the directory answers; from the first time on the agent is ready.
    fn tell_reach(&mut self) {
        let reach = self.around.reach.borrow_and_update().clone();
        let notifier = &self.caretakers.notifier;
        match reach {
            Reach::Answers => {
                if !std::mem::replace(&mut self.around.has_answered, true) {
                    notifier.ready();
                }
                notifier.status("the directory answers");
            }
            Reach::Silent(why) => notifier.status(&format!("the directory does not answer: {why}")),
            Reach::Unknown => {}
        }
    }
}
