//! Which edited files a person is told of: each once for every generation, and not at every boot.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ActivationError, file, make_directory, replace_file};

/// What was told, and by which generation.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    toplevel: PathBuf,
    kept: BTreeSet<PathBuf>,
}

/// Those of `kept` that were not told of yet; what was told is kept in `record`.
pub fn news(
    record: &Path,
    toplevel: &Path,
    kept: &[PathBuf],
) -> Result<Vec<PathBuf>, ActivationError> {
    let before: Told = match fs::read(record) {
        // A record that is not understood is as good as none: everything is told.
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Told::default(),
        Err(error) => return Err(file("read", record)(error)),
    };
    let now = Told { toplevel: toplevel.to_owned(), kept: kept.iter().cloned().collect() };
    let is_new = |path: &&PathBuf| before.toplevel != now.toplevel || !before.kept.contains(*path);
    let news = kept.iter().filter(is_new).cloned().collect();
    if before != now {
        let text = serde_json::to_vec_pretty(&now).map_err(io::Error::from);
        if let Some(parent) = record.parent() {
            make_directory(parent, 0o755)?;
        }
        replace_file(record, &text.map_err(file("write", record))?, 0o644)?;
    }
    Ok(news)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_of_once_for_each_generation() {
        let place = tempfile::tempdir().unwrap();
        let record = place.path().join("bedplate/told.json");
        let (motd, ssh) = (PathBuf::from("/etc/motd"), PathBuf::from("/etc/ssh/sshd_config"));
        let tell =
            |toplevel: &str, kept: &[PathBuf]| news(&record, Path::new(toplevel), kept).unwrap();
        assert_eq!(tell("/nix/store/one", &[]), Vec::<PathBuf>::new());
        let alone = std::slice::from_ref(&motd);
        assert_eq!(tell("/nix/store/one", alone), alone);
        assert!(tell("/nix/store/one", alone).is_empty());
        let both = [motd.clone(), ssh.clone()];
        assert_eq!(tell("/nix/store/one", &both), [ssh]);
        // One that was put back and is edited again is news.
        assert!(tell("/nix/store/one", &[]).is_empty());
        assert_eq!(tell("/nix/store/one", alone), alone);
        assert_eq!(tell("/nix/store/two", &both), both);
        fs::write(&record, "no record").unwrap();
        assert_eq!(tell("/nix/store/two", &both), both);
    }
}
