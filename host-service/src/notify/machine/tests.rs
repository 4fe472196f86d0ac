use proptest::prelude::*;

use super::*;

const DAY: u64 = 86_400;

fn condition(area: Area, name: &str, kind: &str, patience: u64) -> Condition {
    Condition {
        area,
        name: name.into(),
        kind: kind.into(),
        title: format!("{name} is {kind}"),
        cleared: format!("{name} is well again"),
        text: "details".into(),
        urgent: true,
        patience,
    }
}

fn found(conditions: &[Condition]) -> Observation {
    let areas = [Area::Pools, Area::Backups, Area::Units, Area::Drift].into();
    Observation { areas, conditions: conditions.to_vec(), well: Vec::new() }
}

fn setting(channels: &[String]) -> Setting<'_> {
    Setting { machine: "hv", channels, remind: Some(DAY) }
}

/// Looks at each moment; everything arrives at once. Returns the titles of each moment.
fn told(moments: &[(u64, Observation)]) -> Vec<Vec<String>> {
    let channels = ["ntfy".to_owned()];
    let mut state = State::default();
    let look = |(now, observation): &(u64, Observation)| {
        state = std::mem::take(&mut state).after(observation, *now, setting(&channels));
        state.waiting.drain(..).map(|one| one.message.title).collect()
    };
    moments.iter().map(look).collect()
}

#[test]
fn a_condition_is_told_once_again_as_a_reminder_and_when_it_is_over() {
    let lost = || found(&[condition(Area::Pools, "vmstore", "DEGRADED", 0)]);
    let down = || found(&[condition(Area::Pools, "vmstore", "DOWN", 0)]);
    let moments = [
        (0, found(&[])),
        (600, lost()),
        (1200, lost()),
        (600 + DAY, lost()),
        (600 + DAY + 1, lost()),
        (600 + DAY + 2, down()),
        (600 + DAY + 3, found(&[])),
        (600 + DAY + 4, found(&[])),
    ];
    insta::assert_debug_snapshot!(told(&moments));
}

#[test]
fn what_was_not_looked_at_is_neither_told_nor_cleared() {
    let drift = condition(Area::Drift, "host.toml", "a", 0);
    let busy = Observation { areas: [Area::Pools].into(), ..Observation::default() };
    let all = told(&[(0, found(&[drift])), (1, busy), (2, found(&[]))]);
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1]);
}

#[test]
fn what_passes_by_itself_is_never_told() {
    let drift = || found(&[condition(Area::Drift, "host.toml", "a", 900)]);
    let all =
        told(&[(0, drift()), (600, drift()), (700, found(&[])), (800, drift()), (1700, drift())]);
    assert_eq!(all.concat(), ["hv: host.toml is a"]);
    assert_eq!(all[4].len(), 1);
}

#[test]
fn f9_a_clock_that_jumps_costs_a_message_at_most_and_ends_no_reminders() {
    let lost = || found(&[condition(Area::Pools, "vmstore", "DEGRADED", 0)]);
    let all = told(&[(1000 * DAY, lost()), (10, lost()), (20, lost()), (10 + DAY, lost())]);
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0, 1]);
}

#[test]
fn t43_what_does_not_arrive_waits_for_each_address_and_is_not_repeated() {
    let channels = ["mail".to_owned(), "ntfy".to_owned()];
    let lost = found(&[condition(Area::Pools, "vmstore", "DEGRADED", 0)]);
    let mut state = State::default();
    for day in 0..5 {
        state = state.after(&lost, day * DAY, setting(&channels));
    }
    assert_eq!(state.waiting.len(), 2, "{:?}", state.waiting);
    state = state.after(&found(&[]), 5 * DAY, setting(&channels));
    let events: Vec<_> = state.waiting.iter().map(|one| one.message.event).collect();
    assert_eq!(events, [Event::Raised, Event::Raised, Event::Cleared, Event::Cleared]);
    // An address that is gone from host.toml gets nothing any more.
    state = state.after(&found(&[]), 6 * DAY, setting(&channels[..1]));
    assert_eq!(state.waiting.len(), 2);
}

#[test]
fn t40_the_messages_that_wait_are_bounded_and_the_lost_are_counted() {
    let channels = ["ntfy".to_owned()];
    let mut state = State::default();
    for now in 0..300 {
        let kind = format!("{now}");
        let one = found(&[condition(Area::Pools, "vmstore", &kind, 0)]);
        state = state.after(&one, now, setting(&channels));
    }
    assert_eq!(state.waiting.len(), MOST_WAITING);
    assert_eq!(state.dropped["ntfy"], 200);
    assert!(state.waiting.last().unwrap().message.title.ends_with("is 299"));
}

proptest! {
    /// Whatever comes: a condition is raised before it is cleared, never cleared twice, and what stands
    /// at the end is what was raised and not cleared.
    #[test]
    fn raised_and_cleared_alternate(
        looks in proptest::collection::vec((0_u64..5000, proptest::option::of(0_u8..3), any::<bool>()), 0..40)
    ) {
        let channels = ["ntfy".to_owned()];
        let (mut state, mut now, mut raised) = (State::default(), 0, false);
        for (later, kind, looked) in looks {
            now += later;
            let conditions: Vec<_> = kind
                .iter()
                .map(|kind| condition(Area::Units, "x", &kind.to_string(), 100))
                .filter(|_| looked)
                .collect();
            let areas = if looked { [Area::Units].into() } else { BTreeSet::new() };
            let found = Observation { areas, conditions, well: Vec::new() };
            state = state.after(&found, now, setting(&channels));
            for waiting in state.waiting.drain(..) {
                match waiting.message.event {
                    Event::Cleared => { prop_assert!(raised); raised = false; }
                    Event::Raised => raised = true,
                    Event::Reminder => prop_assert!(raised),
                    Event::Test => prop_assert!(false),
                }
            }
        }
        let standing = state.standing.values().any(|standing| standing.told.is_some());
        prop_assert_eq!(standing, raised);
    }
}
