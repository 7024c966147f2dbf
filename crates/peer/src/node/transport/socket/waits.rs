//! Waiting for a socket to be through with what was written.

use std::io;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// When to ask the kernel again: it tells nobody that something was confirmed.
#[derive(Debug, Default)]
pub(super) struct Waits {
    again: Option<Pin<Box<Sleep>>>,
    /// The pause that it is in, if any.
    pause: Duration,
}

impl Waits {
    /// Waits until the other side has confirmed all but so many bytes.
    pub(super) fn poll_confirmed(
        &mut self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
        most: u32,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(again) = self.again.as_mut().filter(|_| !self.pause.is_zero()) {
                ready!(again.as_mut().poll(cx));
            }
            let goes_on = ready!(poll_sent(socket, cx))?;
            // Of a connection that has ended nothing is confirmed any more. Why it has, who writes next finds out.
            if !goes_on || unconfirmed(socket)? <= most {
                self.pause = Duration::ZERO;
                return Poll::Ready(Ok(()));
            }
            self.pause = (self.pause * 2).clamp(PAUSE_LEAST, PAUSE_MOST);
            match &mut self.again {
                Some(again) => again.as_mut().reset(Instant::now() + self.pause),
                None => self.again = Some(Box::pin(sleep(self.pause))),
            }
        }
    }
}

/// Waits until no more than a little of what was written is unsent; tells whether the connection goes on.
fn poll_sent(socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        // That is what was true when something last did not fit. The kernel is asked, and so has to tell when it is true again.
        let sent = socket.try_io(Interest::WRITABLE, || {
            let mut fds = [PollFd::new(socket, PollFlags::OUT)];
            match poll(&mut fds, Some(&Timespec::default()))? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(!fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)),
            }
        });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}

/// Bytes that were written and that the other side has not confirmed.
fn unconfirmed(socket: &TcpStream) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    #[expect(
        unsafe_code,
        reason = "no safe wrapper of SIOCOUTQ, which is TIOCOUTQ of sockets, is at hand"
    )]
    // SAFETY: the descriptor is that of a socket that is borrowed here, and the call writes one int.
    let ended = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if ended == 0 {
        return Ok(u32::try_from(bytes).unwrap_or(0));
    }
    Err(io::Error::last_os_error())
}

/// The first pause, and the longest: each is twice the one before.
const PAUSE_LEAST: Duration = Duration::from_millis(1);
const PAUSE_MOST: Duration = Duration::from_millis(16);
