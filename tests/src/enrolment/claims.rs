//! What is claimed of an enrolled machine, and how each claim is judged. Pure: evidence in, verdict
//! out. Whatever was not seen does not hold.

use super::machine::{AGE_SECRET, READERS, REMOTE, SOPS_SECRET};
use crate::claims::{Judgement, Statement, Verdict};
use crate::evidence::Evidence;

/// A claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// The installation ended with a power-off.
    PoweredOff,
    /// The secret of the age file.
    AgeSecret,
    /// The secret of the sops file.
    SopsSecret,
    /// T26: the ssh key.
    HostKey,
    /// The owner's history and one commit more.
    OneCommit,
    /// Nothing is left to commit.
    Clean,
    /// `origin` of the clone on the machine is `[flake].remote` of `host.toml`.
    Origin,
    /// The bundle of the key stick.
    Fetched,
    /// The medium started once more.
    Again,
    /// T19: files on disk.
    Disk,
    /// T19: processes and the kernel.
    Processes,
    /// T19: journal, consoles, events.
    Told,
    /// T19: the key stick.
    Stick,
    /// T20: ESP and initrd.
    Boot,
    /// T24: no answers and no keys are left behind.
    NothingLeft,
    /// T26: the machine-id.
    Identity,
    /// No unit failed.
    Units,
}

/// Every claim, in the order of the table.
pub const ALL: [Claim; 17] = [
    Claim::PoweredOff,
    Claim::AgeSecret,
    Claim::SopsSecret,
    Claim::HostKey,
    Claim::OneCommit,
    Claim::Clean,
    Claim::Origin,
    Claim::Fetched,
    Claim::Again,
    Claim::Disk,
    Claim::Processes,
    Claim::Told,
    Claim::Stick,
    Claim::Boot,
    Claim::NothingLeft,
    Claim::Identity,
    Claim::Units,
];

impl Statement for Claim {
    fn sentence(self) -> &'static str {
        match self {
            Self::PoweredOff => "the installation ended with a power-off",
            Self::AgeSecret => "the secret of the age file is in memory, for root alone",
            Self::SopsSecret => "the secret of the sops file is in memory, for its readers",
            Self::HostKey => "T26 the ssh key is the one that was prepared, for root alone",
            Self::OneCommit => "the owner's history has one commit more, by the host",
            Self::Clean => "the work tree is clean",
            Self::Origin => "origin is the remote of host.toml",
            Self::Fetched => "the host's commit was fetched from the key stick",
            Self::Again => "the medium started again changes nothing",
            Self::Disk => "T19 no secret is in a file on disk, the store included",
            Self::Processes => "T19 no secret is in argv, environment or kernel command line",
            Self::Told => "T19 no secret is in journal, consoles or events",
            Self::Stick => "T19 no secret of the repository is on the key stick",
            Self::Boot => "T20 no key is on the ESP or in the initrd",
            Self::NothingLeft => "T24 no answers and no keys are left behind",
            Self::Identity => "T26 the machine-id is the machine's own, the store has none",
            Self::Units => "no unit failed",
        }
    }
}

/// What is seen by name; secrets of the story among it, which are nobody's.
pub const EXPECTED: [&str; 4] =
    ["expected.commit", "expected.public-key", "expected.sha256", "expected.secrets"];
/// Texts that were told to somebody.
pub const TOLD: [&str; 5] =
    ["journal", "install.console", "install.events", "host.console", "again.console"];
/// Two secrets, keyfile, recovery passphrase, private ssh key.
const LOOKED_FOR: usize = 5;

/// What was seen; `Err` when the claim does not hold.
type Seen = Result<String, String>;

/// Judges one claim.
pub fn judge(claim: Claim, evidence: &Evidence) -> Verdict<Claim> {
    let judged = match claim {
        Claim::PoweredOff => equal(evidence, "install.end", "guest-shutdown"),
        Claim::AgeSecret => secret(evidence, AGE_SECRET, 0, "root root 400 regular file"),
        Claim::SopsSecret => {
            let (owner, group) = READERS;
            secret(evidence, SOPS_SECRET, 1, &format!("{owner} {group} 440 regular file"))
        }
        Claim::HostKey => host_key(evidence),
        Claim::OneCommit => one_commit(evidence),
        Claim::Clean => empty(evidence, "flake.status", "nothing to commit"),
        Claim::Origin => origin(evidence),
        Claim::Fetched => fetched(evidence),
        Claim::Again => again(evidence),
        Claim::Disk => clean_search(evidence, "leaks.disk", 10_000),
        Claim::Processes => clean_search(evidence, "leaks.processes", 50),
        Claim::Told => told(evidence),
        Claim::Stick => equal(evidence, "stick.secrets", "0 found"),
        Claim::Boot => clean_search(evidence, "leaks.boot", 5),
        Claim::NothingLeft => empty(evidence, "left.answers", "nothing"),
        Claim::Identity => identity(evidence),
        Claim::Units => empty(evidence, "failed-units", "none"),
    };
    let judgement = Judgement::of(&judged);
    let (Ok(seen) | Err(seen)) = judged;
    Verdict { claim, seen, judgement }
}

/// Judges every claim.
pub fn judge_all(evidence: &Evidence) -> Vec<Verdict<Claim>> {
    ALL.into_iter().map(|claim| judge(claim, evidence)).collect()
}

fn verdict(holds: bool, seen: impl Into<String>) -> Seen {
    if holds { Ok(seen.into()) } else { Err(seen.into()) }
}

fn equal(evidence: &Evidence, name: &str, wanted: &str) -> Seen {
    let found = evidence.some_text(name)?;
    verdict(found == wanted, found)
}

fn empty(evidence: &Evidence, name: &str, nothing: &str) -> Seen {
    match evidence.text(name)? {
        "" => Ok(nothing.to_owned()),
        found => Err(found.to_owned()),
    }
}

fn secret(evidence: &Evidence, name: &str, number: usize, access: &str) -> Seen {
    let wanted = evidence.some_text("expected.sha256")?.lines().nth(number).unwrap_or("none");
    let stat = evidence.some_text(&format!("{name}.stat"))?;
    let place = evidence.some_text(&format!("{name}.place"))?;
    let sum = evidence.some_text(&format!("{name}.sha256"))?;
    let same = sum.split(' ').next() == Some(wanted);
    let seen = format!("{stat} on {place}, {} content", if same { "the" } else { "ANOTHER" });
    verdict(same && stat == access && place == "tmpfs", seen)
}

/// Kind and key of a line; comments differ.
fn key_of(line: &str) -> Vec<&str> {
    line.split_whitespace().take(2).collect()
}

fn host_key(evidence: &Evidence) -> Seen {
    let prepared = evidence.some_text("expected.public-key")?;
    let public = evidence.some_text("host-key.public")?;
    let derived = evidence.some_text("host-key.derived")?;
    let stat = evidence.some_text("host-key.stat")?;
    let same = key_of(public) == key_of(prepared) && key_of(derived) == key_of(prepared);
    verdict(
        same && stat == "root root 600 regular file",
        format!("{stat}, {}", if same { "the prepared key" } else { "ANOTHER key" }),
    )
}

fn one_commit(evidence: &Evidence) -> Seen {
    let (base, log) = (evidence.some_text("expected.commit")?, evidence.some_text("flake.log")?);
    let mut lines = log.lines().filter_map(|line| line.split_once(' '));
    let newest = lines.next().map(|(_, author)| author);
    let before = lines.next().map(|(commit, _)| commit);
    verdict(
        newest == Some("bedplate@attic") && before == Some(base),
        format!("{} on {}", newest.unwrap_or("nobody"), before.unwrap_or("nothing")),
    )
}

fn origin(evidence: &Evidence) -> Seen {
    let remotes = evidence.some_text("flake.remotes")?;
    let wanted = [format!("origin\t{REMOTE} (fetch)"), format!("origin\t{REMOTE} (push)")];
    verdict(remotes.lines().eq(wanted), remotes.lines().next().unwrap_or_default())
}

fn fetched(evidence: &Evidence) -> Seen {
    let head = evidence.some_text("flake.head")?;
    let (fetched, parent) =
        (evidence.some_text("fetched.commit")?, evidence.some_text("fetched.parent")?);
    let base = evidence.some_text("expected.commit")?;
    verdict(fetched == head && parent == base, fetched)
}

fn again(evidence: &Evidence) -> Seen {
    let end = evidence.some_text("again.end")?;
    let same = [("flake.head", "again.head"), ("stick.bundle", "again.bundle")];
    for (before, after) in same {
        if evidence.some_text(before)? != evidence.some_text(after)? {
            return Err(format!("{after} differs from {before}"));
        }
    }
    empty(evidence, "again.status", "")?;
    verdict(end == "guest-reset", format!("{end}, the same commit and bundle"))
}

/// A search that looked for everything in at least so many files, and found nothing.
fn clean_search(evidence: &Evidence, name: &str, least: usize) -> Seen {
    let text = evidence.some_text(name)?;
    if let Some(found) = text.lines().find(|line| line.starts_with("FOUND ")) {
        return Err(found.to_owned());
    }
    let last = text.lines().last().unwrap_or_default();
    let numbers: Vec<usize> = last.split(' ').filter_map(|word| word.parse().ok()).collect();
    let enough = matches!(numbers[..], [needles, files] if needles == LOOKED_FOR && files >= least);
    verdict(enough, last)
}

fn told(evidence: &Evidence) -> Seen {
    let secrets = evidence.some_text("expected.secrets")?;
    let mut length = 0;
    for name in TOLD {
        let text = evidence.some_text(name)?;
        if secrets.lines().any(|secret| text.contains(secret)) {
            return Err(format!("a secret stands in `{name}`"));
        }
        length += text.len();
    }
    // A console that shows nothing else shows at least these.
    verdict(secrets.lines().count() >= LOOKED_FOR - 1, format!("nothing in {length} bytes"))
}

fn identity(evidence: &Evidence) -> Seen {
    let id = evidence.some_text("machine-id")?;
    let own = id.len() == 32
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        && id.bytes().any(|byte| byte != b'0');
    empty(evidence, "tree.identity", "")?;
    verdict(own, id)
}
