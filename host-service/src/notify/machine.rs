//! Who is told what and when: what was told before, what is found now, and the time, make what is to be
//! told. Pure: it reads no clock and sends nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// More messages than this wait for no address; the oldest go.
const MOST_WAITING: usize = 100;

/// Something that is looked at as a whole. What was not looked at is neither worse nor better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// Pools and their members.
    Pools,
    /// EFI system partitions.
    Boot,
    /// Age of backups.
    Backups,
    /// Units of systemd.
    Units,
    /// What differs from host.toml.
    Drift,
    /// What stopped guests, or wants their owner.
    Guests,
    /// Machines that a backup left held.
    Machines,
    /// Health of disks.
    Disks,
    /// What could not be looked at.
    Looks,
}

impl Area {
    /// In the names of conditions.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pools => "pool",
            Self::Boot => "esp",
            Self::Backups => "backup",
            Self::Units => "unit",
            Self::Drift => "drift",
            Self::Guests => "guest",
            Self::Machines => "machine",
            Self::Disks => "disk",
            Self::Looks => "look",
        }
    }
}

/// Something that wants somebody, for as long as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Where it is looked for.
    pub area: Area,
    /// What makes it this one: `vmstore` of the pools.
    pub name: String,
    /// What makes it another one of the same name, which is told anew.
    pub kind: String,
    /// One line.
    pub title: String,
    /// One line for when it is found no longer.
    pub cleared: String,
    /// All there is to say.
    pub text: String,
    /// Whether somebody should come.
    pub urgent: bool,
    /// How long it must have been found before anybody is told, in seconds.
    pub patience: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// What was looked at.
    pub areas: BTreeSet<Area>,
    /// What was found there.
    pub conditions: Vec<Condition>,
    /// What there is to say of what is well, for whoever is told that it is again.
    pub well: Vec<(Area, String, String)>,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Which condition it is about: area and name.
    pub condition: String,
    /// What became of it.
    pub event: Event,
    /// One line.
    pub title: String,
    /// All of it.
    pub text: String,
    /// Whether somebody should come.
    pub urgent: bool,
    /// When it was found, seconds since 1970.
    pub at: u64,
}

/// What became of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It is new, or has become another.
    Raised,
    /// It lasts.
    Reminder,
    /// It is over.
    Cleared,
    /// Somebody wanted to know whether messages arrive.
    Test,
}

/// What is known of the past.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Conditions that were found, by area and name.
    pub standing: BTreeMap<String, Standing>,
    /// Messages that have not arrived yet, oldest first.
    pub waiting: Vec<Waiting>,
    /// How many went because too many waited, by address.
    pub dropped: BTreeMap<String, u64>,
}

/// A condition that was found the last time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    area: Area,
    kind: String,
    cleared: String,
    since: u64,
    told: Option<u64>,
}

/// A message that has not arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// For whom.
    pub channel: String,
    /// What is to be told.
    pub message: Message,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it did not arrive.
    pub failure: Option<String>,
}

/// What does not change from one look to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting<'a> {
    /// Name of the machine.
    pub machine: &'a str,
    /// Names of all addresses.
    pub channels: &'a [String],
    /// Seconds after which a condition that lasts is told again.
    pub remind: Option<u64>,
}

impl State {
    /// What is known after `found` was found at `now`; messages are left waiting.
    #[must_use]
    pub fn after(mut self, found: &Observation, now: u64, setting: Setting<'_>) -> Self {
        let mut messages = Vec::new();
        for condition in &found.conditions {
            let key = key(condition.area, &condition.name);
            let before = self.standing.remove(&key);
            let (standing, event) = judge(before, condition, now, setting.remind);
            if let Some(event) = event {
                messages.push(message(&key, condition, event, now, setting.machine));
            }
            self.standing.insert(key, standing);
        }
        messages.extend(self.clear(found, now, setting.machine));
        self.waiting.retain(|waiting| setting.channels.contains(&waiting.channel));
        self.dropped.retain(|channel, _| setting.channels.contains(channel));
        for message in messages {
            for channel in setting.channels {
                self.put(channel, message.clone());
            }
        }
        self
    }

    /// Conditions of what was looked at that were not found any more.
    fn clear(&mut self, found: &Observation, now: u64, machine: &str) -> Vec<Message> {
        let keys: BTreeSet<String> =
            found.conditions.iter().map(|one| key(one.area, &one.name)).collect();
        let gone = |key: &String, standing: &Standing| {
            found.areas.contains(&standing.area) && !keys.contains(key)
        };
        let (over, left) = std::mem::take(&mut self.standing)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(key, standing)| gone(key, standing));
        self.standing = left;
        let told = over.into_iter().filter(|(_, standing)| standing.told.is_some());
        let text = |condition: &str| {
            let of = found.well.iter().find(|(area, name, _)| key(*area, name) == condition);
            of.map(|(.., text)| text.clone())
        };
        told.map(|(condition, standing)| Message {
            event: Event::Cleared,
            title: format!("{machine}: {}", standing.cleared),
            text: text(&condition).unwrap_or(standing.cleared),
            condition,
            urgent: false,
            at: now,
        })
        .collect()
    }

    fn put(&mut self, channel: &str, message: Message) {
        let same =
            |one: &Waiting| one.channel == channel && one.message.condition == message.condition;
        // It lasts, and has not even been told yet.
        if message.event == Event::Reminder && self.waiting.iter().any(same) {
            return;
        }
        let channel = channel.to_owned();
        let count = self.waiting.iter().filter(|one| one.channel == channel).count();
        if count >= MOST_WAITING {
            let oldest = self.waiting.iter().position(|one| one.channel == channel);
            if let Some(oldest) = oldest {
                self.waiting.remove(oldest);
                *self.dropped.entry(channel.clone()).or_default() += 1;
            }
        }
        self.waiting.push(Waiting { channel, message, attempts: 0, failure: None });
    }
}

fn key(area: Area, name: &str) -> String {
    format!("{} {name}", area.label())
}

/// What is known of a condition that is found, and what is to be told of it.
fn judge(
    before: Option<Standing>,
    condition: &Condition,
    now: u64,
    remind: Option<u64>,
) -> (Standing, Option<Event>) {
    let fresh = || Standing {
        area: condition.area,
        kind: condition.kind.clone(),
        cleared: condition.cleared.clone(),
        since: now,
        told: None,
    };
    let before = before.unwrap_or_else(fresh);
    // A clock that went back begins anew: nothing is late by it.
    let since = before.since.min(now);
    let told = before.told.map(|told| told.min(now));
    let is_due = |told: u64| remind.is_some_and(|remind| now - told >= remind);
    let event = match told {
        None if now - since >= condition.patience => Some(Event::Raised),
        None => None,
        Some(_) if before.kind != condition.kind => Some(Event::Raised),
        Some(told) if is_due(told) => Some(Event::Reminder),
        Some(_) => None,
    };
    let told = if event.is_some() { Some(now) } else { told };
    (Standing { since, told, ..fresh() }, event)
}

fn message(key: &str, found: &Condition, event: Event, now: u64, machine: &str) -> Message {
    let still = if event == Event::Reminder { "still: " } else { "" };
    Message {
        condition: key.to_owned(),
        event,
        title: format!("{machine}: {still}{}", found.title),
        text: found.text.clone(),
        urgent: found.urgent,
        at: now,
    }
}

#[cfg(test)]
mod tests;
