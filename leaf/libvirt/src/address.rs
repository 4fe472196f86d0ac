//! Where a libvirt of this machine listens.

use std::path::{Path, PathBuf};

use crate::LibvirtError;

/// Sockets of the QEMU driver in the order in which virsh tries them: the daemon that has this
/// driver alone, then the one that has all (libvirt's `daemons` manual, "Switching to modular
/// daemons").
const QEMU_SOCKETS: [&str; 2] = ["/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"];

/// A socket, and what is opened behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The first of these that is there.
    pub(crate) sockets: Vec<PathBuf>,
    /// The URI as the daemon knows it: without transport and parameters.
    pub(crate) name: String,
}

impl Address {
    /// Reads a URI of a libvirt that is reached without network (libvirt's `uri` manual).
    pub(crate) fn parse(uri: &str) -> Result<Self, LibvirtError> {
        let unfit = || LibvirtError::Uri(uri.to_owned());
        let (scheme, rest) = uri.split_once(":///").ok_or_else(unfit)?;
        let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let driver = scheme.strip_suffix("+unix").unwrap_or(scheme);
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain(driver) || !plain(path) {
            return Err(unfit());
        }
        let sockets = match parameters.strip_prefix("socket=") {
            Some(socket) if Path::new(socket).is_absolute() => vec![PathBuf::from(socket)],
            None if parameters.is_empty() && driver == "qemu" && path == "system" => {
                QEMU_SOCKETS.iter().map(PathBuf::from).collect()
            }
            _ => return Err(unfit()),
        };
        Ok(Self { sockets, name: format!("{driver}:///{path}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_libvirt_of_this_machine_is_found_by_its_uri() {
        let system = Address::parse("qemu:///system").unwrap();
        assert_eq!(system.name, "qemu:///system");
        assert_eq!(system.sockets, QEMU_SOCKETS.map(PathBuf::from));
        let own = Address::parse("test+unix:///default?socket=/run/a/libvirt-sock").unwrap();
        assert_eq!(own.name, "test:///default");
        assert_eq!(own.sockets, [PathBuf::from("/run/a/libvirt-sock")]);
    }

    #[test]
    fn what_is_not_of_this_machine_is_refused_by_name() {
        for uri in [
            "",
            "qemu",
            "qemu://host/system",
            "qemu+ssh://host/system",
            "qemu+ssh:///system",
            "qemu:///",
            "test:///default",
            "qemu:///system?socket=relative",
            "qemu:///system?mode=direct",
            "qemu:///sys/tem",
        ] {
            let error = Address::parse(uri).unwrap_err();
            assert!(matches!(&error, LibvirtError::Uri(named) if named == uri), "{uri}: {error}");
        }
    }
}
