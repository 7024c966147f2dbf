//! What keys come to, once the command line that says all of it was parsed.

use std::fs::File;

use clap::ArgMatches;

use crate::keys::{Changed, Key};
use crate::merge::{Merged, all_or_ok};
use crate::problem::Problems;

impl Key {
    /// What it comes to, as its flag takes it: a switch to `true` or `false`.
    pub fn values(&self, matches: &ArgMatches) -> Vec<String> {
        let id = self.name.replace('-', "_");
        let raw = matches.get_raw(&id).into_iter().flatten();
        raw.map(|value| value.to_string_lossy().into_owned()).collect()
    }
}

impl Changed {
    /// What is otherwise `now`.
    pub fn since(before: &ArgMatches, now: &ArgMatches, keys: &[Key]) -> Self {
        Self::of(keys, |key| key.values(before) != key.values(now))
    }
}

impl Merged {
    /// Tries to open the files that the keys with these names are about. Defaults are not tried.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn check_files(&self, keys: &[Key], names: &[&str], matches: &ArgMatches) -> Result<(), Problems> {
        let named = keys.iter().filter(|key| names.contains(&key.name));
        let unreadable = named.filter_map(|key| {
            let setting = self.get(key.name)?;
            let path = key.values(matches).concat();
            let error = File::open(&path).err()?;
            Some(setting.problem(&format!("= {path:?} — it cannot be read ({error}); expected a file")))
        });
        all_or_ok(unreadable.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use clap::{Arg, ArgAction, Command};

    use super::*;
    use crate::keys::{Kind, is_some_text};
    use crate::merge::{Sources, merge};

    const KEYS: [Key; 4] = [
        Key::new("spool-max", Kind::number(0, 9, "bytes")).live(),
        Key::new("listen", Kind::texts("an address", is_some_text)),
        Key::new("quiet", Kind::Switch),
        Key::new("trust", Kind::FILE),
    ];

    fn parsed(flags: &[&str]) -> ArgMatches {
        let command = Command::new("p")
            .arg(Arg::new("spool_max").long("spool-max").default_value("7"))
            .arg(Arg::new("listen").long("listen").action(ArgAction::Append))
            .arg(Arg::new("quiet").long("quiet").action(ArgAction::SetTrue))
            .arg(Arg::new("trust").long("trust"));
        command.try_get_matches_from(["p"].iter().chain(flags)).unwrap()
    }

    fn values(flags: &[&str]) -> Vec<Vec<String>> {
        let matches = parsed(flags);
        KEYS.iter().map(|key| key.values(&matches)).collect()
    }

    #[test]
    fn each_kind_of_key_comes_to_what_its_flag_takes() {
        assert_eq!(values(&[]), [vec!["7"], vec![], vec!["false"], vec![]]);
        let flags = ["--quiet", "--listen=a", "--spool-max=8", "--listen=b", "--trust=t"];
        assert_eq!(values(&flags), [vec!["8"], vec!["a", "b"], vec!["true"], vec!["t"]]);
    }

    #[test]
    fn what_has_changed_is_told_by_when_it_holds() {
        let (before, now) = (parsed(&["--listen=a"]), parsed(&["--spool-max=8", "--quiet"]));
        let changed = Changed::since(&before, &now, &KEYS);
        assert_eq!(
            (changed.live, changed.later),
            (vec!["spool-max"], vec!["listen", "quiet"])
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_who_names_it() {
        let told = |path: &Path| {
            let flags = [format!("--trust={}", path.display())];
            let of_sources = flags.each_ref().map(OsString::from);
            let sources = Sources {
                flags: &of_sources,
                prefix: "TEST_",
                environment: &|_| None,
                default_file: Path::new("/dev/null"),
            };
            let merged = merge(&KEYS, &sources).unwrap();
            let checked = merged.check_files(&KEYS, &["trust"], &parsed(&flags.each_ref().map(String::as_str)));
            checked.map_err(|problems| problems.to_string())
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let why = told(&path).unwrap_err();
        let expected = format!("--trust: trust = {:?} — it cannot be read", path.display().to_string());
        assert!(why.starts_with(&expected), "{why}");
        std::fs::write(&path, "").unwrap();
        assert_eq!(told(&path), Ok(()));
    }
}
