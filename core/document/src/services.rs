//! From sections to the types of [`bedplate_model::host`]: what runs on the machine.

use toml_edit::Item;

use super::keys::notify;
use super::rules::Wrong;
use super::secret;
use super::section::Section;
use super::source;
use bedplate_model::host::{
    Backup, Cidr, Export, Flake, Health, Keep, Nfs, Notify, Push, Restore, Upkeep,
};
use bedplate_model::name::PoolName;

pub(super) fn nfs(section: &Section<'_>) -> Nfs {
    let exports = section.tables("exports");
    Nfs { v3: section.boolean("v3"), exports: exports.iter().map(export).collect() }
}

fn export(section: &Section<'_>) -> Export {
    let clients = section.texts("clients");
    if section.value("clients").and_then(Item::as_array).is_some_and(toml_edit::Array::is_empty) {
        let message = format!("`{}` is empty", section.child("clients"));
        let help = "leave it out for `network.lan_cidr`, or write \"192.168.1.0/24\"".into();
        section.wrong("clients", Wrong { message, help });
    }
    Export {
        path: section.text("path"),
        pool: PoolName::default(),
        clients: clients.into_iter().filter_map(|text| Cidr::try_from(text).ok()).collect(),
        options: section.texts("options"),
    }
}

pub(super) fn backup(section: &Section<'_>) -> Backup {
    let keep = section.section("keep");
    Backup {
        repository: section.text("repository"),
        repository_pool: None,
        paths: section.texts("paths"),
        schedule: section.text("schedule"),
        keep: Keep {
            daily: keep.integer("daily"),
            weekly: keep.integer("weekly"),
            monthly: keep.integer("monthly"),
        },
        password: secret::required(section, "password"),
        credentials: section.some_section("credentials").as_ref().map(secret::reference),
        host_key: section.some_text("host_key"),
        upkeep: Upkeep {
            prune: when(section, "prune"),
            check: when(section, "check"),
            check_data: when(section, "check_data"),
            drill: when(section, "drill"),
        },
        stale_after_hours: section.some_integer("stale_after_hours"),
    }
}

/// A schedule that may be `never`.
pub(super) fn when(section: &Section<'_>, name: &str) -> Option<String> {
    section.some_text(name).filter(|schedule| schedule != "never")
}

pub(super) fn restore(section: &Section<'_>) -> Restore {
    Restore {
        backups: section.texts("backups"),
        snapshot: section.some_text("snapshot").filter(|id| id != "latest"),
    }
}

pub(super) fn notify(section: &Section<'_>) -> Notify {
    Notify {
        url: section.some_text("url"),
        receiver: section.choice("receiver", &notify::RECEIVERS),
        token: section.some_section("token").as_ref().map(secret::reference),
        mail: section.some_text("mail"),
        remind_hours: section.some_integer("remind_hours").filter(|hours| *hours > 0),
        ping: section.some_text("ping"),
    }
}

pub(super) fn health(section: &Section<'_>) -> Health {
    Health {
        fill: section.integer("fill"),
        smart: section.boolean("smart"),
        sectors: section.integer("sectors"),
        worn: section.integer("worn"),
        celsius: section.integer("celsius"),
    }
}

pub(super) fn flake(section: &Section<'_>) -> Flake {
    Flake {
        remote: section.some_text("remote"),
        hosts: section.text("hosts"),
        source: section.some_section("source").as_ref().map(source::source),
        push: section.some_section("push").map(|push| Push {
            key: secret::required(&push, "key"),
            host_key: push.text("host_key"),
        }),
    }
}
