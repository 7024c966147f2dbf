//! SIGHUP: the configuration is read again, and what can change does, without a transfer's hearing of it.

use peer::Notifier;

use super::builds::Builds;
use super::check::words;
use super::configuration::Configuration;
use super::{Arguments, speech};

/// Reads the configuration again and has `builds` go by it. Where something is wrong with it, that is said and all stays as it was.
pub(super) fn reload(configuration: &mut Configuration, builds: &mut Builds<'_>, notifier: &Notifier) {
    notifier.reloading();
    match configuration.read_again() {
        Ok(changes) => {
            for key in &changes.changed.later {
                tracing::warn!("{key} has changed, which an agent that runs does not take up; restart it");
            }
            let arguments = builds.arguments.with_live_of(&changes.now.arguments);
            builds.reload(arguments);
            *configuration = changes.now;
            builds.arguments.say(&changes.changed.sentence());
        }
        Err(why) => {
            speech::say(&words(&why));
            tracing::error!("the configuration was read again and is wrong; the one before holds");
        }
    }
    notifier.ready();
}

impl Arguments {
    /// These, but for what can change while an agent runs, which is as `now` says. Name and zone stay as they were found.
    fn with_live_of(&self, now: &Self) -> Self {
        Self {
            fetches_max: now.fetches_max,
            timeout: now.timeout,
            keep: now.keep,
            keep_size: now.keep_size,
            pin: now.pin.clone(),
            before_install: now.before_install.clone(),
            installed: now.installed.clone(),
            failed: now.failed.clone(),
            hook_timeout: now.hook_timeout,
            serve_idle: now.serve_idle,
            upload_rate: now.upload_rate.clone(),
            download_rate: now.download_rate.clone(),
            free_min: now.free_min,
            store_max: now.store_max,
            quiet: now.quiet,
            ..self.clone()
        }
    }
}

impl Builds<'_> {
    /// Goes by these arguments from now on. What was refused is asked for again.
    fn reload(&mut self, arguments: Arguments) {
        self.arguments = arguments;
        self.turns.set_at_a_time(self.arguments.fetches_max.into());
        self.surroundings.limits.apply(&self.arguments);
        self.hooks.apply(&self.arguments);
        self.may_be_over = true;
        for build in self.builds.values_mut().filter(|build| build.is_refused) {
            (build.is_refused, build.last_error) = (false, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::agent::configuration::KEYS;

    /// Another value of each key that can change.
    fn other(key: &str) -> &'static str {
        match key {
            "pin" => "--pin=b",
            "before-install" => "--before-install=b",
            "installed" => "--installed=b",
            "failed" => "--failed=b",
            "upload-rate" => "--upload-rate=9 MB/s",
            "download-rate" => "--download-rate=9 MB/s",
            "quiet" => "--quiet",
            "fetches-max" => "--fetches-max=9",
            "timeout" => "--timeout=9",
            "keep" => "--keep=9",
            "keep-size" => "--keep-size=9",
            "hook-timeout" => "--hook-timeout=9",
            "serve-idle" => "--serve-idle=9",
            "free-min" => "--free-min=9",
            "store-max" => "--store-max=9",
            other => panic!("{other} can change, and nobody takes it up"),
        }
    }

    #[test]
    fn every_key_that_can_change_is_taken_up() {
        let fixed = ["peer", "--directory", "/ip4/127.0.0.1/tcp/1", "--folder", "f"];
        let before = Arguments::parse_from(fixed);
        for key in KEYS.iter().filter(|key| key.is_live) {
            let now = Arguments::parse_from(fixed.iter().copied().chain([other(key.name)]));
            let taken = before.with_live_of(&now);
            assert_eq!(format!("{taken:?}"), format!("{now:?}"), "{}", key.name);
        }
    }
}
