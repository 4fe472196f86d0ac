use std::collections::{BTreeMap, BTreeSet};

use std::fmt::Debug;
use std::str::FromStr;

use bedplate_model::name::Role;

use super::*;

mod lives;

fn fresh(id: &str) -> Fresh {
    Fresh { id: id.to_owned(), now: 1, host: "h".to_owned() }
}

fn name<N: FromStr<Err: Debug>>(text: &str) -> N {
    text.parse().unwrap()
}

fn names<N: FromStr<Err: Debug> + Ord>(all: &[&str]) -> BTreeSet<N> {
    all.iter().map(|one| name(one)).collect()
}

fn mark(line: &[&str], members: &[&str]) -> Mark {
    Mark {
        line: line.iter().map(|era| (*era).to_owned()).collect(),
        members: names(members),
        target: None,
        joining: None,
        since: 1,
        host: "h".into(),
    }
}

fn one(uuid: &str, mark: Option<Mark>, generation: u64) -> Seen {
    Seen { uuid: uuid.to_owned(), mark, generation, devices: 2, standing: Standing::Member }
}

/// Roles are the UUIDs in lower case.
fn seen(all: &[Seen]) -> BTreeMap<Role, Seen> {
    all.iter().map(|one| (name(&one.uuid.to_lowercase()), one.clone())).collect()
}

fn kept(mark: Option<Mark>) -> Kept {
    Kept { known: true, mark, ..Kept::default() }
}

fn decide(all: &[Seen], kept: &Kept) -> Decision {
    judge(&seen(all), kept, &Word::None, &fresh("new"))
}

#[track_caller]
fn opened(decision: Decision) -> Opening {
    match decision {
        Decision::Open(opening) => opening,
        Decision::Refused(refusal) => panic!("{refusal:?}"),
    }
}

#[track_caller]
fn refused(decision: Decision) -> Refusal {
    match decision {
        Decision::Refused(refusal) => refusal,
        Decision::Open(opening) => panic!("{opening:?}"),
    }
}

#[test]
fn t44_a_boot_without_a_member_is_marked_on_the_other_and_that_one_alone_is_refused() {
    let whole = mark(&["e0"], &["A", "B"]);
    let alone = opened(decide(&[one("A", Some(whole.clone()), 9)], &kept(Some(whole.clone()))));
    assert_eq!((alone.lost, &alone.current), (1, &names(&["a"])));
    assert_eq!(alone.mark, mark(&["e0", "new"], &["A"]));

    // (ii): B alone, by a record that knows it, and by one that does not.
    let old = || one("B", Some(whole.clone()), 9);
    let refusal = refused(decide(&[old()], &kept(Some(alone.mark.clone()))));
    assert_eq!(
        refusal,
        Refusal::Behind { present: names(&["b"]), newest: Some(Box::new(alone.mark.clone())) }
    );
    let refusal = refused(decide(&[old()], &Kept::default()));
    assert_eq!(refusal, Refusal::NoProof { present: names(&["b"]) });

    // (iii): both, whatever the record says.
    for record in [Kept::default(), kept(Some(whole.clone())), kept(Some(alone.mark.clone()))] {
        let both = [one("A", Some(alone.mark.clone()), 12), old()];
        let both = opened(decide(&both, &record));
        assert_eq!((both.current, both.behind), (names(&["a"]), names(&["b"])));
        assert_eq!(both.mark, alone.mark, "no new era begins at each boot");
    }
}

#[test]
fn t44_what_each_wrote_without_the_other_is_refused_and_one_is_kept_by_name() {
    let (a, b) = (mark(&["e0", "ea"], &["A"]), mark(&["e0", "eb"], &["B"]));
    let both = [one("A", Some(a.clone()), 50), one("B", Some(b.clone()), 60)];
    for record in [Kept::default(), kept(Some(a.clone())), kept(Some(b.clone()))] {
        let Refusal::TwoHistories { sides } = refused(decide(&both, &record)) else {
            panic!("taken for one history")
        };
        let roles: Vec<_> = sides.iter().map(|side| side.roles.clone()).collect();
        assert!(roles.contains(&names(&["a"])) && roles.contains(&names(&["b"])), "{roles:?}");
    }
    let word = Word::Keep(name("a"));
    let opening = opened(judge(&seen(&both), &kept(Some(b.clone())), &word, &fresh("new")));
    assert_eq!((&opening.current, &opening.behind), (&names(&["a"]), &names(&["b"])));
    assert_eq!(opening.mark.line, ["eb", "e0", "ea", "new"]);
    // From now on the other one is behind, and not a history of its own.
    assert!(b.precedes(&opening.mark));
    // The history on the other side is not given up when its disk is not here.
    let word = Word::GiveUpNewer;
    let opening = opened(judge(&seen(&both[..1]), &kept(Some(b.clone())), &word, &fresh("new")));
    assert!(!b.precedes(&opening.mark), "{:?}", opening.mark);
}

#[test]
fn t44_a_member_that_dropped_out_unnoticed_is_behind() {
    let whole = mark(&["e0"], &["A", "B"]);
    let both = [one("A", Some(whole.clone()), 90), one("B", Some(whole.clone()), 40)];
    for record in [Kept::default(), kept(Some(whole.clone()))] {
        let opening = opened(decide(&both, &record));
        assert_eq!((opening.current, opening.behind), (names(&["a"]), names(&["b"])));
        assert_eq!(opening.mark.members, names(&["A"]));
    }
    // Alone it is told by what the record has seen.
    let record = Kept { generation: 80, ..kept(Some(whole.clone())) };
    assert!(matches!(refused(decide(&both[1..], &record)), Refusal::Behind { .. }));
}

#[test]
fn t44_a_member_that_lacks_one_transaction_is_behind() {
    // As a rescue system leaves it that mounts one of them, writes for a while and unmounts it.
    let whole = mark(&["e0"], &["A", "B"]);
    let both = [one("A", Some(whole.clone()), 90), one("B", Some(whole.clone()), 89)];
    for record in [Kept::default(), kept(Some(whole.clone()))] {
        let opening = opened(decide(&both, &record));
        assert_eq!((opening.current, opening.behind), (names(&["a"]), names(&["b"])));
        assert_eq!(opening.mark.members, names(&["A"]));
    }
    // Of before there were marks.
    let unmarked = [one("A", None, 90), one("B", None, 89)];
    assert!(matches!(refused(decide(&unmarked, &Kept::default())), Refusal::TwoHistories { .. }));
    assert_eq!(opened(decide(&unmarked, &kept(None))).behind, names(&["b"]));
    // One whose header was put back, and that has one transaction more, is never written over.
    let later = [one("A", None, 90), one("B", Some(mark(&["e0", "e1"], &["A", "B"])), 89)];
    assert!(matches!(refused(decide(&later, &Kept::default())), Refusal::TwoHistories { .. }));
}

#[test]
fn f10_a_power_cut_between_superblocks_leaves_out_no_more_than_raid1_bears() {
    let whole = mark(&["e0"], &["A", "B", "C"]);
    let three =
        |uuid: &str, generation| Seen { devices: 3, ..one(uuid, Some(whole.clone()), generation) };
    // Nothing can have been written without two of three.
    let cut = [three("A", 90), three("B", 89), three("C", 89)];
    let opening = opened(decide(&cut, &kept(Some(whole.clone()))));
    assert_eq!((opening.current, opening.lost), (names(&["a", "b", "c"]), 0));
    assert!(opening.doubtful.is_empty() && opening.mark == whole);
    // One of them is behind by more, so it is the one that was away.
    let cut = [three("A", 90), three("B", 89), three("C", 40)];
    let opening = opened(decide(&cut, &kept(Some(whole.clone()))));
    assert_eq!((opening.current, opening.behind), (names(&["a", "b"]), names(&["c"])));
    assert!(opening.doubtful.is_empty());
    // One is not here: it may have been there instead of the one that lags.
    let opening = opened(decide(&cut[..2], &kept(Some(whole.clone()))));
    assert_eq!((&opening.current, &opening.doubtful), (&names(&["a", "b"]), &names(&["b"])));
    // More than one transaction is never bridged.
    let apart = [three("A", 90), three("B", 88)];
    let decision = decide(&apart, &kept(Some(whole)));
    assert!(matches!(refused(decision), Refusal::TooFew { lost: 2, .. }));
}

#[test]
fn t44_of_before_there_were_marks_the_record_says_who_was_there() {
    let legacy = |away: &[&str], stale: &[&str]| Kept {
        known: true,
        away: names(away),
        stale: names(stale),
        ..Kept::default()
    };
    let (a, b) = (one("A", None, 9), one("B", None, 9));
    // Whole, with and without a record: the first mark is made.
    for record in [Kept::default(), legacy(&[], &[])] {
        let opening = opened(decide(&[a.clone(), b.clone()], &record));
        assert_eq!(opening.mark, mark(&["new"], &["A", "B"]));
    }
    // A healthy machine that was updated and then loses a disk boots.
    assert_eq!(opened(decide(std::slice::from_ref(&a), &legacy(&[], &[]))).lost, 1);
    assert_eq!(opened(decide(std::slice::from_ref(&a), &legacy(&["b"], &[]))).lost, 1);
    // Without any record nothing proves that the one that is missing was not mounted alone.
    let none = decide(std::slice::from_ref(&a), &Kept::default());
    assert!(matches!(refused(none), Refusal::NoProof { .. }));
    // One that was away is never mounted alone, and with the other it is behind.
    let alone = decide(std::slice::from_ref(&b), &legacy(&["b"], &[]));
    assert!(matches!(refused(alone), Refusal::Behind { .. }));
    let opening = opened(decide(&[a.clone(), b.clone()], &legacy(&["b"], &[])));
    assert_eq!(opening.behind, names(&["b"]));
    let opening = opened(decide(&[a.clone(), b.clone()], &legacy(&[], &["b"])));
    assert_eq!(opening.behind, names(&["b"]));
    // Both were away in turn; and generations that differ without a record say nothing.
    let both = decide(&[a.clone(), b.clone()], &legacy(&["a"], &["b"]));
    assert!(matches!(refused(both), Refusal::TwoHistories { .. }));
    let apart = [one("A", None, 90), one("B", None, 40)];
    assert!(matches!(refused(decide(&apart, &Kept::default())), Refusal::TwoHistories { .. }));
    assert_eq!(opened(decide(&apart, &legacy(&[], &[]))).behind, names(&["b"]));
}

#[test]
fn t44_what_is_being_resynchronised_goes_on_only_when_nothing_was_mounted_without_it() {
    let era = Mark { target: Some("B".into()), ..mark(&["e0", "e1", "e2"], &["A"]) };
    let joining = Mark { joining: Some("e2".into()), ..mark(&["e0"], &["A", "B"]) };
    let half = |standing| Seen { standing, ..one("B", Some(joining.clone()), 9) };
    let with = |standing| {
        opened(decide(&[one("A", Some(era.clone()), 9), half(standing)], &kept(Some(era.clone()))))
    };
    for standing in [Standing::Target, Standing::Member] {
        let opening = with(standing);
        assert_eq!((opening.target.as_deref(), &opening.mark), (Some("b"), &era));
    }
    // Not begun yet: it is begun again, in an era of its own.
    let opening = with(Standing::Hidden);
    assert_eq!((opening.target, opening.mark.target), (None, None));
    assert_eq!(opening.behind, names(&["b"]));

    // Mounted once without it: what it has is no longer the beginning of what there is.
    let alone = opened(decide(&[one("A", Some(era.clone()), 9)], &kept(Some(era.clone()))));
    assert_eq!(alone.mark.line.last().map(String::as_str), Some("new"));
    let later = [one("A", Some(alone.mark.clone()), 12), half(Standing::Target)];
    let later = opened(decide(&later, &kept(Some(alone.mark))));
    assert_eq!((later.target, later.behind), (None, names(&["b"])));

    // Alone it is of no use while it is half written, whatever is said.
    for word in [Word::None, Word::GiveUpNewer, Word::Keep(name("b"))] {
        let only = seen(&[half(Standing::Target)]);
        refused(judge(&only, &kept(Some(era.clone())), &word, &fresh("new")));
    }
    // What was put out of sight and not written to is what it was before.
    let only = seen(&[half(Standing::Hidden)]);
    let opening = opened(judge(&only, &kept(Some(era)), &Word::GiveUpNewer, &fresh("new")));
    assert_eq!(opening.mark.line, ["e0", "new"]);
}

#[test]
fn t44_a_power_cut_while_an_era_begins_loses_no_member() {
    let (before, begun) = (mark(&["e0"], &["A", "B"]), mark(&["e0", "e1"], &["A", "B"]));
    let half = [one("A", Some(begun.clone()), 9), one("B", Some(before), 9)];
    for record in [Kept::default(), kept(Some(begun.clone()))] {
        let opening = opened(decide(&half, &record));
        assert_eq!((opening.current, opening.mark), (names(&["a", "b"]), begun.clone()));
    }
    // The first of all: one has no mark yet.
    let first = [one("A", Some(mark(&["e0"], &["A", "B"])), 9), one("B", None, 9)];
    assert_eq!(opened(decide(&first, &Kept::default())).current, names(&["a", "b"]));
}

#[test]
fn t44_marks_are_bounded_and_what_is_no_mark_is_none() {
    let mut line: Vec<String> = Vec::new();
    for era in 0..500 {
        line = fresh(&era.to_string()).after([line.as_slice()], names(&["A"]), None).line;
    }
    assert_eq!((line.len(), line.last().map(String::as_str)), (LONGEST, Some("499")));
    let sound = mark(&["e0"], &["A"]);
    assert!(sound.is_sound());
    assert!(!Mark { line: Vec::new(), ..sound.clone() }.is_sound());
    assert!(!Mark { members: BTreeSet::new(), ..sound.clone() }.is_sound());
    assert!(!Mark { host: "x".repeat(4096), ..sound.clone() }.is_sound());
    assert!(!Mark { line: vec!["e".into(); 4096], ..sound }.is_sound());
}

#[test]
fn t44_members_that_are_not_even_are_named() {
    let (whole, alone) = (mark(&["e0"], &["A", "B"]), mark(&["e0", "e1"], &["A"]));
    let of = |a: Option<&Mark>, b: Option<&Mark>| {
        uneven(&[(name("a"), a.cloned()), (name("b"), b.cloned())])
    };
    assert_eq!(of(Some(&whole), Some(&whole)), None);
    assert_eq!(of(None, None), None, "of before there were marks");
    assert_eq!(of(Some(&alone), Some(&whole)).as_deref(), Some("b"));
    assert_eq!(of(Some(&alone), None).as_deref(), Some("b"));
    let joining = Mark { joining: Some("e1".into()), ..whole.clone() };
    assert_eq!(of(Some(&alone), Some(&joining)).as_deref(), Some("b"));
    let under_way = Mark { target: Some("B".into()), ..alone.clone() };
    assert!(of(Some(&under_way), Some(&joining)).is_some());
    let other = mark(&["e0", "ex"], &["B"]);
    assert!(of(Some(&alone), Some(&other)).is_some(), "two histories");
}

#[test]
fn t44_what_a_header_says_is_a_mark_or_nothing() {
    let sound = Mark { target: Some("B".into()), ..mark(&["e0", "e1"], &["A"]) };
    let mut token = sound.to_token();
    token["type"] = TOKEN.into();
    token["keyslots"] = serde_json::json!([]);
    assert_eq!(Mark::from_token(&token), Some(sound));
    for (field, value) in [
        ("line", serde_json::json!([])),
        ("line", serde_json::json!("e0")),
        ("members", serde_json::json!([])),
        ("since", serde_json::json!(-1)),
        ("host", serde_json::json!("x".repeat(4096))),
        ("joining", serde_json::json!("")),
    ] {
        let mut bad = token.clone();
        bad[field] = value;
        assert_eq!(Mark::from_token(&bad), None, "{bad}");
    }
    assert_eq!(Mark::from_token(&serde_json::Value::Null), None);
}

#[test]
fn t44_what_was_given_up_on_a_disk_that_was_not_there_is_a_history_when_it_comes_back() {
    let (whole, alone) = (mark(&["e0"], &["A", "B"]), mark(&["e0", "e1"], &["A"]));
    let old = one("B", Some(whole), 9);
    let record = kept(Some(alone.clone()));
    let word = Word::GiveUpNewer;
    let opening = opened(judge(&seen(std::slice::from_ref(&old)), &record, &word, &fresh("new")));
    let after = [one("A", Some(alone), 20), Seen { mark: Some(opening.mark.clone()), ..old }];
    let decision = decide(&after, &kept(Some(opening.mark.clone())));
    assert!(matches!(refused(decision), Refusal::TwoHistories { .. }));
    let decision = decide(&after[..1], &kept(Some(opening.mark)));
    assert!(matches!(refused(decision), Refusal::TwoHistories { .. }));
}

#[test]
fn t44_a_member_that_can_never_be_written_anew_does_not_become_another_history() {
    let old = mark(&["e0"], &["A", "B"]);
    let mut head = mark(&["e0", "e1"], &["A"]);
    // Tried every ten minutes for days: B cannot even be told that it is being written to.
    for attempt in 0..500 {
        head = resynchronising(&head, "B", &fresh(&format!("r{attempt}")));
    }
    assert_eq!(head.line, ["e0", "e1", "r0"]);
    for record in [Kept::default(), kept(Some(head.clone()))] {
        let both = [one("A", Some(head.clone()), 50), one("B", Some(old.clone()), 9)];
        let opening = opened(decide(&both, &record));
        assert_eq!((opening.current, opening.behind), (names(&["a"]), names(&["b"])));
        // What was begun is given up where the pool is mounted without it.
        assert_eq!(opening.mark.line, ["e0", "e1", "r0", "new"]);
    }
    let other = resynchronising(&head, "C", &fresh("c"));
    assert_eq!((other.id(), other.target.as_deref()), ("c", Some("C")));
}

#[test]
fn t22_a_pool_whose_headers_were_put_back_from_their_copies_opens_at_a_word() {
    let head = mark(&["e0", "e1", "e2"], &["A", "B"]);
    let both = [one("A", None, 50), one("B", None, 50)];
    // The record names an era that no header does: nothing goes on by itself.
    assert!(matches!(refused(decide(&both, &kept(Some(head.clone())))), Refusal::Behind { .. }));
    let say = |all: &[Seen], word: &Word| {
        opened(judge(&seen(all), &kept(Some(head.clone())), word, &fresh("new")))
    };
    let opening = say(&both, &Word::GiveUpNewer);
    assert_eq!((opening.lost, opening.current), (0, names(&["a", "b"])));
    let opening = say(&both[..1], &Word::GiveUpNewer);
    assert_eq!((opening.lost, opening.current), (1, names(&["a"])));
    // One that lags is never mixed in.
    let opening = say(&[one("A", None, 50), one("B", None, 20)], &Word::GiveUpNewer);
    assert_eq!((opening.current, opening.behind), (names(&["a"]), names(&["b"])));

    // Kept by name beside one that has its mark, which is behind from now on.
    let alone = mark(&["e0", "eb"], &["B"]);
    let two = [one("A", None, 50), one("B", Some(alone.clone()), 60)];
    let opening = say(&two, &Word::Keep(name("a")));
    assert_eq!((&opening.current, &opening.behind), (&names(&["a"]), &names(&["b"])));
    assert!(alone.precedes(&opening.mark), "{:?}", opening.mark);
}

#[test]
fn t22_a_newer_member_whose_header_was_put_back_is_never_written_over_by_an_older_one() {
    let before = mark(&["e0", "e1", "e2"], &["A", "B"]);
    let both = [one("A", None, 90), one("B", Some(before.clone()), 40)];
    // The record may be lost, or of before B dropped out.
    for record in [Kept::default(), kept(Some(before.clone()))] {
        for word in [Word::None, Word::GiveUpNewer] {
            let decision = judge(&seen(&both), &record, &word, &fresh("new"));
            let Refusal::TwoHistories { sides } = refused(decision) else { panic!("{word:?}") };
            let last = sides.last().unwrap();
            assert_eq!((&last.roles, last.generation), (&names(&["a"]), 90));
        }
        let word = Word::Keep(name("a"));
        let opening = opened(judge(&seen(&both), &record, &word, &fresh("new")));
        assert_eq!((opening.current, opening.behind), (names(&["a"]), names(&["b"])));
    }
    // One that has no more than the others is written anew from them.
    let even = [one("A", None, 90), one("B", Some(before.clone()), 90)];
    assert_eq!(opened(decide(&even, &kept(Some(before)))).behind, names(&["a"]));
}
