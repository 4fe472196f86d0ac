//! Kernel modules, in the order the image was built with.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use bedplate_events::cause::in_line;

use crate::console::Console;
use crate::error::Error;

/// Paths of decompressed modules, one per line, dependencies first.
const ORDER: &str = "/lib/modules/order";

/// Loads them and returns how many; an initrd without modules is one whose kernel needs none.
pub(crate) fn load(console: &Console) -> Result<usize, Error> {
    let order = Path::new(ORDER);
    let text = match fs::read_to_string(order) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        other => other.map_err(|source| Error::file("read", order, source))?,
    };
    let mut waiting: Vec<PathBuf> = parse(&text).collect();
    let mut loaded = 0;
    loop {
        let before = waiting.len();
        let mut failed = Vec::new();
        for path in waiting {
            match insert(&path) {
                Ok(new) => loaded += usize::from(new),
                Err(error) => failed.push((path, error)),
            }
        }
        // An algorithm that a module asks for by name may come later in the list.
        if failed.is_empty() || failed.len() == before {
            // What matters shows itself later by name: a disk, a file system, a mapping.
            failed.iter().for_each(|(_, error)| console.say(&in_line(error)));
            return Ok(loaded);
        }
        waiting = failed.into_iter().map(|(path, _)| path).collect();
    }
}

/// Whether the module is new; one that is there already, or has no device, is no error.
fn insert(path: &Path) -> Result<bool, Error> {
    let file = File::open(path).map_err(|source| Error::file("open", path, source))?;
    match rustix::system::finit_module(&file, c"", 0) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST | Errno::NODEV) => Ok(false),
        Err(errno) => Err(Error::file("load", path, errno.into())),
    }
}

/// Relative paths count from the directory of the list.
fn parse(text: &str) -> impl Iterator<Item = PathBuf> {
    let directory = Path::new(ORDER).parent().unwrap_or(Path::new("/"));
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(move |line| directory.join(line))
        .filter(|path| !path.components().any(|part| part == Component::ParentDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kept_and_relative_paths_are_resolved() {
        let text = "/lib/modules/6.12/a.ko\n\n# note\n6.12/b.ko \n../../etc/c.ko\n";
        let found: Vec<_> = parse(text).collect();
        let expected = ["/lib/modules/6.12/a.ko", "/lib/modules/6.12/b.ko"];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
