//! Whether systemd understands when a backup is to run: a timer with a mistyped time never elapses,
//! and its unit does not fail.

use std::collections::BTreeMap;
use std::path::Path;

use bedplate_model::host::Backup;
use bedplate_tools::command::CommandError;
use bedplate_tools::systemd_analyze::{self, Calendar};

use bedplate_events::cause::in_line;

/// What is wrong with the schedules of one backup, in lines; or why that cannot be said.
pub type ScheduleFaults = Result<Vec<String>, String>;

/// Asks `program`; without it nothing can be said.
pub fn look(
    program: Option<&Path>,
    backups: &BTreeMap<String, Backup>,
) -> BTreeMap<String, ScheduleFaults> {
    let mut ask = |expression: &str| match program {
        Some(program) => systemd_analyze::calendar(program, expression).map_err(unasked),
        None => Err(format!("{} is not installed", systemd_analyze::PROGRAM)),
    };
    wrong(backups, &mut ask)
}

fn unasked(error: CommandError) -> String {
    in_line(&error)
}

/// Each expression is asked for once.
fn wrong(
    backups: &BTreeMap<String, Backup>,
    ask: &mut dyn FnMut(&str) -> Result<Calendar, String>,
) -> BTreeMap<String, ScheduleFaults> {
    let mut known: BTreeMap<&str, Result<Calendar, String>> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for (name, backup) in backups {
        let complaints = backup.schedules().filter_map(|(key, expression)| {
            let answer = known.entry(expression).or_insert_with(|| ask(expression));
            let complaint = answer.as_ref().map(Calendar::complaint).transpose()?;
            let text = |complaint| {
                format!(
                    "`backups.{name}.{key}` of host.toml, \"{expression}\", {complaint}: it does not \
                     run; correct it there (`systemd-analyze calendar` tries an expression)"
                )
            };
            Some(complaint.map(text).map_err(|why| {
                format!("whether systemd understands its schedules is not known: {why}")
            }))
        });
        found.insert(name.clone(), complaints.collect());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedplate_sample as sample;

    #[test]
    fn a_mistyped_time_is_told_by_its_key_and_each_is_asked_for_once() {
        let mut backups = sample::intent().backups;
        let mut other = backups["apps"].clone();
        other.upkeep.drill = Some("mounthly".into());
        other.upkeep.check = None;
        backups.insert("other".into(), other);
        let mut asked = Vec::new();
        let found = wrong(&backups, &mut |expression| {
            asked.push(expression.to_owned());
            let wrong = || Calendar::Wrong("Failed to parse".into());
            Ok(if expression == "mounthly" { wrong() } else { Calendar::Comes })
        });
        assert_eq!(asked, ["daily", "weekly", "monthly", "mounthly"]);
        assert_eq!(found["apps"], Ok(Vec::new()));
        let told = found["other"].as_ref().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("`backups.other.drill` of host.toml, \"mounthly\", is no time")
        );
    }

    #[test]
    fn without_the_program_nothing_is_said_to_be_right() {
        let found = look(None, &sample::intent().backups);
        assert!(found["apps"].as_ref().unwrap_err().contains("systemd-analyze is not installed"));
    }
}
