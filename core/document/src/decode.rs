//! From sections to the types of [`bedplate_model::host`]: the machine itself.
//!
//! A value that cannot be read is reported and replaced by what its absence means, so that the
//! rest of the document is still checked; [`super::parse`] never hands such a value out.

use toml_edit::Table;
use uuid::Uuid;

use super::keys::{DOCUMENT, disks, document, host, unlock};
use super::secret;
use super::section::{Decoder, Section};
use super::{machines, network, services};
use bedplate_model::host::{
    Disk, Host, HostFile, Install, Media, Os, Pool, Recovery, SCHEMA, Stick, Unlock, User,
};
use bedplate_model::name::{ByIdName, PoolName, Role};

pub(super) fn host_file(decoder: &Decoder<'_>, table: &Table) -> HostFile {
    let root = Section::open(decoder, table, &DOCUMENT, String::new());
    root.integer("schema");
    HostFile {
        schema: SCHEMA,
        host: host(&root.section("host")),
        disks: root.named("disks", |_: &Role, section| disk(section)),
        os: os(&root.section("os")),
        pools: root.named("pools", |_: &PoolName, section| pool(section)),
        unlock: unlock(&root.section("unlock")),
        network: network::network(&root.section("network")),
        vms: root.named("vms", machines::vm),
        nfs: services::nfs(&root.section("nfs")),
        backups: root.named("backups", |_: &String, section| services::backup(section)),
        notify: root.some_section("notify").as_ref().map(services::notify),
        health: services::health(&root.section("health")),
        restore: root.some_section("restore").as_ref().map(services::restore),
        secrets: root.named("secrets", |_: &String, section| secret::file(section)),
        flake: services::flake(&root.section("flake")),
        install: install(&root.section("install")),
    }
}

fn host(section: &Section<'_>) -> Host {
    Host {
        id: Uuid::try_parse(&section.text("id")).unwrap_or_default(),
        name: section.text("name"),
        platform: section.choice("platform", &host::PLATFORMS),
        state_version: section.text("state_version"),
        timezone: section.text("timezone"),
        locale: section.text("locale"),
        users: section.named("users", |_: &String, user| User {
            ssh_keys: user.texts("ssh_keys"),
            groups: user.texts("groups"),
        }),
    }
}

fn disk(section: &Section<'_>) -> Disk {
    let id: ByIdName = section.name("id");
    let guess = if id.starts_with("nvme-") { Media::Ssd } else { Media::Hdd };
    Disk {
        expect_serial: section.some_text("expect_serial"),
        expect_size: section.some_size("expect_size"),
        media: section.some_choice("media", &disks::MEDIA).unwrap_or(guess),
        wipe: section.choice("wipe", &disks::WIPES),
        id,
    }
}

fn os(section: &Section<'_>) -> Os {
    Os {
        disk: section.name("disk"),
        esp_size: section.size("esp_size"),
        esp_mirror: section.some_name("esp_mirror"),
        subvolumes: section.text_map("subvolumes"),
    }
}

fn pool(section: &Section<'_>) -> Pool {
    section.word("raid");
    Pool {
        mount: section.text("mount"),
        disks: section.names("disks"),
        scrub: services::when(section, "scrub"),
    }
}

fn unlock(section: &Section<'_>) -> Unlock {
    Unlock {
        timeout_seconds: section.integer("timeout_seconds"),
        keyfile: section.text("keyfile"),
        recovery: recovery(section),
        derivation: section.choice("derivation", &unlock::DERIVATIONS),
        sticks: section.tables("sticks").iter().map(stick).collect(),
    }
}

fn recovery(unlock: &Section<'_>) -> Recovery {
    match unlock.word("recovery") {
        Some(_) => Recovery::Prompt,
        None => Recovery::Stick(unlock.section("recovery").text("stick")),
    }
}

fn stick(section: &Section<'_>) -> Stick {
    Stick { volume_id: section.text("volume_id").to_ascii_uppercase(), id: section.some_name("id") }
}

fn install(section: &Section<'_>) -> Install {
    Install {
        unattended: section.boolean("unattended"),
        expect_plan: section.some_name("expect_plan"),
        then: section.choice("then", &document::THENS),
    }
}
