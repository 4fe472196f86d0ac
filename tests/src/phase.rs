//! The phases of the way from a checkout to a running hypervisor.

use std::time::Duration;

/// A phase of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// cargo compiles what goes onto the medium and what runs the demo.
    Build,
    /// Debian packages and programs become an ISO.
    Medium,
    /// The medium installs the machine.
    Install,
    /// The machine boots without the medium, until root can log in.
    Boot,
    /// The host service makes the machine as `host.toml` says, and the VM in it reports.
    HandOff,
    /// The machine is asked what it is.
    Claims,
}

/// Every phase, in order.
pub const ALL: [Phase; 6] =
    [Phase::Build, Phase::Medium, Phase::Install, Phase::Boot, Phase::HandOff, Phase::Claims];

impl Phase {
    /// Its name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Medium => "medium",
            Self::Install => "install",
            Self::Boot => "boot",
            Self::HandOff => "hand-off",
            Self::Claims => "claims",
        }
    }

    /// How long it took, without KVM and with nothing in the caches, on the machine that the limits
    /// of the harness are written on.
    pub fn expected(self) -> Duration {
        Duration::from_secs(match self {
            Self::Build => 150,
            Self::Medium => 100,
            Self::Install => 100,
            Self::Boot => 60,
            Self::HandOff => 150,
            Self::Claims => 60,
        })
    }
}
