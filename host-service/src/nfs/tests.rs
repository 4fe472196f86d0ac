use super::*;
use bedplate_sample as sample;

fn mounted() -> Observed {
    Observed { mounts: sample::mounts(), ..Observed::default() }
}

fn as_wanted(intent: &HostFile) -> Observed {
    let text = text(intent, &mounted());
    let table = intent.nfs.exports.iter().flat_map(|export| {
        let one = |client: &bedplate_model::host::Cidr| Exported {
            path: export.path.clone(),
            client: client.to_string(),
        };
        export.clients.iter().map(one).collect::<Vec<_>>()
    });
    Observed {
        mounts: sample::mounts(),
        applied: Some(stamp(&text)),
        file: Some(text),
        table: table.collect(),
        serving: true,
        places: intent.nfs.exports.iter().map(|one| (one.path.clone(), Place::Directory)).collect(),
    }
}

fn actions(resources: &[Resource<Action>]) -> Vec<String> {
    resources.iter().flat_map(|one| &one.actions).map(ToString::to_string).collect()
}

#[test]
fn the_file_of_exports() {
    insta::assert_snapshot!(text(&sample::intent(), &mounted()));
}

#[test]
fn nothing_is_done_when_the_kernel_has_what_is_intended() {
    let intent = sample::intent();
    let resources = diff(&intent, &as_wanted(&intent));
    assert!(actions(&resources).is_empty(), "{resources:?}");
    assert!(resources.iter().all(|one| one.refused.is_none()));
}

#[test]
fn everything_is_done_on_a_fresh_machine() {
    let observed = mounted();
    insta::assert_json_snapshot!(diff(&sample::intent(), &observed));
}

#[test]
fn f10_exports_written_but_not_applied_are_applied() {
    let intent = sample::intent();
    let observed = Observed { applied: None, ..as_wanted(&intent) };
    assert_eq!(actions(&diff(&intent, &observed)), ["apply the exports"]);
}

#[test]
fn t37_exports_of_an_unmounted_pool_and_to_everyone_are_withdrawn_and_reported() {
    let mut intent = sample::intent();
    let unmounted = Observed { mounts: Mounts::default(), ..as_wanted(&intent) };
    let resources = diff(&intent, &unmounted);
    assert!(resources[0].refused.as_deref().unwrap().contains("not mounted"));
    let written = resources.iter().flat_map(|one| &one.actions).find_map(|action| match action {
        Action::Write { text } => Some(text.as_str()),
        _ => None,
    });
    assert_eq!(written, Some(HEADER));
    assert!(actions(&resources).contains(&"apply the exports".to_owned()));

    let everyone = "0.0.0.0/0".to_owned().try_into().unwrap();
    intent.nfs.exports[0].clients = vec![everyone];
    let resources = diff(&intent, &as_wanted(&intent));
    assert_eq!(resources[0].refused.as_deref(), Some("0.0.0.0/0 is everyone"));
}

#[test]
fn t17_a_path_cannot_end_its_word() {
    assert_eq!(escape("/mnt/a b\"(c\n"), "/mnt/a\\040b\\042\\050c\\012");
}

#[test]
fn a_directory_is_open_only_where_clients_write_and_root_is_squashed() {
    let mut export = sample::intent().nfs.exports.remove(0);
    assert_eq!(directory_mode(&export), 0o1777);
    export.options.push("no_root_squash".into());
    assert_eq!(directory_mode(&export), 0o755);
    export.options = vec!["ro".into()];
    assert_eq!(directory_mode(&export), 0o755);
}

#[test]
fn status_says_to_whom_a_directory_should_be_and_is_exported() {
    let intent = sample::intent();
    let found = describe(&intent, &as_wanted(&intent), "/mnt/bulk/homeassistant-vm").unwrap();
    assert_eq!(found.intent, "to 192.168.1.0/24, 100.64.0.0/10 (rw,sync,no_subtree_check)");
    assert_eq!(found.reality, "exported to 192.168.1.0/24, 100.64.0.0/10");
    let nobody = describe(&intent, &Observed::default(), "/mnt/bulk/apps-vm").unwrap();
    assert_eq!(nobody.reality, "exported to nobody");
}

#[test]
fn t37_an_export_behind_a_link_is_withdrawn_and_hides_no_other() {
    let (pool, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mount = pool.path().display().to_string();
    let mut intent = sample::intent();
    intent.pools.get_mut("bulk").unwrap().mount = mount.clone();
    std::os::unix::fs::symlink(elsewhere.path(), pool.path().join("way")).unwrap();
    fs::create_dir(elsewhere.path().join("apps")).unwrap();
    intent.nfs.exports[0].path = format!("{mount}/way/apps");
    intent.nfs.exports[1].path = format!("{mount}/own");
    let context = Context {
        mounts: Mounts::parse(&format!("1 1 0:1 / {mount} rw - btrfs a rw\n")),
        intent,
        configuration: pool.path().join("etc"),
        runtime: pool.path().join("run"),
        state: pool.path().join("state"),
    };
    let places = context.intent.nfs.exports.iter();
    let places = places.filter_map(|one| Some((one.path.clone(), look(&context, one)?))).collect();
    let observed = Observed { mounts: context.mounts.clone(), places, ..Observed::default() };
    let found = diff(&context.intent, &observed);
    let told = found[0].refused.as_deref().unwrap();
    assert!(told.contains(&format!("{mount}/way is a symbolic link to ")), "{told}");
    assert_eq!(actions(&found[1..2]), [format!("make {mount}/own (mode 1777)")]);
    let text = text(&context.intent, &observed);
    assert!(text.contains("/own ") && !text.contains("/way"), "{text}");
}
