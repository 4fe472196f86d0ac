use super::*;

fn host() -> HostFile {
    let text = include_str!("../../../profiles/hypervisor/host.toml");
    document::parse(text, "host.toml").unwrap()
}

fn vmstore() -> Vec<Member> {
    let host = host();
    members(&host, &host.pools["vmstore"])
}

#[test]
fn members_are_known_by_their_derived_header() {
    let members = vmstore();
    let roles: Vec<_> = members.iter().map(|member| member.role.as_str()).collect();
    assert_eq!(roles, ["vm1", "vm2", "vm3"]);
    let wanted = derive(host().host.id, Purpose::Luks, "vm1", 0).to_string();
    assert_eq!(members[0].luks_uuid, wanted);
}

#[test]
fn f4_a_member_that_is_not_there_is_missing_and_a_foreign_header_is_no_member() {
    let members = vmstore();
    let headers = [
        (members[0].luks_uuid.clone(), Path::new("/dev/a1")),
        ("11111111-2222-4333-8444-555555555555".to_owned(), Path::new("/dev/b1")),
    ];
    let found = choose(&members, &headers).unwrap();
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        [("vm1".to_owned(), PathBuf::from("/dev/a1"))]
    );
}

#[test]
fn t04_a_cloned_header_is_refused() {
    let members = vmstore();
    let headers = [
        (members[1].luks_uuid.clone(), Path::new("/dev/a1")),
        (members[1].luks_uuid.clone(), Path::new("/dev/b1")),
    ];
    let error = choose(&members, &headers).unwrap_err();
    assert!(error.to_string().contains("/dev/a1 and /dev/b1"), "{error}");
}

#[test]
fn degraded_is_said_only_when_a_member_is_missing() {
    let nodes = ["/dev/mapper/a".to_owned(), "/dev/mapper/b".to_owned()];
    assert_eq!(mount_options(&nodes, false), "device=/dev/mapper/a,device=/dev/mapper/b");
    assert!(mount_options(&nodes, true).ends_with(",degraded"));
}

#[test]
fn a_mount_below_or_above_is_no_mount_of_the_pool() {
    let table = "36 35 0:50 / /mnt/bulk rw - btrfs /dev/dm-1 rw\n";
    assert!(mounted_in(table, "/mnt/bulk"));
    assert!(!mounted_in(table, "/mnt"));
    assert!(!mounted_in(table, "/mnt/bulk/apps"));
    let covered = format!("{table}37 36 0:51 / /mnt/bulk rw - tmpfs x rw\n");
    assert!(!mounted_in(&covered, "/mnt/bulk"), "t39: a tmpfs in its place");
}
