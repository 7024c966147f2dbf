//! Tells the service manager how a process is (`sd_notify`): that it is ready, that it still turns, that it stops.
//!
//! A datagram to the socket that NOTIFY_SOCKET names. Where there is none nobody has asked, and nothing is sent.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says. A socket that cannot be had is said to be, and no reason to end.
    pub fn from_environment() -> Self {
        Self::of(|name| std::env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let manager = manager_at(&name)
            .inspect_err(|error| tracing::warn!(socket = ?name, %error, "the service manager is told nothing"))
            .ok();
        let number = |name: &str| -> Option<u64> { variable(name)?.to_str()?.parse().ok() };
        // Meant for another process of the unit where it says so.
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|time| is_ours && *time > 0);
        Self {
            manager,
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// How often [`Notifier::turns`] is to be called: thrice in the time after which the manager loses patience.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.manager.as_ref()?;
        self.watchdog.map(|time| time / 3)
    }

    /// It does what it is there for.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// Its loop turns.
    pub fn turns(&self) {
        self.tell("WATCHDOG=1");
    }

    /// It reads its configuration again; [`Notifier::ready`] says that it has.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// A sentence that `systemctl status` shows.
    pub fn status(&self, sentence: &str) {
        self.tell(&format!("STATUS={}", sentence.replace('\n', " ")));
    }

    fn tell(&self, what: &str) {
        if let Some((socket, manager)) = &self.manager {
            // A manager that does not read is not waited for.
            let _ = socket.send_to_addr(what.as_bytes(), manager);
        }
    }
}

/// A name that begins with @ is none of the file system.
fn manager_at(name: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(of: &UnixDatagram) -> String {
        of.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = [0; 256];
        let count = of.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn the_manager_is_told_over_a_path_and_over_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("@fleetcast-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        for (socket, manager) in [
            (path.clone().into_os_string(), UnixDatagram::bind(&path).unwrap()),
            (name.clone().into(), UnixDatagram::bind_addr(&abstract_name).unwrap()),
        ] {
            let variable = |name: &str| match name {
                "NOTIFY_SOCKET" => Some(socket.clone()),
                "WATCHDOG_USEC" => Some("30000000".into()),
                _ => None,
            };
            let notifier = Notifier::of(variable);
            assert_eq!(notifier.watchdog_interval(), Some(Duration::from_secs(10)));
            notifier.ready();
            assert_eq!(told(&manager), "READY=1");
            notifier.status("two\nlines");
            assert_eq!(told(&manager), "STATUS=two lines");
            notifier.reloading();
            assert!(told(&manager).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        }
    }

    #[test]
    fn nobody_is_told_where_nobody_asks_and_another_process_is_not_meant() {
        let silent = Notifier::of(|_| None);
        silent.ready();
        assert_eq!(silent.watchdog_interval(), None);
        let other = Notifier::of(|name| match name {
            "NOTIFY_SOCKET" => Some("/nowhere/notify".into()),
            "WATCHDOG_USEC" => Some("30000000".into()),
            "WATCHDOG_PID" => Some("1".into()),
            _ => None,
        });
        other.ready();
        assert_eq!(other.watchdog_interval(), None);
    }
}
