//! Who is told.

use serde::{Deserialize, Serialize};

use super::SecretReference;

/// Section `[notify]` of `host.toml`: where messages go, and how often they are repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Address that messages are posted to.
    pub url: Option<String>,
    /// What the address takes.
    #[serde(default, skip_serializing_if = "Receiver::is_ntfy")]
    pub receiver: Receiver,
    /// Where the token stands that the address wants.
    pub token: Option<SecretReference>,
    /// Address that mail is sent to, through the machine's `sendmail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
    /// Hours after which a condition that lasts is told again; none for never.
    #[serde(default = "a_day", skip_serializing_if = "is_a_day")]
    pub remind_hours: Option<u32>,
    /// Address that is fetched whenever all is looked at: whoever is there notices silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping: Option<String>,
}

/// What a document that says nothing gets as `notify.remind_hours`.
pub const REMIND_HOURS: u32 = 24;

#[allow(clippy::unnecessary_wraps, reason = "the default of a field that is optional")]
fn a_day() -> Option<u32> {
    Some(REMIND_HOURS)
}

fn is_a_day(hours: &Option<u32>) -> bool {
    *hours == a_day()
}

/// What the address of `[notify]` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receiver {
    /// Text with ntfy's headers `Title`, `Priority` and `Tags`.
    #[default]
    Ntfy,
    /// A JSON object.
    Webhook,
}

impl Receiver {
    /// Whether it is what a document that says nothing gets.
    pub fn is_ntfy(&self) -> bool {
        *self == Self::Ntfy
    }
}
