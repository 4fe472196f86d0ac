//! From sections to the types of [`bedplate_model::host`]: the machine itself.
//!
//! A value that cannot be read is reported and replaced by an empty one, so that the
//! rest of the document is still checked; [`super::parse`] never hands such a value out.

use std::collections::BTreeMap;

use toml_edit::{Item, Table};
use uuid::Uuid;

use super::rules::{self, Wrong};
use super::secret;
use super::section::{Decoder, Section};
use super::{machines, network, services};
use bedplate_model::host::monthly;
use bedplate_model::host::{
    Derivation, Disk, Host, HostFile, Install, Media, Os, Platform, Pool, Recovery, SCHEMA, Stick,
    Then, Unlock, User, Wipe,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

pub(super) fn host_file(decoder: &Decoder<'_>, table: &Table) -> HostFile {
    let root = Section::open(decoder, table, "", String::new());
    let _: Option<u32> = root.integer("schema", SCHEMA..=SCHEMA);
    HostFile {
        schema: SCHEMA,
        host: host(root.section("host", "host").as_ref()),
        disks: disks(&root),
        os: os(root.section("os", "os").as_ref()),
        pools: pools(&root),
        unlock: unlock(root.section("unlock", "unlock").as_ref()),
        network: network::network(root.section("network", "network").as_ref()),
        vms: machines::vms(&root),
        nfs: services::nfs(root.section("nfs", "nfs").as_ref()),
        backups: services::backups(&root),
        notify: services::notify(root.section("notify", "notify").as_ref()),
        health: services::health(root.section("health", "health").as_ref()),
        restore: services::restore(root.section("restore", "restore").as_ref()),
        secrets: secret::files(&root),
        flake: services::flake(root.section("flake", "flake").as_ref()),
        install: install(root.section("install", "install").as_ref()),
    }
}

fn host(section: Option<&Section<'_>>) -> Host {
    let text = |name, rule| section.and_then(|section| section.text(name, rule));
    Host {
        id: section.map(host_id).unwrap_or_default(),
        name: text("name", rules::host_name).unwrap_or_default(),
        platform: section
            .and_then(|host| {
                host.choice(
                    "platform",
                    &[("nixos", Platform::Nixos), ("embedded", Platform::Embedded)],
                )
            })
            .unwrap_or(Platform::Embedded),
        state_version: text("state_version", rules::state_version).unwrap_or_default(),
        timezone: text("timezone", rules::timezone).unwrap_or_else(|| "UTC".into()),
        locale: text("locale", rules::locale).unwrap_or_else(|| "C.UTF-8".into()),
        users: section.map(users).unwrap_or_default(),
    }
}

fn host_id(section: &Section<'_>) -> Uuid {
    let Some(text) = section.text("id", rules::any) else { return Uuid::nil() };
    let hyphenated = text.len() == 36;
    match Uuid::try_parse(&text) {
        Ok(id) if hyphenated && id.get_version_num() == 4 => id,
        _ => {
            let message = format!("`host.id`: {} is not a UUIDv4", super::problem::quote(&text));
            let help = "write one from `uuidgen --random`".into();
            section.wrong("id", Wrong { message, help });
            Uuid::nil()
        }
    }
}

fn users(host: &Section<'_>) -> BTreeMap<String, User> {
    let user = |section: Section<'_>| User {
        ssh_keys: section.texts("ssh_keys", rules::ssh_key).unwrap_or_default(),
        groups: section.texts("groups", rules::user).unwrap_or_default(),
    };
    let named = host.named("users", "host.users.<name>", rules::user);
    named.into_iter().map(|(name, section)| (name, user(section))).collect()
}

fn disks(root: &Section<'_>) -> BTreeMap<String, Disk> {
    let named = root.named("disks", "disks.<role>", rules::role);
    named.into_iter().map(|(role, section)| (role, disk(&section))).collect()
}

fn disk(section: &Section<'_>) -> Disk {
    let id = section.text("id", rules::by_id).unwrap_or_default();
    let guess = if id.starts_with("nvme-") { Media::Ssd } else { Media::Hdd };
    Disk {
        expect_serial: section.text("expect_serial", rules::serial),
        expect_size: section.size("expect_size", MIB..=u64::MAX),
        media: section
            .choice("media", &[("ssd", Media::Ssd), ("hdd", Media::Hdd)])
            .unwrap_or(guess),
        wipe: section
            .choice(
                "wipe",
                &[
                    ("blank", Wipe::Blank),
                    ("ours", Wipe::Ours),
                    ("any", Wipe::Any),
                    ("never", Wipe::Never),
                ],
            )
            .unwrap_or(Wipe::Blank),
        id,
    }
}

fn os(section: Option<&Section<'_>>) -> Os {
    let default = [("root", "/"), ("home", "/home"), ("nix", "/nix")];
    let default = default.map(|(name, mount)| (name.to_owned(), mount.to_owned()));
    Os {
        disk: section.and_then(|os| os.text("disk", rules::role)).unwrap_or_else(|| "os".into()),
        esp_size: section.and_then(|os| os.size("esp_size", 64 * MIB..=32 * GIB)).unwrap_or(GIB),
        esp_mirror: section.and_then(|os| os.text("esp_mirror", rules::role)),
        subvolumes: section
            .and_then(|os| os.text_map("subvolumes", rules::role, rules::mount_point))
            .unwrap_or_else(|| default.into()),
    }
}

fn pools(root: &Section<'_>) -> BTreeMap<String, Pool> {
    let pool = |section: Section<'_>| {
        let _: Option<()> = section.choice("raid", &[("raid1", ())]);
        Pool {
            mount: section.text("mount", rules::absolute_path).unwrap_or_default(),
            disks: section.texts("disks", rules::role).unwrap_or_default(),
            scrub: services::when(&section, "scrub", monthly()),
        }
    };
    let named = root.named("pools", "pools.<name>", rules::pool);
    named.into_iter().map(|(name, section)| (name, pool(section))).collect()
}

const DERIVATIONS: [(&str, Derivation); 2] =
    [("measured", Derivation::Measured), ("minimal", Derivation::Minimal)];

fn unlock(section: Option<&Section<'_>>) -> Unlock {
    Unlock {
        timeout_seconds: section
            .and_then(|unlock| unlock.integer("timeout_seconds", 1..=3600))
            .unwrap_or(30),
        keyfile: section
            .and_then(|unlock| unlock.text("keyfile", rules::relative_path))
            .unwrap_or_else(|| "bedplate/keyfile".into()),
        recovery: section
            .and_then(recovery)
            .unwrap_or_else(|| Recovery::Stick("bedplate/recovery".into())),
        derivation: section
            .and_then(|unlock| unlock.choice("derivation", &DERIVATIONS))
            .unwrap_or_default(),
        sticks: section.map(sticks).unwrap_or_default(),
    }
}

fn recovery(unlock: &Section<'_>) -> Option<Recovery> {
    if unlock.value("recovery").is_some_and(Item::is_str) {
        return unlock.choice("recovery", &[("prompt", ())]).map(|()| Recovery::Prompt);
    }
    let section = unlock.section("recovery", "unlock.recovery")?;
    section.text("stick", rules::relative_path).map(Recovery::Stick)
}

fn sticks(unlock: &Section<'_>) -> Vec<Stick> {
    let stick = |section: Section<'_>| Stick {
        volume_id: section
            .text("volume_id", rules::volume_id)
            .unwrap_or_default()
            .to_ascii_uppercase(),
        id: section.text("id", rules::by_id),
    };
    unlock.tables("sticks", "unlock.sticks[]").into_iter().map(stick).collect()
}

fn install(section: Option<&Section<'_>>) -> Install {
    let then = [("reboot", Then::Reboot), ("poweroff", Then::Poweroff), ("wait", Then::Wait)];
    Install {
        unattended: section.and_then(|install| install.boolean("unattended")).unwrap_or(false),
        expect_plan: section.and_then(|install| install.text("expect_plan", rules::sha256)),
        then: section.and_then(|install| install.choice("then", &then)).unwrap_or(Then::Reboot),
    }
}
