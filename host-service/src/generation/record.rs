//! What another boot loader's installer wrote, noted by content: NixOS's names kernels by their store
//! paths, and nobody could tell a broken one.

use std::collections::BTreeMap;
use std::path::Path;

use bedplate_facts::boot_chain::{self, FIRST, IMAGES, SECOND, images_of, is_list};
use bedplate_spec::plan::{BOOT, BOOT_MIRROR};

use super::esp::{Esp, digest};
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
        paths.extend(images_of(&esp.text(&format!("{}/{name}", boot_chain::ENTRIES))));
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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
        let hash = crate::digest::of_bytes(b"another");
        assert!(text.contains(&format!("{hash}  EFI/nixos/k.efi\n")), "{text}");
    }
}
