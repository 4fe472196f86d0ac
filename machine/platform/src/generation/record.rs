//! What another boot loader's installer wrote, noted by content: NixOS's names kernels by their store
//! paths, and nobody could tell a broken one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bedplate_facts::boot_chain::{self, FIRST, IMAGES, SECOND, images_of, is_list};
use bedplate_model::plan::{BOOT, BOOT_MIRROR};

use super::esp::{Esp, digest};
use super::wanted::Part;
use super::{GenerationError, is_mount_point};

/// What is noted beside what entries name.
const LOADERS: [&str; 4] = [FIRST, SECOND, "EFI/systemd/systemd-bootx64.efi", "loader/loader.conf"];

/// Notes what stands on the ESP and looks whether the disk has it; then, when `mirrored`, makes the
/// copy of the ESP what the ESP is.
pub fn record(mirrored: bool) -> Result<(), GenerationError> {
    let esp = Path::new(BOOT);
    if !is_mount_point(esp) {
        return Err(GenerationError::NoEsp { path: esp.to_owned() });
    }
    note(&Esp::at(esp)?)?;
    if !mirrored {
        return Ok(());
    }
    let copied = super::copy(esp, Path::new(BOOT_MIRROR));
    copied.map_err(|source| GenerationError::Mirror { source: Box::new(source) })
}

fn note(esp: &Esp) -> Result<(), GenerationError> {
    esp.tidy()?;
    let mut paths: Vec<String> = LOADERS.map(str::to_owned).into();
    for name in esp.names(boot_chain::ENTRIES)? {
        let text = esp.text(&format!("{}/{name}", boot_chain::ENTRIES));
        for original in Original::of(&text) {
            original.mend(esp)?;
        }
        paths.extend(images_of(&text));
    }
    let mut hashes = BTreeMap::new();
    for path in paths {
        let file = esp.root.join(&path);
        if file.is_file() {
            // What was written, from memory; what became of it on the disk is looked at below.
            hashes.insert(path, digest(&file)?);
        }
    }
    let (path, text) =
        boot_chain::list(hashes.iter().map(|(path, hash)| (path.as_str(), hash.as_str())));
    esp.write(&path, &text)?;
    for name in esp.names(IMAGES)?.into_iter().filter(|name| is_list(name)) {
        let old = format!("{IMAGES}/{name}");
        if old != path {
            esp.remove(&old)?;
        }
    }
    match esp.chain()? {
        Some(chain) if !chain.is_bootable() => {
            Err(GenerationError::Broken { esp: esp.root.clone(), faults: chain.faults() })
        }
        _ => Ok(()),
    }
}

/// An image, and what it was copied from. NixOS's installer copies straight to the name that it has in
/// the end, and never again where that name is: what a power cut left of one would be noted as right.
struct Original {
    /// On the ESP.
    path: String,
    /// In the store.
    source: PathBuf,
    /// Secrets may be appended to an initrd, by this program of its system.
    appender: Option<PathBuf>,
}

impl Original {
    /// Those of an entry whose system is in the store.
    fn of(entry: &str) -> Vec<Self> {
        let init =
            |word: &str| word.strip_prefix("init=")?.strip_suffix("/init").map(PathBuf::from);
        let Some(toplevel) = entry.split_whitespace().find_map(init) else { return Vec::new() };
        let appender = Some(toplevel.join("append-initrd-secrets"));
        let of = |(name, appender): (&str, Option<PathBuf>)| {
            let source = fs::canonicalize(toplevel.join(name)).ok()?;
            let copied = name_of(&source)?;
            let is_copy = |path: &String| {
                path.rsplit('/').next().is_some_and(|name| name.eq_ignore_ascii_case(&copied))
            };
            let path = images_of(entry).into_iter().find(is_copy)?;
            Some(Self { path, source, appender })
        };
        [("kernel", None), ("initrd", appender)].into_iter().filter_map(of).collect()
    }

    /// Writes it again where it is not what it was copied from.
    fn mend(&self, esp: &Esp) -> Result<(), GenerationError> {
        let file = esp.root.join(&self.path);
        let Ok(length) = fs::metadata(&file).map(|found| found.len()) else { return Ok(()) };
        let part = Part::file(&self.path, &self.source)?;
        let may_grow = self.appender.is_some();
        let fits = length == part.size || may_grow && length > part.size;
        if fits && start_of(&file, part.size).is_ok_and(|hash| hash == part.hash) {
            return Ok(());
        }
        esp.put(&part)?;
        match &self.appender {
            Some(appender) if appender.exists() => Err(GenerationError::Broken {
                esp: esp.root.clone(),
                faults: vec![format!("{} was torn and lacks the initrd's secrets now", self.path)],
            }),
            _ => Ok(()),
        }
    }
}

/// What NixOS's installer calls the copy of a file of the store.
fn name_of(source: &Path) -> Option<String> {
    let directory = source.parent()?.file_name()?.to_str()?;
    Some(format!("{directory}-{}.efi", source.file_name()?.to_str()?))
}

/// Hash of the first bytes of a file.
fn start_of(path: &Path, length: u64) -> io::Result<String> {
    bedplate_tools::digest::of_reader(File::open(path)?.take(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system in a store, and its entry as NixOS writes it.
    fn system(place: &Path) -> (PathBuf, String) {
        let put = |path: &str, content: &str| {
            let path = place.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put("store/aa-linux-6.12/bzImage", "MZ the kernel");
        put("store/bb-initrd/initrd", "the initrd");
        let toplevel = place.join("store/cc-nixos-system");
        fs::create_dir(&toplevel).unwrap();
        for (name, source) in [("kernel", "aa-linux-6.12/bzImage"), ("initrd", "bb-initrd/initrd")]
        {
            std::os::unix::fs::symlink(place.join("store").join(source), toplevel.join(name))
                .unwrap();
        }
        put("esp/EFI/nixos/aa-linux-6.12-bzImage.efi", "MZ the kernel");
        put("esp/EFI/nixos/bb-initrd-initrd.efi", "the initrd");
        let init = toplevel.display();
        let entry = format!(
            "title NixOS\nlinux /EFI/nixos/aa-linux-6.12-bzImage.efi\n\
             initrd /EFI/nixos/bb-initrd-initrd.efi\noptions init={init}/init quiet\n"
        );
        put("esp/loader/entries/nixos-generation-1.conf", &entry);
        (place.join("esp"), toplevel.display().to_string())
    }

    #[test]
    fn t45_what_a_cut_left_of_a_copied_image_is_written_again_and_not_noted_as_right() {
        let place = tempfile::tempdir().unwrap();
        let (root, toplevel) = system(&place.path().canonicalize().unwrap());
        let esp = Esp::at(&root).unwrap();
        let kernel = root.join("EFI/nixos/aa-linux-6.12-bzImage.efi");
        let initrd = root.join("EFI/nixos/bb-initrd-initrd.efi");
        for torn in ["", "MZ the", "MZ the garbag"] {
            fs::write(&kernel, torn).unwrap();
            note(&esp).unwrap();
            assert_eq!(fs::read_to_string(&kernel).unwrap(), "MZ the kernel");
        }
        let list = esp.names(IMAGES).unwrap();
        let text = esp.text(&format!("{IMAGES}/{}", list[0]));
        assert!(text.contains(&bedplate_tools::digest::of_bytes(b"MZ the kernel")), "{text}");
        // What was appended to an initrd stays.
        fs::write(&initrd, "the initrd, and secrets").unwrap();
        note(&esp).unwrap();
        assert_eq!(fs::read_to_string(&initrd).unwrap(), "the initrd, and secrets");
        // It has to be appended again to one that was torn.
        fs::write(Path::new(&toplevel).join("append-initrd-secrets"), "").unwrap();
        fs::write(&initrd, "the ini").unwrap();
        assert!(matches!(note(&esp), Err(GenerationError::Broken { .. })));
        assert_eq!(fs::read_to_string(&initrd).unwrap(), "the initrd");
        assert!(note(&esp).is_ok());
    }

    #[test]
    fn t45_what_entries_of_nixos_name_is_noted_by_content_and_an_old_note_goes() {
        let place = tempfile::tempdir().unwrap();
        let put = |path: &str, content: &str| {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put(FIRST, "MZ");
        put("EFI/nixos/k.efi", "kernel");
        put("EFI/nixos/i.efi", "initrd");
        let entry = "title x\nlinux /EFI/nixos/k.efi\ninitrd /EFI/nixos/i.efi\n";
        put("loader/entries/nixos-generation-1.conf", entry);
        let esp = Esp::at(place.path()).unwrap();
        note(&esp).unwrap();
        put("EFI/nixos/k.efi", "another");
        note(&esp).unwrap();
        let lists = esp.names(IMAGES).unwrap();
        assert_eq!(lists.len(), 1, "{lists:?}");
        let text = esp.text(&format!("{IMAGES}/{}", lists[0]));
        assert_eq!(text.lines().count(), 3, "{text}");
        let hash = bedplate_tools::digest::of_bytes(b"another");
        assert!(text.contains(&format!("{hash}  EFI/nixos/k.efi\n")), "{text}");
    }
}
