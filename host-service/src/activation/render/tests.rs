use bedplate_spec::document;

use super::*;

fn host() -> HostFile {
    let text = include_str!("../../../../profiles/hypervisor/host.toml");
    document::parse(text, "host.toml").unwrap()
}

fn show(entries: &Entries) -> String {
    let one = |(path, entry): (&String, &Entry)| match entry {
        Entry::Text(text) => format!("=== {path}\n{text}"),
        Entry::Link(target) => format!("=== {path} -> {target}\n"),
    };
    entries.iter().map(one).collect()
}

#[test]
fn etc_of_the_hypervisor() {
    let without_network = |(path, _): &(&String, &Entry)| !path.starts_with("systemd/network/");
    let entries = entries(&host());
    let shown = entries.iter().filter(without_network);
    insta::assert_snapshot!(show(&shown.map(|(a, b)| (a.clone(), b.clone())).collect()));
}

#[test]
fn stage_1_is_told_the_derived_uuid_and_never_a_secret() {
    let text = serde_json::to_string(&boot(&host())).unwrap();
    let read: Boot = serde_json::from_str(&text).unwrap();
    let Boot::Unlock(unlock) = read else { panic!("{text}") };
    assert_eq!(unlock.luks_uuid, derive(host().host.id, Purpose::Luks, "os", 0));
    assert_eq!(unlock.mapper, "bedplate-os");
    assert_eq!(unlock.subvolumes.get("nix").map(String::as_str), Some("/nix"));
}

#[test]
fn pools_stand_in_no_fstab() {
    let Some(Entry::Text(fstab)) = entries(&host()).remove("fstab") else { panic!() };
    assert!(!fstab.contains("btrfs"), "{fstab}");
}

#[test]
fn render_writes_files_and_links() {
    let out = tempfile::tempdir().unwrap();
    let document = out.path().join("host.toml");
    fs::write(&document, include_str!("../../../../profiles/hypervisor/host.toml")).unwrap();
    command(&document, out.path()).unwrap();
    assert!(out.path().join("initrd/bedplate/boot.json").is_file());
    assert_eq!(fs::read_to_string(out.path().join("etc/hostname")).unwrap(), "hypervisor\n");
    let copied = fs::read(out.path().join("etc/bedplate/host.toml")).unwrap();
    assert_eq!(copied, fs::read(&document).unwrap());
}
