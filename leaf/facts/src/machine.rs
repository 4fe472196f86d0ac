//! The machine around the disks: firmware, memory, network interfaces, the booted medium.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_formats::boot::{TOPLEVEL, TREE};
use bedplate_formats::system_image::{DESCRIPTION, SystemImage};
use bedplate_model::facts::{Facts, FirmwareKind, NicFacts, SystemImageFacts};
use bedplate_model::plan::Holder;
use bedplate_tools::nix::registration;

use super::roots::{Roots, names, number, text};
use super::{disks, modules};

/// How the kernel numbers kinds of hardware (`include/uapi/linux/if_arp.h`).
const ETHERNET: u64 = 1;
/// As [`ETHERNET`].
const INFINIBAND: u64 = 32;

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
            kind: kind(&place).map(str::to_owned),
            other_names: other_names(roots, &place, &name),
            name,
        })
    };
    names(&class).into_iter().filter_map(read).collect()
}

/// What an interface carries; none where sysfs does not say.
fn kind(place: &Path) -> Option<&'static str> {
    let hardware = number(&place.join("type"))?;
    let event = fs::read_to_string(place.join("uevent")).unwrap_or_default();
    let device = event.lines().find_map(|line| line.strip_prefix("DEVTYPE="));
    let is_wireless = place.join("wireless").exists() || place.join("phy80211").exists();
    Some(match (device, hardware) {
        (Some("wwan"), _) => "mobile",
        (Some("wlan"), _) => "wireless",
        _ if is_wireless => "wireless",
        (_, ETHERNET) => "ethernet",
        (_, INFINIBAND) => "infiniband",
        _ => "other",
    })
}

/// Names that udev gives an interface beside the one that it has, and that networkd knows it by.
fn other_names(roots: &Roots, place: &Path, name: &str) -> Vec<String> {
    const KEYS: [&str; 4] = ["FROM_DATABASE", "ONBOARD", "SLOT", "PATH"];
    let Some(index) = number(&place.join("ifindex")) else { return Vec::new() };
    let record = fs::read_to_string(roots.udev.join(format!("n{index}"))).unwrap_or_default();
    let named = record.lines().filter_map(|line| {
        let (key, value) = line.strip_prefix("E:ID_NET_NAME_")?.split_once('=')?;
        (KEYS.contains(&key) && value != name).then(|| value.to_owned())
    });
    named.collect::<BTreeSet<_>>().into_iter().collect()
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
    fn t58_a_wireless_card_is_told_from_a_wired_one() {
        let place = tempfile::tempdir().unwrap();
        let roots = Roots::below(place.path(), None);
        let write = |path: &str, content: &str| {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let nic = |name: &str, hardware: &str, event: &str| {
            write(&format!("sys/class/net/{name}/device/vendor"), "0x8086");
            write(&format!("sys/class/net/{name}/type"), hardware);
            write(&format!("sys/class/net/{name}/uevent"), event);
        };
        nic("eth0", "1", "INTERFACE=eth0\nIFINDEX=2\n");
        nic("radio0", "1", "DEVTYPE=wlan\nINTERFACE=radio0\n");
        nic("radio1", "1", "");
        write("sys/class/net/radio1/phy80211/name", "phy1");
        nic("modem0", "65534", "DEVTYPE=wwan\n");
        nic("ib0", "32", "");
        write("sys/class/net/old0/device/vendor", "0x8086");
        write("sys/class/net/eth0/ifindex", "2");
        write("run/udev/data/n2", "E:ID_NET_NAME_PATH=enp2s0\nE:ID_NET_NAME_MAC=enx1\nE:X=y\n");
        let found = nics(&roots);
        let kinds: Vec<_> =
            found.iter().map(|nic| (nic.name.as_str(), nic.kind.as_deref())).collect();
        let wired = ("eth0", Some("ethernet"));
        let others = [("ib0", Some("infiniband")), ("modem0", Some("mobile")), ("old0", None)];
        let radios = [("radio0", Some("wireless")), ("radio1", Some("wireless"))];
        assert_eq!(kinds, [&[wired][..], &others, &radios].concat());
        assert_eq!(found[0].other_names, ["enp2s0"]);
    }

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
