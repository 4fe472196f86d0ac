//! What `dd` writes to the OS disk's opened LUKS device, in the machine that was installed on.
//!
//! The medium is booted once more, told to wait. It finds its installation finished, writes
//! nothing, and leaves a shell on the serial console.

use std::time::Duration;

use crate::failure::{Failure, file};
use crate::medium::put_answers;
use crate::seed::STICK;
use crate::story::Story;

const LIMIT: Duration = Duration::from_secs(300);
/// What the shell is told to say at the end; typed in two parts, so that its echo is no end.
const END: &str = "dd-is-done";

impl Story {
    /// Bytes per second of `dd`, and of what it wrote `bytes`. The installed system is lost.
    pub fn raw_write(&self, medium: &std::path::Path, bytes: u64) -> Result<f64, Failure> {
        let path = self.path("host.toml");
        let host = std::fs::read_to_string(&path).map_err(file("read", &path))?;
        put_answers(medium, &host.replacen("then = \"poweroff\"", "then = \"wait\"", 1))?;
        let mut running = self.start_medium(medium)?;
        running.wait_for_text(&["nothing is written"], LIMIT)?;
        running.wait_for_text(&["root@"], LIMIT)?;
        let partition = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_BPOS0001-part2";
        let megabytes = bytes.div_ceil(1 << 20);
        for line in [
            "mkdir -p /run/raw".to_owned(),
            format!("mount -o ro /dev/disk/by-uuid/{STICK} /run/raw"),
            format!(
                "cryptsetup open --key-slot 0 --key-file /run/raw/bedplate/keyfile {partition} raw"
            ),
            format!(
                "LC_ALL=C dd if=/dev/zero of=/dev/mapper/raw bs=1M count={megabytes} conv=fsync"
            ),
            "echo dd-is-''done".to_owned(),
        ] {
            running.type_line(&line)?;
        }
        running.wait_for_text(&[END], LIMIT)?;
        let shown = running.tail();
        let seconds = seconds(&shown);
        seconds
            .map(|seconds| bytes as f64 / seconds)
            .ok_or_else(|| Failure::Unfit(format!("dd did not say how long it took:\n{shown}")))
    }
}

/// From the line with which `dd` ends: `662700032 bytes (663 MB, 632 MiB) copied, 17.3 s, 38 MB/s`.
fn seconds(shown: &str) -> Option<f64> {
    let line = shown.lines().rfind(|line| line.contains(" copied, "))?;
    let (_, rest) = line.split_once(" copied, ")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn the_time_is_read_from_the_last_line_of_dd() {
        let line =
            "632+0 records out\n662700032 bytes (663 MB, 632 MiB) copied, 17.25 s, 38.4 MB/s\n#";
        assert_eq!(seconds(line), Some(17.25));
        assert_eq!(seconds("dd: error writing"), None);
    }
}
