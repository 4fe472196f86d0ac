//! From sections to the types of [`bedplate_model::host`]: what runs on the machine.

use std::collections::BTreeMap;

use toml_edit::Item;

use super::addresses;
use super::network::client;
use super::rules::{self, Wrong};
use super::secret;
use super::section::Section;
use super::source;
use bedplate_model::host::{
    Backup, Cidr, Export, Flake, Health, Keep, Nfs, Notify, Push, REMIND_HOURS, Receiver, Restore,
    Upkeep,
};

pub(super) fn nfs(section: Option<&Section<'_>>) -> Nfs {
    let exports = section.map(|nfs| nfs.tables("exports", "nfs.exports[]")).unwrap_or_default();
    let v3 = section.and_then(|nfs| nfs.boolean("v3")).unwrap_or(false);
    Nfs { v3, exports: exports.iter().map(export).collect() }
}

fn export(section: &Section<'_>) -> Export {
    let clients = section.texts("clients", client).unwrap_or_default();
    if section.value("clients").and_then(Item::as_array).is_some_and(toml_edit::Array::is_empty) {
        let message = format!("`{}` is empty", section.child("clients"));
        let help = "leave it out for `network.lan_cidr`, or write \"192.168.1.0/24\"".into();
        section.wrong("clients", Wrong { message, help });
    }
    let options = ["rw", "sync", "no_subtree_check"].map(str::to_owned).to_vec();
    Export {
        path: section.text("path", rules::absolute_path).unwrap_or_default(),
        pool: String::new(),
        clients: clients.into_iter().filter_map(|text| Cidr::try_from(text).ok()).collect(),
        options: section.texts("options", rules::export_option).unwrap_or(options),
    }
}

pub(super) fn backups(root: &Section<'_>) -> BTreeMap<String, Backup> {
    let named = root.named("backups", "backups.<name>", rules::role);
    named.into_iter().map(|(name, section)| (name, backup(&section))).collect()
}

fn backup(section: &Section<'_>) -> Backup {
    let password = section.section("password", "backups.<name>.password");
    let keep = section.section("keep", "backups.<name>.keep");
    let count = |name, default| {
        keep.as_ref().and_then(|keep| keep.integer(name, 0..=10_000)).unwrap_or(default)
    };
    Backup {
        repository: section.text("repository", addresses::restic).unwrap_or_default(),
        repository_pool: None,
        paths: section.texts("paths", rules::absolute_path).unwrap_or_default(),
        schedule: section.text("schedule", rules::calendar).unwrap_or_else(|| "daily".into()),
        keep: Keep {
            daily: count("daily", 7),
            weekly: count("weekly", 4),
            monthly: count("monthly", 6),
        },
        password: password.map_or_else(secret::nowhere, |password| secret::reference(&password)),
        credentials: section
            .section("credentials", "backups.<name>.credentials")
            .map(|credentials| secret::reference(&credentials)),
        host_key: section.text("host_key", rules::ssh_key),
        upkeep: upkeep(section),
        stale_after_hours: section.integer("stale_after_hours", 1..=10_000),
    }
}

/// A schedule that may be `never`.
pub(super) fn when(section: &Section<'_>, name: &str, default: Option<String>) -> Option<String> {
    match section.text(name, rules::calendar) {
        Some(never) if never == "never" => None,
        Some(schedule) => Some(schedule),
        None => default,
    }
}

fn upkeep(section: &Section<'_>) -> Upkeep {
    let when = |name, default| when(section, name, default);
    let default = Upkeep::default();
    Upkeep {
        prune: when("prune", default.prune),
        check: when("check", default.check),
        check_data: when("check_data", default.check_data),
        drill: when("drill", default.drill),
    }
}

pub(super) fn restore(section: Option<&Section<'_>>) -> Option<Restore> {
    let section = section?;
    Some(Restore {
        backups: section.texts("backups", rules::role).unwrap_or_default(),
        snapshot: section.text("snapshot", rules::snapshot).filter(|id| id != "latest"),
    })
}

pub(super) fn notify(section: Option<&Section<'_>>) -> Option<Notify> {
    let section = section?;
    let token = section.section("token", "notify.token");
    Some(Notify {
        url: section.text("url", addresses::download),
        receiver: section
            .choice("receiver", &[("ntfy", Receiver::Ntfy), ("webhook", Receiver::Webhook)])
            .unwrap_or_default(),
        token: token.map(|token| secret::reference(&token)),
        mail: section.text("mail", addresses::mail),
        remind_hours: match section.integer("remind_hours", 0..=1000) {
            None => Some(REMIND_HOURS),
            Some(hours) => Some(hours).filter(|hours| *hours > 0),
        },
        ping: section.text("ping", addresses::download),
    })
}

pub(super) fn health(section: Option<&Section<'_>>) -> Health {
    let default = Health::default();
    let number = |key, range, default| {
        section.and_then(|health| health.integer(key, range)).unwrap_or(default)
    };
    Health {
        fill: number("fill", 50..=99, default.fill),
        smart: section.and_then(|health| health.boolean("smart")).unwrap_or(default.smart),
        sectors: number("sectors", 0..=1_000_000, default.sectors),
        worn: number("worn", 1..=255, default.worn),
        celsius: number("celsius", 30..=120, default.celsius),
    }
}

pub(super) fn flake(section: Option<&Section<'_>>) -> Flake {
    Flake {
        remote: section.and_then(|flake| flake.text("remote", addresses::remote)),
        hosts: section
            .and_then(|flake| flake.text("hosts", rules::repository_path))
            .unwrap_or_else(|| "nix/hosts".into()),
        source: section
            .and_then(|flake| flake.section("source", "flake.source"))
            .map(|section| source::source(&section)),
        push: section.and_then(|flake| flake.section("push", "flake.push")).map(|push| Push {
            key: push
                .section("key", "flake.push.key")
                .map_or_else(secret::nowhere, |key| secret::reference(&key)),
            host_key: push.text("host_key", rules::ssh_key).unwrap_or_default(),
        }),
    }
}
