//! Programs that this machine lacks, each with the package that brings it.

use std::error::Error;
use std::io::ErrorKind;

use bedplate_tools::command::CommandError;
use bedplate_tools::programs;

/// What `bedplate iso` starts, in Debian's packages.
pub const FOR_MEDIA: [&str; 6] =
    ["mmdebstrap", "mksquashfs", "mkfs.erofs", "veritysetup", "patchelf", "xorriso"];

/// Programs by the packages of Debian and Ubuntu that hold them.
const PACKAGES: [(&str, &str); 16] = [
    ("age", "age"),
    ("git", "git"),
    ("mkfs.erofs", "erofs-utils"),
    ("mksquashfs", "squashfs-tools"),
    ("mmdebstrap", "mmdebstrap debian-archive-keyring"),
    ("nix", "nix-bin"),
    ("patchelf", "patchelf"),
    ("qemu-img", "qemu-utils"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("ssh-keyscan", "openssh-client"),
    ("unshare", "util-linux"),
    ("veritysetup", "cryptsetup-bin"),
    ("virsh", "libvirt-clients"),
    ("wipefs", "util-linux"),
    ("xorriso", "xorriso"),
];

/// What to install when `error` comes of a program that is not there.
pub fn help(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(one) = next {
        match one.downcast_ref::<CommandError>() {
            Some(CommandError::Start { program, source })
                if source.kind() == ErrorKind::NotFound =>
            {
                return help_for(program, |name| programs::find(name).is_some());
            }
            _ => next = one.source(),
        }
    }
    None
}

/// Who lacks one of the programs for media is told of all that are lacking.
fn help_for(program: &str, is_there: impl Fn(&str) -> bool) -> Option<String> {
    let for_media = FOR_MEDIA.contains(&program);
    let others = FOR_MEDIA.into_iter().filter(|name| for_media && !is_there(name));
    let mut lacking: Vec<&str> = vec![program];
    lacking.extend(others.filter(|name| *name != program));
    let package = |name: &&str| PACKAGES.iter().find(|(known, _)| known == name);
    let packages: Vec<&str> = lacking.iter().filter_map(package).map(|(_, it)| *it).collect();
    if packages.is_empty() {
        return None;
    }
    let verb = if lacking.len() == 1 { "is" } else { "are" };
    Some(format!(
        "{} {verb} not installed here; on Debian and Ubuntu: `apt install {}`",
        lacking.join(", "),
        packages.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use bedplate_tools::command::CommandExt as _;

    use super::*;

    #[test]
    fn what_is_not_installed_is_told_with_its_package_and_all_that_a_medium_wants_at_once() {
        let help = help_for("mksquashfs", |name| name == "xorriso").unwrap();
        assert!(help.starts_with("mksquashfs, mmdebstrap, mkfs.erofs, veritysetup, patchelf are"));
        assert!(help.contains("`apt install squashfs-tools mmdebstrap debian-archive-keyring"));
        let help = help_for("ssh-keyscan", |_| false).unwrap();
        assert_eq!(
            help,
            "ssh-keyscan is not installed here; on Debian and Ubuntu: `apt install openssh-client`"
        );
        assert_eq!(help_for("some-program", |_| false), None);
    }

    #[test]
    fn a_program_that_is_there_and_fails_is_not_called_missing() {
        let failed = Command::new("false").run().unwrap_err();
        assert_eq!(super::help(&failed), None);
        let error = Command::new("/nowhere/mksquashfs").run().unwrap_err();
        assert_eq!(super::help(&error), None, "whoever names a place knows what is missing");
    }
}
