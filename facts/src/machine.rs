//! The machine around the disks: firmware, memory, network interfaces, the booted medium.

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_spec::boot::{TOPLEVEL, TREE};
use bedplate_spec::facts::{Facts, FirmwareKind, NicFacts, SystemImageFacts};
use bedplate_spec::system_image::{DESCRIPTION, Holder, SystemImage};
use bedplate_tools::nix::registration;

use super::roots::{Roots, names, number, text};
use super::{disks, modules};

/// No stack of mappings is deeper.
const DEPTH: u32 = 16;

/// Everything the planner knows of this machine.
pub fn read(roots: &Roots) -> Facts {
    let efi = roots.sys.join("firmware/efi").is_dir();
    Facts {
        schema: 1,
        disks: disks::read_all(roots),
        firmware: if efi { FirmwareKind::Uefi } else { FirmwareKind::Bios },
        firmware_bits: number(&roots.sys.join("firmware/efi/fw_platform_size"))
            .and_then(|bits| u32::try_from(bits).ok()),
        memory_bytes: memory_bytes(roots, "MemTotal:").unwrap_or(0),
        platform: Some(format!("{}-linux", std::env::consts::ARCH)),
        microcode: modules::microcode(roots).map(str::to_owned),
        nics: nics(roots),
        boot_medium: boot_medium(roots),
        closure_bytes: closure_bytes(roots),
        built_bytes: built_bytes(roots),
        system_image: system_image(roots, Holder::Tree),
        built_image: system_image(roots, Holder::Toplevel),
    }
}

/// The sizes in the registrations of the images on the medium that are copied: a closure of its
/// own stands in the place of the live system's tree, and a system that was built in advance may
/// come on top.
fn closure_bytes(roots: &Roots) -> Option<u64> {
    let first = if roots.images.join("closure").exists() { "closure" } else { TREE };
    let live = [first, "programs"].into_iter().map(|image| image_bytes(roots, image));
    let built = roots.images.join(TOPLEVEL).exists().then(|| built_bytes(roots));
    live.chain(built).sum()
}

fn built_bytes(roots: &Roots) -> Option<u64> {
    image_bytes(roots, TOPLEVEL)
}

fn image_bytes(roots: &Roots, image: &str) -> Option<u64> {
    let file = roots.images.join(image).join("registration");
    registered_bytes(&fs::read_to_string(file).ok()?)
}

/// The file system in an image of the medium. The live system's own tree counts for none when another
/// closure is installed in its place.
fn system_image(roots: &Roots, holder: Holder) -> Option<SystemImageFacts> {
    if holder == Holder::Tree && roots.images.join("closure").exists() {
        return None;
    }
    let text = fs::read(roots.images.join(holder.image()).join(DESCRIPTION)).ok()?;
    let image = SystemImage::parse(&text)?;
    Some(SystemImageFacts { size: image.size, bytes: image.bytes() })
}

fn registered_bytes(text: &str) -> Option<u64> {
    let paths = registration::parse(text)?;
    paths.iter().try_fold(0_u64, |sum, path| sum.checked_add(path.size))
}

/// A line of `/proc/meminfo`, in bytes.
pub fn memory_bytes(roots: &Roots, key: &str) -> Option<u64> {
    let table = fs::read_to_string(roots.proc.join("meminfo")).ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn nics(roots: &Roots) -> Vec<NicFacts> {
    let class = roots.sys.join("class/net");
    let read = |name: String| {
        let place = class.join(&name);
        // Bridges, tunnels and the loopback have no device behind them.
        let driver = fs::read_link(place.join("device/driver")).ok();
        place.join("device").exists().then(|| NicFacts {
            mac: text(&place.join("address")).unwrap_or_default().to_lowercase(),
            driver: driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
            modules: modules::of_nic(roots, &name),
            link: number(&place.join("carrier")) == Some(1),
            name,
        })
    };
    names(&class).into_iter().filter_map(read).collect()
}

/// The disk behind the mounted medium, by its device number.
fn boot_medium(roots: &Roots) -> Option<String> {
    let table = fs::read_to_string(roots.proc.join("self/mountinfo")).ok()?;
    let medium = roots.medium.to_str()?;
    let number = table.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (words.get(4) == Some(&medium)).then(|| words.get(2).map(|word| (*word).to_owned()))?
    })?;
    let device = fs::canonicalize(roots.sys.join("dev/block").join(number)).ok()?;
    Some(whole_disk(&device, 0)?.file_name()?.to_string_lossy().into_owned())
}

/// The disk a device lies on: through mappings down to the first of their parts, then from a
/// partition to its disk.
fn whole_disk(device: &Path, depth: u32) -> Option<PathBuf> {
    let slaves = device.join("slaves");
    match names(&slaves).first() {
        Some(slave) if depth < DEPTH => {
            whole_disk(&fs::canonicalize(slaves.join(slave)).ok()?, depth + 1)
        }
        _ if device.join("partition").exists() => device.parent().map(Path::to_owned),
        _ => Some(device.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f8_the_size_of_the_system_is_read_from_its_registration() {
        let text = "/nix/store/a-x\nsha256:1\n700\n\n0\n/nix/store/b-y\nsha256:2\n50\n\n1\n/nix/store/a-x\n";
        assert_eq!(registered_bytes(text), Some(750));
        assert_eq!(registered_bytes(""), Some(0));
        assert_eq!(registered_bytes("/nix/store/a-x\nsha256:1\nmany\n\n0\n"), None);
        let place = tempfile::tempdir().unwrap();
        let roots = Roots { images: place.path().to_owned(), ..Roots::below(place.path(), None) };
        let register = |image: &str, text: &str| {
            fs::create_dir(place.path().join(image)).unwrap();
            fs::write(place.path().join(image).join("registration"), text).unwrap();
        };
        assert_eq!(closure_bytes(&roots), None);
        register("tree", text);
        register("programs", text);
        assert_eq!((closure_bytes(&roots), built_bytes(&roots)), (Some(1500), None));
        register(TOPLEVEL, "/nix/store/c-z\n3\n7\n\n0\n");
        assert_eq!((closure_bytes(&roots), built_bytes(&roots)), (Some(1507), Some(7)));
    }
}
