//! What is noted of a machine that is held, before it is: whoever comes next lets it go.

use std::path::Path;

use bedplate_tools::atomic::{self, WriteError};

/// What is noted of a machine: `frozen 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note {
    /// How it is held.
    pub how: How,
    /// libvirt's number of it; none in a note of an earlier version.
    pub id: Option<u32>,
}

/// How a machine is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// By its agent.
    Frozen,
    /// By libvirt.
    Paused,
    /// By libvirt, and perhaps by its agent, which did not answer in time.
    Late,
    /// By libvirt, now or later: it did not answer in time.
    Pausing,
}

impl How {
    const ALL: [Self; 4] = [Self::Frozen, Self::Paused, Self::Late, Self::Pausing];

    fn word(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Paused => "paused",
            Self::Late => "late",
            Self::Pausing => "pausing",
        }
    }
}

impl Note {
    /// From the content of its file; what is not understood is taken for frozen.
    pub fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let how = How::ALL.into_iter().find(|how| words.clone().next() == Some(how.word()));
        let how = how.unwrap_or(How::Frozen);
        words.next();
        Self { how, id: words.next().and_then(|id| id.parse().ok()) }
    }

    /// Writes it to its file.
    pub fn write(self, path: &Path) -> Result<(), WriteError> {
        let how = self.how.word();
        let id = self.id.map(|id| format!(" {id}")).unwrap_or_default();
        atomic::write(path, &format!("{how}{id}\n"), 0o600)
    }
}
