//! `platform.json`: the store paths of the embedded platform that a medium carries and a repository
//! names (`bedplate/lib.nix` reads it).

use serde::{Deserialize, Serialize};

/// Where a repository keeps it.
pub const DESCRIPTION: &str = "bedplate/platform.json";

/// The store.
const STORE: &str = "/nix/store/";
/// Letters of the digest in a store path.
const DIGEST: usize = 32;

/// The paths of a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Platform {
    /// The Debian tree.
    pub tree: Part,
    /// Archive with kernel modules.
    pub initrd_modules: Part,
    /// Loader and libraries of our programs.
    pub runtime: Part,
    /// Our programs.
    pub programs: Part,
    /// Archive with PID 1.
    pub initrd_program: Part,
    /// Version of the tree's kernel.
    pub kernel_version: String,
}

/// A fixed-output path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name, the end of the path.
    pub name: String,
    /// The store path, which follows from name and hash.
    pub path: String,
    /// SHA-256 of its NAR serialisation, as SRI.
    pub hash: String,
}

impl Platform {
    /// Reads a description; none when it is not one, or names a path outside the store (T15).
    pub fn parse(text: &[u8]) -> Option<Self> {
        let platform: Self = serde_json::from_slice(text).ok()?;
        platform.parts().iter().all(|part| part.is_plain()).then_some(platform)
    }

    /// Every path, the large one first.
    pub fn parts(&self) -> [&Part; 5] {
        [&self.tree, &self.initrd_modules, &self.runtime, &self.programs, &self.initrd_program]
    }
}

impl Part {
    /// The last component of the path.
    pub fn base(&self) -> &str {
        self.path.strip_prefix(STORE).unwrap_or(&self.path)
    }

    /// `/nix/store/<digest>-<name>`, the name of lower-case letters and `-`.
    fn is_plain(&self) -> bool {
        let Some((digest, name)) =
            self.path.strip_prefix(STORE).and_then(|base| base.split_at_checked(DIGEST))
        else {
            return false;
        };
        let named = self.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        digest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            && name.strip_prefix('-') == Some(self.name.as_str())
            && self.name.starts_with(|c: char| c.is_ascii_lowercase())
            && named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(path: &str, name: &str) -> Option<Platform> {
        let part = serde_json::json!({ "name": name, "path": path, "hash": "sha256-x" });
        let keys = ["tree", "initrdModules", "runtime", "programs", "initrdProgram"];
        let mut whole = serde_json::json!({ "kernelVersion": "6.12.0" });
        for key in keys {
            whole[key] = part.clone();
        }
        Platform::parse(whole.to_string().as_bytes())
    }

    #[test]
    fn t15_a_path_is_a_path_of_the_store_and_nothing_else() {
        let digest = "0123456789abcdfghijklmnpqrsvwxyz";
        let good = described(&format!("/nix/store/{digest}-bedplate-tree"), "bedplate-tree");
        assert_eq!(good.unwrap().tree.base(), format!("{digest}-bedplate-tree"));
        for (path, name) in [
            (format!("/nix/store/{digest}-bedplate-tree/../x"), "bedplate-tree/../x"),
            (format!("/nix/store/{digest}-other"), "bedplate-tree"),
            ("/nix/store/../etc".to_owned(), "etc"),
            (format!("/etc/{digest}-x"), "x"),
            (format!("/nix/store/{digest}--x"), "-x"),
        ] {
            assert_eq!(described(&path, name), None, "{path}");
        }
        assert_eq!(Platform::parse(b"{}"), None);
    }
}
