//! The files of a result in its folder.
//!
//! Invariant: a folder that is full, or gone, takes nothing of a result that was waited for: what can be written is written, the rest is named once,
//! and whoever uses this prints the result all the same.

use std::path::Path;

use explain::Records;

use super::folder::write_whole;
use crate::cli::Outputs;
use crate::exit::Exit;
use crate::report::Report;

/// What was written of a result, and what was not.
pub(super) struct Kept<'a> {
    folder: &'a Path,
    written: Vec<&'static str>,
    /// Files and why they could not be written.
    lost: Vec<(String, std::io::Error)>,
}

impl<'a> Kept<'a> {
    pub(super) const fn in_folder(folder: &'a Path) -> Self {
        Self {
            folder,
            written: Vec::new(),
            lost: Vec::new(),
        }
    }

    pub(super) fn write(&mut self, name: &'static str, bytes: impl AsRef<[u8]>) {
        let path = self.folder.join(name);
        match write_whole(&path, bytes) {
            Ok(()) => self.written.push(name),
            Err(error) => self.lost.push((path.display().to_string(), error)),
        }
    }

    /// In a new folder of its own below.
    pub(super) fn write_below(&mut self, folder: &str, name: &str, bytes: impl AsRef<[u8]>) {
        let folder = self.folder.join(folder);
        let path = folder.join(name);
        let written = std::fs::create_dir(&folder).and_then(|()| write_whole(&path, bytes));
        if let Err(error) = written {
            self.lost.push((path.display().to_string(), error));
        }
    }

    /// A report in all its forms.
    pub(super) fn report(&mut self, report: &Report) {
        self.write(REPORT, report.to_json());
        self.write(PAGE, report.to_html());
        let latency = report.latency_files();
        self.write("latency.hlog", &latency.hlog);
        self.write("latency.hgrm", &latency.hgrm);
        self.write(report.host_rows.name, &report.host_rows.bytes);
    }

    /// What `harness explain` reads, where anything was recorded.
    pub(super) fn records(&mut self, records: Option<&Records>) {
        if let Some(records) = records {
            self.write(Records::FILE, records.to_bytes());
        }
    }

    /// What a CI shows, where that is asked for.
    pub(super) fn for_ci(&mut self, outputs: &Outputs, report: &Report) {
        let files = [
            (&outputs.junit, report.to_junit()),
            (&outputs.markdown, report.to_markdown()),
        ];
        for (file, text) in files {
            let Some(file) = file else { continue };
            // A pipe or a device is written to as it is.
            let written = if file.exists() && !file.is_file() {
                std::fs::write(file, text)
            } else {
                write_whole(file, text)
            };
            if let Err(error) = written {
                self.lost.push((file.display().to_string(), error));
            }
        }
    }

    /// Where people find it, a line each, as far as it is there.
    pub(super) fn places(&self) -> String {
        let told = [("report", REPORT), ("page", PAGE)].into_iter();
        told.filter(|(_, name)| self.written.contains(name))
            .map(|(what, name)| format!("{what}: {}\n", self.folder.join(name).display()))
            .collect()
    }

    /// Says what could not be written. That is a failure, of whatever the result tells.
    pub(super) fn exit(self) -> Exit {
        let Some((first, error)) = self.lost.first() else {
            return Exit::Success;
        };
        let more = match self.lost.len() - 1 {
            0 => String::new(),
            more => format!("; nor {more} more"),
        };
        say!(
            "harness: {first} could not be written: {error}{more}. The result is printed all the same; expected a folder that stays, with room, \
             such as another --out"
        );
        Exit::Failed
    }
}

const REPORT: &str = "report.json";
const PAGE: &str = "report.html";
