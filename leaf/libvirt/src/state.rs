//! How a domain stands, and why: `virDomainGetState`.

/// How a domain stands (`virDomainState` of libvirt's `libvirt-domain.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It is not known.
    #[default]
    Unknown,
    /// It runs, or is about to shut down.
    Running,
    /// It is there and does not run.
    Paused(Paused),
    /// The guest has put itself to sleep.
    Asleep,
    /// It is off.
    Off(Off),
    /// It crashed, and what is left of it is kept for whoever wants to look (`on_crash`).
    Crashed,
}

/// Why a domain is paused (`virDomainPausedReason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// Somebody paused it.
    Told,
    /// Something is done with it that ends by itself: a migration, a save, a dump, a snapshot, a start.
    Busy,
    /// A disk could not be written or read.
    IoError,
    /// Its watchdog saw that it hangs.
    Watchdog,
    /// The guest said that it crashed.
    Crashed,
    /// libvirt or QEMU failed at something and left it so.
    Failed,
    /// It is not known.
    Unknown,
}

/// Why a domain is off (`virDomainShutoffReason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// It was never started, or libvirt itself was started since.
    Unknown,
    /// The guest shut down.
    ShutDown,
    /// Somebody turned it off.
    Destroyed,
    /// QEMU ended by itself.
    Crashed,
    /// It runs elsewhere.
    Migrated,
    /// Its memory was saved.
    Saved,
    /// It could not be started.
    Failed,
    /// Somebody went back to a snapshot of it that was off.
    FromSnapshot,
    /// libvirt gave it up when it was itself started again.
    GivenUp,
}

impl State {
    /// From the numbers of the protocol. What a later libvirt adds is unknown.
    pub(crate) fn of(state: u32, reason: u32) -> Self {
        match (state, reason) {
            // VIR_DOMAIN_RUNNING, VIR_DOMAIN_BLOCKED, VIR_DOMAIN_SHUTDOWN
            (1 | 2 | 4, _) => Self::Running,
            (3, _) => Self::Paused(Paused::of(reason)),
            (5, _) => Self::Off(Off::of(reason)),
            (6, _) => Self::Crashed,
            (7, _) => Self::Asleep,
            _ => Self::Unknown,
        }
    }
}

impl Paused {
    fn of(reason: u32) -> Self {
        match reason {
            1 => Self::Told,
            // Migration, save, dump; after a snapshot was loaded; shutting down; a snapshot; starting;
            // the second half of a migration.
            2 | 3 | 4 | 8 | 9 | 11 | 12 => Self::Busy,
            // Somebody went back to a snapshot of a paused one.
            7 => Self::Told,
            5 => Self::IoError,
            6 => Self::Watchdog,
            10 => Self::Crashed,
            13 | 14 => Self::Failed,
            _ => Self::Unknown,
        }
    }
}

impl Off {
    fn of(reason: u32) -> Self {
        match reason {
            1 => Self::ShutDown,
            2 => Self::Destroyed,
            3 => Self::Crashed,
            4 => Self::Migrated,
            5 => Self::Saved,
            6 => Self::Failed,
            7 => Self::FromSnapshot,
            8 => Self::GivenUp,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t50_four_ways_of_being_off_are_four_things() {
        let off = [1, 3, 5, 6].map(|reason| State::of(5, reason));
        let wanted = [Off::ShutDown, Off::Crashed, Off::Saved, Off::Failed].map(State::Off);
        assert_eq!(off, wanted);
        assert_eq!(State::of(5, 0), State::Off(Off::Unknown));
        assert_eq!(State::of(5, 99), State::Off(Off::Unknown));
    }

    #[test]
    fn t50_a_pause_by_an_io_error_is_told_from_one_that_somebody_asked_for() {
        assert_eq!(State::of(3, 5), State::Paused(Paused::IoError));
        assert_eq!(State::of(3, 1), State::Paused(Paused::Told));
        assert_eq!(State::of(1, 1), State::Running);
        assert_eq!((State::of(6, 1), State::of(99, 0)), (State::Crashed, State::Unknown));
    }
}
