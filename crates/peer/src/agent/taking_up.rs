//! What an earlier process has put in place and was killed before it could write that down: it has come, at the time that the note
//! beside it says, and is told now. It need not be listed any more: others were told that it is here.

use std::path::PathBuf;

use cloud::DeploymentLog;
use peer::{NodeReport, Placed};

use super::arguments::place_of;
use super::builds::Builds;
use super::kept::{BuildId, Row, Stamp};
use super::speech;

impl Builds<'_> {
    /// Takes up what stands in the folder with its note and is not on the list as come. Notes of what was written down before the
    /// earlier process ended go. To be called once, at the start.
    pub(super) fn take_up_what_was_placed(&mut self) {
        let mut placed: Vec<(BuildId, PathBuf, Placed)> = Vec::new();
        let mut come = Vec::new();
        for record in self.kept.records() {
            let Some(out) = place_of(self.folder, &record.key) else {
                continue;
            };
            if record.has_come() {
                come.push(out);
            } else if let Some(note) = Placed::at(&out).filter(|placed| placed.label == record.version) {
                placed.push(((record.key.clone(), record.version.clone()), out, note));
            }
        }
        // A place has one note, which may be of a version that is still to be told of.
        come.retain(|out| placed.iter().all(|(_, to_tell, _)| to_tell != out));
        come.iter().for_each(|out| Placed::forget(out));
        for (id, out, placed) in placed {
            let (row, stamp) = (self.row_of_placed(&id, &placed), Stamp::of(&out));
            let size = stamp.map_or(0, |stamp| stamp.size);
            self.arguments.say(&speech::came_before(&id.0, size));
            let record = self.kept.change(&id);
            record.row = row;
            record.come(stamp);
            self.kept.put_last(&id);
            self.to_print.push(id);
            self.written_down.push(out);
        }
    }

    fn row_of_placed(&self, id: &BuildId, placed: &Placed) -> Row {
        if !self.arguments.log {
            return Row::None;
        }
        let record = self.kept.get(id);
        let took = record
            .map(|record| record.heard_before(placed.time()))
            .unwrap_or_default();
        let (host_id, version) = (self.kept.host_id(), Some(id.1.clone()));
        // What it was made of is not known any more.
        let row = self
            .arguments
            .row(host_id, &id.0, version, took, &NodeReport::default(), None);
        Row::Due(Box::new(at(placed, row)))
    }
}

/// The row with the time at which the build was put in place.
pub(super) fn at(placed: &Placed, row: DeploymentLog) -> DeploymentLog {
    let completed_at = placed.time();
    DeploymentLog {
        root: row.root.or_else(|| placed.root.clone()),
        started_at: completed_at.checked_sub(row.duration).unwrap_or(completed_at),
        completed_at,
        ..row
    }
}
