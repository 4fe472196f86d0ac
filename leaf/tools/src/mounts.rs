//! What is mounted, from `/proc/self/mountinfo`.

/// Mount points and their file systems, in the order they were mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts(Vec<(String, String)>);

impl Mounts {
    /// Reads the text of `mountinfo`.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(entry).collect())
    }

    /// Whether the file system on top at `point` is of this kind.
    pub fn is_at(&self, point: &str, kind: &str) -> bool {
        self.0.iter().rev().find(|(at, _)| at == point).is_some_and(|(_, found)| found == kind)
    }

    /// The mount points at `directory` and below it, the newest first.
    pub fn at_or_below(&self, directory: &str) -> Vec<&str> {
        let inside = format!("{directory}/");
        let points = self.0.iter().rev().map(|(at, _)| at.as_str());
        points.filter(|at| *at == directory || at.starts_with(&inside)).collect()
    }

    /// Whether something is mounted at `directory` or below it.
    pub fn any_at_or_below(&self, directory: &str) -> bool {
        !self.at_or_below(directory).is_empty()
    }
}

fn entry(line: &str) -> Option<(String, String)> {
    let (before, after) = line.split_once(" - ")?;
    let point = before.split(' ').nth(4)?;
    Some((unescape(point), after.split(' ').next()?.to_owned()))
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 1 0:21 / / rw shared:1 - btrfs /dev/mapper/bedplate-os rw
40 22 0:40 / /mnt/bulk rw shared:9 - btrfs /dev/mapper/bedplate-bulk1 rw,degraded
41 22 0:41 / /mnt/with\\040space rw - ext4 /dev/sda1 rw
42 22 0:42 / /mnt/vmstore rw - tmpfs tmpfs rw
";

    #[test]
    fn t39_only_a_mounted_btrfs_counts() {
        let mounts = Mounts::parse(TEXT);
        assert!(mounts.is_at("/mnt/bulk", "btrfs"));
        assert!(!mounts.is_at("/mnt/vmstore", "btrfs"), "a tmpfs in its place");
        assert!(!mounts.is_at("/mnt/bulk2", "btrfs"));
        assert!(!mounts.is_at("/mnt/with space", "btrfs"));
        assert!(mounts.any_at_or_below("/mnt/with space"));
    }
}
