//! The message of the host's commit: what was found and what was installed.

use std::fmt::Write as _;

use bedplate_model::facts::{Facts, FirmwareKind};
use bedplate_model::hardware::Needs;
use bedplate_model::host::HostFile;
use bedplate_model::plan::Plan;

/// The message; `fetched` is the commit that was fetched, when one was. What the machine says of
/// itself is escaped: it is shown on terminals.
pub fn of(
    plan: &Plan,
    host: &HostFile,
    facts: &Facts,
    needs: &Needs,
    fetched: Option<&str>,
) -> String {
    let mut lines = vec![format!("Enrol {}\n\nPlan {}\n\nFound:", plan.host_name, plan.hash)];
    let firmware = match facts.firmware {
        FirmwareKind::Uefi => "UEFI",
        FirmwareKind::Bios => "BIOS",
    };
    lines.push(format!("- {}, {firmware}, {} bytes of memory", needs.platform, facts.memory_bytes));
    for disk in &plan.disks {
        lines.push(format!("- disk {}: {}, {} bytes", disk.role, disk.id, disk.size));
    }
    for nic in &facts.nics {
        let driver = nic.driver.as_deref().unwrap_or("none");
        let line = format!("- network {}: {}, driver {driver}", nic.name, nic.mac);
        lines.push(line.escape_debug().to_string());
    }
    for (what, modules) in [("disks", &needs.disk_modules), ("network", &needs.nic_modules)] {
        if !modules.is_empty() {
            lines.push(format!("- modules for {what}: {}", modules.join(", ")));
        }
    }
    if let (Some(commit), Some((branch, from))) = (fetched, plan.fetches()) {
        lines.push(format!("- repository: branch {branch} from {from}, at {commit}"));
    }
    lines.push("\nInstalled:".to_owned());
    let platform = host.host.platform.name();
    lines.push(format!("- platform {platform} on {}", host.os.disk));
    for (name, pool) in &host.pools {
        let disks = pool.disks.join(", ");
        lines.push(format!("- pool {name} at {}: RAID1 over {disks}", pool.mount));
    }
    lines.into_iter().fold(String::new(), |mut text, line| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
        text
    })
}

#[cfg(test)]
mod tests {
    use bedplate_document as document;
    use bedplate_model::hardware;
    use bedplate_model::plan::{FoundVolume, RepositoryPlace, Step};
    use bedplate_planner as planner;

    use super::*;

    fn enrolled() -> (Plan, HostFile, Facts, Needs) {
        let text = include_str!("../../../../profiles/hypervisor/host.toml").replace(
            "00000000-0000-4000-8000-000000000004",
            "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
        );
        let host = document::parse(&text, "host.toml").unwrap_or_else(|e| panic!("{e}"));
        let inventory = include_str!("../../../../profiles/hypervisor/inventory.json");
        let mut facts: Facts = serde_json::from_str(inventory).unwrap();
        facts.nics[0].driver = Some("odd\u{1b}[2J".to_owned());
        facts.platform = Some("x86_64-linux".into());
        facts.microcode = Some("amd".into());
        facts.nics[0].modules = vec!["e1000e".into()];
        for disk in &mut facts.disks {
            let modules: &[&str] = match disk.kernel_name.as_bytes() {
                [b'n', ..] => &["nvme"],
                _ => &["ahci", "sd_mod"],
            };
            disk.modules = modules.iter().map(|name| (*name).to_owned()).collect();
        }
        let plan = planner::plan(&host, &facts).unwrap_or_else(|e| panic!("{e}"));
        let needs = Needs::of(&plan, &facts).unwrap();
        (plan, host, facts, needs)
    }

    #[test]
    fn hardware_json_and_the_message_say_what_was_found_and_installed() {
        let (plan, host, facts, needs) = enrolled();
        insta::assert_snapshot!("hardware", hardware::text(&plan, &facts).unwrap());
        let said = of(&plan, &host, &facts, &needs, None);
        assert!(!said.contains('\u{1b}'), "{said}");
        insta::assert_snapshot!("message", said.replace(plan.hash.as_str(), "HASH"));
    }

    #[test]
    fn the_message_names_the_commit_that_was_fetched_and_where_from() {
        let (mut plan, host, facts, needs) = enrolled();
        let volume = FoundVolume {
            label: "INFRA".into(),
            disk: "usb-Stick_1234-0:0".into(),
            partition: Some(1),
            kind: "ext4".into(),
            path: None,
        };
        let from = RepositoryPlace::Volume(volume);
        plan.steps.insert(2, Step::FetchRepository { branch: "trunk".into(), from });
        let said = of(&plan, &host, &facts, &needs, Some("0123abc"));
        let line = said.lines().find(|line| line.starts_with("- repository")).unwrap();
        assert_eq!(
            line,
            "- repository: branch trunk from the volume INFRA (usb-Stick_1234-0:0, partition 1), \
             at 0123abc"
        );
    }

    #[test]
    fn an_inventory_gives_the_very_bytes_that_the_installer_writes() {
        let (plan, host, mut facts, _) = enrolled();
        let inventory = serde_json::to_string_pretty(&facts).unwrap();
        let read: Facts = serde_json::from_str(&inventory).unwrap();
        let planned = planner::plan(&host, &read).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(hardware::text(&planned, &read), hardware::text(&plan, &facts));
        // Another boot: other kernel names, another medium, nothing else.
        facts.disks.reverse();
        facts.boot_medium = None;
        let again = planner::plan(&host, &facts).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(hardware::text(&again, &facts), hardware::text(&plan, &read));
        // One of before: nothing is made up.
        facts.platform = None;
        let refused = hardware::text(&plan, &facts).unwrap_err().to_string();
        assert!(refused.contains("make it again"), "{refused}");
    }
}
