//! What cloud-init is told: a small VFAT volume that its data source NoCloud looks for
//! (<https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html>).
//!
//! The same intent gives the same bytes, so that comparing them says whether it has changed.

use std::io::{self, Cursor, Write as _};
use std::path::{Path, PathBuf};

use bedplate_model::host::CloudInit;
use fatfs::{FormatVolumeOptions, FsOptions};
use serde_json::json;

/// Size of the volume, in bytes.
const SIZE: usize = 256 << 10;
/// The name that NoCloud looks for.
const LABEL: [u8; 11] = *b"CIDATA     ";
/// The volume id says nothing; it is always the same.
const VOLUME_ID: u32 = 0xbed1_a7e0;

/// Name of its file.
pub const FILE: &str = "seed.img";

/// Where the seed of a machine stands.
pub fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// The volume that tells `seed` to the machine `instance`.
pub fn image(instance: &str, seed: &CloudInit) -> io::Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0; SIZE]);
    let options = FormatVolumeOptions::new().volume_label(LABEL).volume_id(VOLUME_ID);
    fatfs::format_volume(&mut volume, options)?;
    volume.set_position(0);
    let system = fatfs::FileSystem::new(&mut volume, FsOptions::new())?;
    for (name, text) in [("meta-data", meta(instance, seed)), ("user-data", user(seed))] {
        let mut file = system.root_dir().create_file(name)?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
    }
    system.unmount()?;
    Ok(volume.into_inner())
}

/// JSON is YAML, and needs no other escaping than its own.
fn meta(instance: &str, seed: &CloudInit) -> String {
    json!({ "instance-id": instance, "local-hostname": seed.hostname }).to_string()
}

fn user(seed: &CloudInit) -> String {
    let account = json!({
        "name": seed.user,
        "ssh_authorized_keys": seed.ssh_keys,
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "shell": "/bin/bash",
        "lock_passwd": true,
    });
    let document = json!({
        "hostname": seed.hostname,
        "users": [account],
        "ssh_pwauth": false,
        "packages": seed.packages,
    });
    format!("#cloud-config\n{document}\n")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn seed() -> CloudInit {
        CloudInit {
            hostname: "apps".into(),
            user: "admin".into(),
            ssh_keys: vec!["ssh-ed25519 AAAA me@laptop".into()],
            packages: vec!["qemu-guest-agent".into()],
        }
    }

    #[test]
    fn the_volume_holds_what_cloud_init_looks_for_and_is_always_the_same() {
        let bytes = image("id-1", &seed()).unwrap();
        assert_eq!(bytes, image("id-1", &seed()).unwrap());
        let system = fatfs::FileSystem::new(Cursor::new(bytes), FsOptions::new()).unwrap();
        assert_eq!(system.volume_label(), "CIDATA");
        let mut text = String::new();
        for name in ["meta-data", "user-data"] {
            let mut file = system.root_dir().open_file(name).unwrap();
            text += &format!("== {name}\n");
            file.read_to_string(&mut text).unwrap();
            text.push('\n');
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn t17_no_string_leaves_its_place_in_the_document() {
        let attack = "x\"]}\nruncmd: [id]\n#";
        let seed = CloudInit { packages: vec![attack.into()], hostname: attack.into(), ..seed() };
        let text = user(&seed);
        let json = text.strip_prefix("#cloud-config\n").unwrap();
        let read: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(read["packages"][0], attack);
        assert!(read.get("runcmd").is_none());
    }
}
