//! How things stand, compared with `host.toml`.

use serde::Serialize;

/// One resource compared with the intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// `pool`, `disk`, `esp`, `hand-off`, `secret`, `bridge`, `export`, `firewall`, `vm`, `lab`, `snapshot`, `backup`,
    /// `restore` or `notify`.
    pub kind: &'static str,
    /// Name in `host.toml`; none when the whole kind could not be looked at.
    pub name: Option<String>,
    /// Whether it is as intended.
    pub agrees: bool,
    /// What `host.toml` wants, in a line.
    pub intent: Option<String>,
    /// What was found, in a line.
    pub reality: Option<String>,
    /// What converge would do.
    pub actions: Vec<String>,
    /// Why converge would do nothing although it is not as intended.
    pub refused: Option<String>,
    /// What its owner should know.
    pub notes: Vec<String>,
    /// What a person has to see to, because converge cannot.
    pub wants: Vec<String>,
}

/// How far something is from the intent, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Not at all.
    Agrees,
    /// Converge would change it.
    Differs,
    /// Converge does nothing about it: it is refused, could not be looked at, or wants a person.
    Stuck,
}

impl Standing {
    /// The exit code of `plan` and `status`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Agrees => 0,
            Self::Differs => 3,
            Self::Stuck => 4,
        }
    }
}

impl Status {
    /// Something that could not be looked at.
    pub fn unseen(kind: &'static str, name: Option<String>, why: String) -> Self {
        Self {
            kind,
            name,
            agrees: false,
            intent: None,
            reality: None,
            actions: Vec::new(),
            refused: Some(why),
            notes: Vec::new(),
            wants: Vec::new(),
        }
    }

    /// Whether something is to be done, or nothing may be. What a person has to see to is neither.
    pub fn is_undone(&self) -> bool {
        self.refused.is_some() || !self.actions.is_empty()
    }

    /// How far it is from the intent.
    pub fn standing(&self) -> Standing {
        match (self.agrees, &self.refused) {
            (true, _) => Standing::Agrees,
            (false, None) if !self.actions.is_empty() => Standing::Differs,
            (false, _) => Standing::Stuck,
        }
    }
}

/// How far the worst of them is from the intent.
pub fn standing(status: &[Status]) -> Standing {
    status.iter().map(Status::standing).max().unwrap_or(Standing::Agrees)
}
