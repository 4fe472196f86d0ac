//! Where a medium is written to: a file, made whole beside its place and then renamed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, file};

/// The file that `named` leads to, which need not be there yet. A rename would put a file in the
/// place of a device's node or of a link, and leave the device as it was: those are refused, and
/// followed.
pub fn place(named: &Path) -> Result<PathBuf, Error> {
    let unfit =
        |why: String| Error::Unfit { what: "no medium is written to", path: named.to_owned(), why };
    match fs::metadata(named) {
        Ok(found) if found.is_dir() => {
            Err(unfit("it is a directory; name a file in it, such as bedplate.iso".to_owned()))
        }
        Ok(found) if !found.is_file() => Err(unfit(format!(
            "it is a device, not a file; nothing was written. Make a file (`--output bedplate.iso`), \
             then write that to the stick: `dd if=bedplate.iso of={} bs=4M conv=fsync`",
            named.display()
        ))),
        Ok(_) => fs::canonicalize(named).map_err(file("find", named)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(named).is_ok() {
                return Err(unfit("it is a link to something that is not there".to_owned()));
            }
            Ok(named.to_owned())
        }
        Err(source) => Err(file("look at", named)(source)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn said(path: &Path) -> String {
        place(path).unwrap_err().to_string()
    }

    #[test]
    fn t06_a_device_a_directory_and_a_link_to_nothing_take_no_medium() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        symlink("/dev/null", at("by-id")).unwrap();
        for device in [Path::new("/dev/null"), &at("by-id")] {
            let said = said(device);
            assert!(said.contains("nothing was written") && said.contains("dd if="), "{said}");
        }
        assert!(said(directory.path()).contains("it is a directory"));
        symlink("nowhere", at("dangling")).unwrap();
        assert!(said(&at("dangling")).contains("link to something that is not there"));
    }

    #[test]
    fn a_file_is_written_whether_it_is_there_or_not_and_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(place(&at("new.iso")).unwrap(), at("new.iso"));
        fs::write(at("old.iso"), "").unwrap();
        symlink("old.iso", at("link.iso")).unwrap();
        let old = fs::canonicalize(at("old.iso")).unwrap();
        assert_eq!(place(&at("link.iso")).unwrap(), old);
    }
}
