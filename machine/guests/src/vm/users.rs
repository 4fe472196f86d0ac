//! Which domains have a file in a directory that is to be deleted: of any name, running or not.

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_events::shown::shown;
use bedplate_libvirt::Domain;
use bedplate_tools::qcow2;
use bedplate_tools::virsh::Virsh;

use super::model::{self, Model, Source};
use super::observe::{DomainFound, Observed};

/// The files that a domain has to do with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// As they are named, and by their true names; with what disks are based on.
    pub paths: Vec<PathBuf>,
    /// What could not be found out.
    pub unknown: Vec<String>,
}

/// All files of `domain`, of what it runs with and of what it is defined as. `is_gone` says of a path where
/// nothing is whether its place is there, so that nothing will be: a pool may just not be mounted.
pub fn files(virsh: &Virsh, domain: &Domain, is_gone: &dyn Fn(&Path) -> bool) -> Files {
    let mut files = Files::default();
    if domain.persistent.is_none() || domain.running && domain.live.is_none() {
        files.unknown.push("libvirt does not say how it is defined".to_owned());
    }
    for xml in [&domain.persistent, &domain.live].into_iter().flatten() {
        match (model::paths(xml), Model::parse(xml)) {
            (Ok(paths), Ok(model)) => {
                files.paths.extend(paths);
                volumes(virsh, &model, &mut files);
                files.hidden(disks(&model), is_gone);
            }
            _ => files.unknown.push("its definition cannot be read".to_owned()),
        }
    }
    files.follow(is_gone);
    files
}

/// The images that a guest writes to. A device is none.
fn disks(model: &Model) -> impl Iterator<Item = &Path> {
    let disks = model.disks.iter().filter(|disk| disk.device == "disk");
    disks.filter_map(|disk| match &disk.source {
        Some(Source::File(path)) if !path.starts_with("/dev") => Some(path.as_path()),
        Some(Source::File(_) | Source::Volume { .. } | Source::Other(_)) | None => None,
    })
}

/// Where the volumes of storage pools are, libvirt alone knows.
fn volumes(virsh: &Virsh, model: &Model, files: &mut Files) {
    for source in model.disks.iter().filter_map(|disk| disk.source.as_ref()) {
        let Source::Volume { pool, volume } = source else { continue };
        match virsh.volume_path(pool, volume) {
            Ok(path) => files.paths.push(path),
            Err(_) => files.unknown.push(format!("where its {source} is cannot be found out")),
        }
    }
}

impl Files {
    /// Images that cannot be looked into now, and will be there again: what they are based on is not known.
    fn hidden<'a>(
        &mut self,
        images: impl Iterator<Item = &'a Path>,
        is_gone: &dyn Fn(&Path) -> bool,
    ) {
        let hidden = images.filter(|path| !path.exists() && !is_gone(path));
        self.unknown.extend(hidden.map(|path| {
            format!(
                "its disk {} is not there now, and what it is based on is not known",
                path.display()
            )
        }));
    }

    /// Adds what the images are based on, where the data of each is, and the true names of all.
    fn follow(&mut self, is_gone: &dyn Fn(&Path) -> bool) {
        for path in std::mem::take(&mut self.paths) {
            // Images alone: a device or a fifo might never answer.
            let is_file = fs::metadata(&path).is_ok_and(|found| found.is_file());
            let needs = if is_file { qcow2::needs(&path) } else { qcow2::Needs::default() };
            self.hidden(needs.files.iter().map(PathBuf::as_path), is_gone);
            self.unknown.extend(needs.unread.iter().map(|(image, why)| {
                format!("what {} needs cannot be found out: {why}", image.display())
            }));
            for one in needs.files.into_iter().chain([path]) {
                self.paths.extend(fs::canonicalize(&one).ok().filter(|real| *real != one));
                self.paths.push(one);
            }
        }
        self.paths.sort_unstable();
        self.paths.dedup();
    }
}

/// Why the directory of the machine `name` must stay: another domain has a file in it.
pub fn of(observed: &Observed, name: &str, directory: &Path) -> Option<String> {
    let real = observed.files.get(name).and_then(|files| files.real.as_deref());
    let others = observed.domains.iter().filter(|(other, _)| *other != name);
    others.into_iter().find_map(|(other, found)| uses(other, found, directory, real))
}

/// Why `directory`, which is `real`, must stay for the domain `other`.
pub fn uses(
    other: &str,
    found: &DomainFound,
    directory: &Path,
    real: Option<&Path>,
) -> Option<String> {
    let inside = |path: &&PathBuf| {
        path.starts_with(directory) || real.is_some_and(|real| path.starts_with(real))
    };
    let other = shown(other);
    let stays = format!("{} is not deleted and nothing is removed", directory.display());
    if let Some(path) = found.files.paths.iter().find(inside) {
        return Some(format!(
            "{stays}: the domain {other} has {} (`virsh domblklist {other}`); give it a place of its \
             own first, or `virsh undefine {other}` where it may go",
            shown(&path.to_string_lossy())
        ));
    }
    let why = found.files.unknown.first()?;
    Some(format!(
        "{stays}: the domain {other} may have a file in it: {} (`virsh dumpxml {other}`)",
        shown(why)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(xml: &str) -> Domain {
        Domain { name: "copy".into(), persistent: Some(xml.to_owned()), ..Domain::default() }
    }

    fn found(xml: &str) -> DomainFound {
        found_of(&domain(xml))
    }

    /// On a machine whose pools are all mounted but that at `/mnt/away`.
    fn found_of(domain: &Domain) -> DomainFound {
        let is_gone = |path: &Path| !path.starts_with("/mnt/away");
        let files = files(&Virsh::new("test:///no/such/file"), domain, &is_gone);
        DomainFound { files, ..DomainFound::default() }
    }

    #[test]
    fn t49_a_file_in_the_directory_is_seen_wherever_it_stands_in_a_definition() {
        let of = |devices: &str| {
            let xml = format!(
                "<domain><os><kernel>/x</kernel></os><devices>{devices}</devices></domain>"
            );
            uses("copy", &found(&xml), Path::new("/mnt/vmstore/haos"), None)
        };
        for devices in [
            "<disk><source file='/mnt/vmstore/haos/haos.qcow2'/></disk>",
            "<disk device='cdrom'><source file='/mnt/vmstore/haos/a.iso'/></disk>",
            "<disk><source file='/x'><backingStore><source file='/mnt/vmstore/haos/b'/></backingStore></source></disk>",
            "<disk><source dev='/mnt/vmstore/haos/b'/></disk>",
            "<filesystem><source dir='/mnt/vmstore/haos'/></filesystem>",
            "<serial><log file='/mnt/vmstore/haos/log'/></serial>",
            "<arg value='file=/mnt/vmstore/haos/b.qcow2,if=none'/>",
            "<arg value='local,path=/mnt/vmstore/haos,mount_tag=a'/>",
            "<arg value='{&quot;filename&quot;:&quot;/mnt/vmstore/haos/b&quot;,&quot;node&quot;:1}'/>",
        ] {
            let why = of(devices).unwrap();
            assert!(why.contains("the domain copy has /mnt/vmstore/haos"), "{why}");
        }
        for devices in ["", "<disk><source file='/mnt/vmstore/haos2/haos.qcow2'/></disk>"] {
            assert_eq!(of(devices), None, "{devices}");
        }
    }

    #[test]
    fn t49_what_an_overlay_elsewhere_is_based_on_counts_as_used() {
        let place = tempfile::tempdir().unwrap();
        let (directory, elsewhere) = (place.path().join("haos"), place.path().join("copy.qcow2"));
        fs::create_dir(&directory).unwrap();
        let base = directory.join("haos.qcow2");
        bedplate_tools::qemu_img::create(&base, 1 << 20).unwrap();
        let mut command = std::process::Command::new("qemu-img");
        command.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]);
        assert!(command.arg(&base).arg(&elsewhere).status().unwrap().success());
        let with = |path: &Path| {
            let path = path.display();
            found(&format!(
                "<domain><devices><disk><source file='{path}'/></disk></devices></domain>"
            ))
        };
        let why = uses("copy", &with(&elsewhere), &directory, None).unwrap();
        assert!(why.contains("haos.qcow2"), "{why}");
        // By another name of the same file.
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&base, &link).unwrap();
        let real = fs::canonicalize(&directory).unwrap();
        assert!(uses("copy", &with(&link), &directory, Some(&real)).is_some());
    }

    #[test]
    fn t49_the_data_of_an_image_elsewhere_counts_as_used() {
        let place = tempfile::tempdir().unwrap();
        let (directory, elsewhere) = (place.path().join("haos"), place.path().join("copy.qcow2"));
        fs::create_dir(&directory).unwrap();
        let make = |options: &[&str], image: &Path| {
            let mut command = std::process::Command::new("qemu-img");
            command.current_dir(place.path()).args(["create", "-q", "-f", "qcow2"]).args(options);
            assert!(command.arg(image).arg("1M").status().unwrap().success());
        };
        make(&["-o", "data_file=haos/data.raw"], &elsewhere);
        let over = place.path().join("over.qcow2");
        make(&["-F", "qcow2", "-b", "copy.qcow2"], &over);
        for image in [&elsewhere, &over] {
            let image = image.display();
            let xml = format!(
                "<domain><devices><disk><source file='{image}'/></disk></devices></domain>"
            );
            let why = uses("copy", &found(&xml), &directory, None).unwrap();
            assert!(why.contains("haos/data.raw"), "{why}");
        }
    }

    #[test]
    fn t49_an_overlay_on_a_pool_that_is_not_mounted_may_be_based_on_anything() {
        let of = |path: &str| {
            let xml =
                format!("<domain><devices><disk><source file='{path}'/></disk></devices></domain>");
            uses("copy", &found(&xml), Path::new("/mnt/vmstore/haos"), None)
        };
        let why = of("/mnt/away/copy.qcow2").unwrap();
        assert!(why.contains("its disk /mnt/away/copy.qcow2 is not there now"), "{why}");
        // One that is gone for good keeps nothing.
        assert_eq!(of("/mnt/vmstore/copy/copy.qcow2"), None);
    }

    #[test]
    fn t49_a_domain_that_libvirt_does_not_describe_may_have_anything() {
        let whole = domain("<domain/>");
        let of =
            |domain: &Domain| uses("copy", &found_of(domain), Path::new("/mnt/vmstore/haos"), None);
        assert_eq!(of(&whole), None);
        let running = Domain { running: true, ..whole.clone() };
        let undefined = Domain { persistent: None, ..whole };
        for one in [running, undefined] {
            assert!(of(&one).unwrap().contains("libvirt does not say"), "{one:?}");
        }
    }

    #[test]
    fn t49_what_cannot_be_known_keeps_the_directory() {
        let volume = "<domain><devices><disk type='volume'><source pool='p' volume='v'/></disk></devices></domain>";
        for xml in [volume, "<domain><a></b></domain>"] {
            let why = uses("copy", &found(xml), Path::new("/mnt/vmstore/haos"), None).unwrap();
            assert!(why.contains("may have a file"), "{why}");
        }
    }
}
