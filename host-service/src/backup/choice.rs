//! Which snapshot comes back: the newest that is complete, or the one that somebody names.

use bedplate_tools::restic::Snapshot;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// A clock may differ from another by so much.
const SLACK: Duration = Duration::days(1);

/// A snapshot that comes back, and what its owner should know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What it lacks, or what is newer.
    pub note: Option<String>,
}

/// No snapshot that may come back by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoChoice {
    /// No snapshot has the id that was asked for.
    #[error("the repository has no snapshot `{0}` of this backup and this host")]
    None(String),
    /// More than one has an id that begins so.
    #[error(
        "more than one snapshot of this backup and this host is called `{id}`: {candidates}; nothing was \
         restored; name one with more of its id"
    )]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// Each, with its time and what it lacks.
        candidates: String,
    },
    /// None that is whole.
    #[error(
        "no snapshot of this backup and this host is complete: the newest, {newest}, is of a run that \
         could not read everything, or that was cut off; `bedplate-host backup list` shows all; name \
         one (`--snapshot`, or `snapshot` in `[restore]`) to have back what is in it"
    )]
    Incomplete {
        /// restic's id and its time.
        newest: String,
    },
}

/// Chooses among `found`, oldest first: the one that `id` names, or the newest complete one.
pub fn choose(found: &[Snapshot], id: Option<&str>) -> Result<Choice, NoChoice> {
    let Some(id) = id else { return newest(found, OffsetDateTime::now_utc()) };
    let called = called(found, id);
    let of_one = called.iter().all(|one| root(one) == called.first().map_or("", |one| root(one)));
    if !of_one {
        let candidates: Vec<String> = called.iter().map(|one| candidate(one, id)).collect();
        let candidates = candidates.join(", ");
        return Err(NoChoice::Ambiguous { id: id.to_owned(), candidates });
    }
    let snapshot = called.iter().find(|one| one.is_complete()).or(called.first());
    let snapshot = Snapshot::clone(snapshot.ok_or_else(|| NoChoice::None(id.to_owned()))?);
    let lacks =
        "is of a run that could not read everything, or that was cut off: it lacks something";
    let note =
        (!snapshot.is_complete()).then(|| format!("the snapshot {} {lacks}", named(&snapshot)));
    Ok(Choice { snapshot, note })
}

/// All that `id` may mean, the newest first: one with just this id, or all with one that begins so.
fn called<'a>(found: &'a [Snapshot], id: &str) -> Vec<&'a Snapshot> {
    let is_it = |one: &&Snapshot| one.id == id || one.original.as_deref() == Some(id);
    let exact: Vec<_> = found.iter().rev().filter(is_it).collect();
    if !exact.is_empty() {
        return exact;
    }
    found.iter().rev().filter(|one| one.is_called(id)).collect()
}

/// The id that a snapshot was first stored by: one whose mark went has another since, and is the same.
fn root(snapshot: &Snapshot) -> &str {
    snapshot.original.as_deref().unwrap_or(&snapshot.id)
}

/// One of those that `id` may mean, with enough of its own id to be told from the others.
fn candidate(snapshot: &Snapshot, id: &str) -> String {
    // It may be called by the id that it had first.
    let own = if snapshot.id.starts_with(id) { &snapshot.id } else { root(snapshot) };
    let more: String = own.chars().take(id.len().max(4) + 8).collect();
    let mark = if snapshot.is_complete() { "" } else { " (incomplete)" };
    format!("{more} of {}{mark}", time(&snapshot.time))
}

/// Which one is the newest only their times say.
fn newest(found: &[Snapshot], now: OffsetDateTime) -> Result<Choice, NoChoice> {
    let last = found.last().ok_or_else(|| NoChoice::None("latest".into()))?;
    let complete = found.iter().rev().find(|one| one.is_complete());
    let snapshot = complete.ok_or_else(|| NoChoice::Incomplete { newest: named(last) })?.clone();
    let is_to_come = OffsetDateTime::parse(&snapshot.time, &Rfc3339)
        .is_ok_and(|time| time > now.saturating_add(SLACK));
    let to_come = is_to_come.then(|| {
        format!(
            "the newest complete snapshot, {}, is of a time to come: the clock is off, or was when it was \
             made, and then another one may be newer (`bedplate-host backup list`)",
            named(&snapshot)
        )
    });
    let note = (!last.is_complete()).then(|| {
        format!(
            "the newest snapshot, {}, is of a run that could not read everything, or that was cut off; \
             the newest complete one is {}, and that is used",
            named(last),
            named(&snapshot)
        )
    });
    let notes: Vec<String> = note.into_iter().chain(to_come).collect();
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(Choice { snapshot, note })
}

fn named(snapshot: &Snapshot) -> String {
    format!("{} of {}", short(&snapshot.id), time(&snapshot.time))
}

/// As much of an id as restic shows.
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// A time to the second.
pub fn time(text: &str) -> String {
    text.chars().take(19).collect()
}

#[cfg(test)]
mod tests {
    use bedplate_tools::restic::INCOMPLETE;

    use super::*;

    fn snapshot(id: &str, is_complete: bool) -> Snapshot {
        let mark = (!is_complete).then(|| INCOMPLETE.to_owned());
        Snapshot {
            id: id.into(),
            time: format!("2000-11-0{}T03:00:00Z", id.len()),
            hostname: "hv".into(),
            paths: Vec::new(),
            summary: None,
            tags: ["bedplate-apps".to_owned()].into_iter().chain(mark).collect(),
            original: None,
        }
    }

    #[test]
    fn t48_the_newest_complete_snapshot_is_taken_and_the_newer_one_is_told_of() {
        let found = [snapshot("a", true), snapshot("bb", true), snapshot("ccc", false)];
        let chosen = choose(&found, None).unwrap();
        assert_eq!(chosen.snapshot.id, "bb");
        let note = chosen.note.unwrap();
        assert!(note.contains("ccc of 2000-11-03T03:00:00") && note.contains("bb of"), "{note}");
        let whole = choose(&found[..2], None).unwrap();
        assert_eq!((whole.snapshot.id.as_str(), whole.note), ("bb", None));
    }

    #[test]
    fn f9_a_snapshot_of_a_time_to_come_does_not_pass_for_the_newest_without_a_word() {
        let found = [snapshot("a", true), snapshot("bb", true)];
        let at = |time: &str| {
            let now = OffsetDateTime::parse(time, &Rfc3339).unwrap();
            newest(&found, now).unwrap().note
        };
        assert_eq!(at("2000-11-02T03:00:00Z"), None);
        assert_eq!(
            at("2000-11-01T12:00:00Z"),
            None,
            "another zone, or a clock that is a little off"
        );
        let told = at("1970-01-01T00:10:00Z").unwrap();
        assert!(told.contains("bb of 2000-11-02") && told.contains("clock is off"), "{told}");
    }

    #[test]
    fn t48_an_incomplete_snapshot_is_taken_when_it_is_named_and_says_so() {
        let found = [snapshot("a", true), snapshot("ccc", false)];
        let chosen = choose(&found, Some("cc")).unwrap();
        assert_eq!(chosen.snapshot.id, "ccc");
        assert!(chosen.note.unwrap().contains("lacks something"));
        assert_eq!(choose(&found, Some("a")).unwrap().note, None);
        let none = choose(&found[1..], None).unwrap_err();
        let NoChoice::Incomplete { newest } = &none else { panic!("{none:?}") };
        assert!(newest.starts_with("ccc of "), "{newest}");
        for unknown in ["x", ""] {
            assert!(matches!(choose(&found, Some(unknown)), Err(NoChoice::None(_))));
        }
        assert_eq!(choose(&[], None), Err(NoChoice::None("latest".into())));
    }

    #[test]
    fn an_id_that_fits_more_than_one_snapshot_is_refused_with_all_of_them() {
        let first =
            Snapshot { time: "2000-11-01T03:00:00Z".into(), ..snapshot("4bba301e11", true) };
        let second = Snapshot { time: "2000-11-02T03:00:00Z".into(), ..snapshot("4bba77", false) };
        let other = Snapshot { time: "2000-11-03T03:00:00Z".into(), ..snapshot("4c", true) };
        let found = [first, second, other];
        let error = choose(&found, Some("4bba")).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, NoChoice::Ambiguous { .. }), "{text}");
        let both = "4bba77 of 2000-11-02T03:00:00 (incomplete), 4bba301e11 of 2000-11-01T03:00:00";
        assert!(text.contains(both) && !text.contains("4c of"), "{text}");
        for (id, wanted) in [("4bba3", 0), ("4bba77", 1), ("4c", 2)] {
            assert_eq!(choose(&found, Some(id)).unwrap().snapshot, found[wanted], "{id}");
        }
        // Named in full, one is meant, although the id of another begins so.
        let longer = [snapshot("4bba", true), snapshot("4bba301e11", true)];
        assert_eq!(choose(&longer, Some("4bba")).unwrap().snapshot.id, "4bba");
        // By the id that it had first, it is the same and no second one.
        let anew = Snapshot { original: Some("4bba77".into()), ..snapshot("dddd", true) };
        let found = [found[1].clone(), anew];
        assert_eq!(choose(&found, Some("4bba7")).unwrap().snapshot.id, "dddd");
    }

    #[test]
    fn t48_of_one_that_could_not_be_removed_when_its_mark_went_the_complete_one_is_taken() {
        let anew = Snapshot { original: Some("ccc".into()), ..snapshot("dddd", true) };
        let found = [snapshot("ccc", false), anew, snapshot("eeeee", false)];
        assert_eq!(choose(&found, Some("ccc")).unwrap().snapshot.id, "dddd");
    }
}
