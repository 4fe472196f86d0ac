//! Waiting for devices to come.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use crate::error::Error;

/// Even without an event the devices are looked at this often: a full queue loses events.
const TICK: Duration = Duration::from_millis(500);

/// The multicast group of the kernel's own messages.
const KERNEL_GROUP: u32 = 1;

/// The kernel's announcements of devices.
pub(crate) struct Uevents(OwnedFd);

impl Uevents {
    /// Starts to listen: open it before looking for a device, or its arrival may be missed.
    pub(crate) fn open() -> Result<Self, Error> {
        let failed = || Error::kernel("announce devices");
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))
                .map_err(failed())?;
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP)).map_err(failed())?;
        Ok(Self(socket))
    }

    /// Waits for an event, one of `others` becoming readable, a tick or the deadline, whichever
    /// is first; returns which of `others` are readable.
    pub(crate) fn wait(
        &self,
        others: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<Vec<bool>, Error> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.map_or(TICK, |left| left.min(TICK));
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let watched = std::iter::once(self.0.as_fd()).chain(others.iter().copied());
        let mut watched: Vec<_> =
            watched.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::kernel("wait for devices")(errno)),
        }
        self.drain();
        Ok(watched.iter().skip(1).map(|fd| fd.revents().contains(PollFlags::IN)).collect())
    }

    /// What came is found by looking at all devices; one look serves a burst of events.
    fn drain(&self) {
        let mut buffer = [0_u8; 8192];
        while recv(&self.0, &mut buffer[..], RecvFlags::DONTWAIT).is_ok() {}
    }
}
