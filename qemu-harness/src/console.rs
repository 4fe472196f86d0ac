//! The serial console of a machine: what it showed, and when it showed that the emulation, not
//! the guest, has failed.

use std::fs::File;
use std::io::{Read, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::Duration;

use crate::pace::Pace;
use crate::qmp::Qmp;
use crate::watch::Watch;

/// What kernels say that were killed by the emulation. QEMU 7.2 with several processors sometimes
/// lets one of them see an instruction that another is patching (one boot in about 40, 2 s after
/// the kernel's start); on a busy machine its timer comes so late that the kernel gives up.
const FAULTS: [&str; 2] = ["Oops: int3", "IO-APIC + timer doesn't work"];
/// Seconds of a kernel's clock in which such a line counts: it knows no disk yet.
const EARLY: f64 = 10.0;
/// How often a machine is started again for that.
const STARTS: usize = 3;
/// How long what was said before a restart may be on its way; firmware is slower.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long firmware may take to reset the machine once more: SeaBIOS does when it finds that it
/// has run before. A guest that ends by a restart comes much later.
const FIRMWARE: Duration = Duration::from_secs(5);

/// Called with every line of the serial console as it comes.
pub type Listener = Arc<dyn Fn(&str) + Send + Sync>;

/// What a console showed since the machine was last started.
#[derive(Debug, Default)]
pub(crate) struct Console {
    /// All of it.
    pub text: String,
    /// Whether nothing more will come.
    pub closed: bool,
}

/// Reads a console until it ends.
pub(crate) struct Reader {
    pub console: Watch<Console>,
    pub log: File,
    pub listener: Option<Listener>,
    pub restarts: Restarts,
}

/// The reader's end of the thread that starts a machine again.
pub(crate) struct Restarts {
    asked: Sender<()>,
    pending: Arc<AtomicBool>,
    left: usize,
}

/// The other end of [`Restarts`].
pub(crate) struct Restarter {
    asked: Receiver<()>,
    pending: Arc<AtomicBool>,
}

/// The two ends. Where the guest is not emulated, nothing is ever asked for.
pub(crate) fn restarts(emulated: bool) -> (Restarts, Restarter) {
    let (asked, receiver) = std::sync::mpsc::channel();
    let pending = Arc::new(AtomicBool::new(false));
    let left = if emulated { STARTS } else { 0 };
    let restarter = Restarter { asked: receiver, pending: Arc::clone(&pending) };
    (Restarts { asked, pending, left }, restarter)
}

impl Restarter {
    /// Starts the machine again whenever that is asked for, until its console has ended.
    pub fn serve(self, qmp: Arc<Qmp>, console: Watch<Console>) {
        thread::spawn(move || {
            for () in self.asked {
                let restarted = qmp.end_by_restart(false).and_then(|()| qmp.reset());
                thread::sleep(LAST_WORDS);
                self.pending.store(false, Ordering::SeqCst);
                thread::sleep(Pace::known().scale(FIRMWARE));
                if restarted.and_then(|()| qmp.end_by_restart(true)).is_err() {
                    console.change(|console| console.closed = true);
                }
            }
        });
    }
}

impl Reader {
    /// Reads `output` to its end.
    pub fn read(mut self, mut output: impl Read) {
        let mut buffer = [0; 4096];
        let mut line = String::new();
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            // A full disk must not stop the guest: the text is kept in memory as well.
            self.log.write_all(&buffer[..count]).ok();
            if self.restarts.pending.load(Ordering::SeqCst) {
                line.clear();
                continue;
            }
            let text = String::from_utf8_lossy(&buffer[..count]);
            line.push_str(&text);
            if self.restarts.left > 0 && line.lines().any(is_fault) {
                self.start_again();
                line.clear();
                continue;
            }
            self.console.change(|console| console.text.push_str(&text));
            self.tell_lines(&mut line);
        }
        self.console.change(|console| console.closed = true);
    }

    /// Forgets what a dead kernel has said and has the machine started again. The log keeps it.
    fn start_again(&mut self) {
        self.restarts.left -= 1;
        self.restarts.pending.store(true, Ordering::SeqCst);
        self.console.change(|console| console.text.clear());
        self.tell("the emulation killed the kernel before it knew a disk: started again");
        if self.restarts.asked.send(()).is_err() {
            self.restarts.pending.store(false, Ordering::SeqCst);
        }
    }

    fn tell_lines(&self, line: &mut String) {
        while let Some(end) = line.find('\n') {
            let rest = line.split_off(end + 1);
            self.tell(line.trim_end());
            *line = rest;
        }
    }

    fn tell(&self, line: &str) {
        if let Some(listener) = &self.listener {
            listener(line);
        }
    }
}

/// Whether a line of a kernel's log, `[    2.009754] Oops: int3: 0000 [#1]`, tells of a fault of the
/// emulation.
fn is_fault(line: &str) -> bool {
    let stamp = line.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let Some((seconds, said)) = stamp else { return false };
    let early = seconds.trim().parse::<f64>().is_ok_and(|seconds| seconds < EARLY);
    early && FAULTS.iter().any(|fault| said.contains(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_early_line_of_a_kernel_is_a_fault_of_the_emulation() {
        assert!(is_fault("[    2.009754] Oops: int3: 0000 [#1] PREEMPT SMP PTI"));
        assert!(is_fault(
            "[    1.1] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot"
        ));
        assert!(!is_fault("[   92.009754] Oops: int3: 0000 [#1] PREEMPT SMP PTI"));
        assert!(!is_fault("[    2.1] Kernel panic - not syncing: No working init found."));
        assert!(!is_fault("Oops: int3"));
    }

    fn read(emulated: bool, text: &str) -> String {
        let (restarts, _restarter) = restarts(emulated);
        let console = Watch::<Console>::default();
        let log = tempfile::tempfile().unwrap();
        Reader { console: console.clone(), log, listener: None, restarts }.read(text.as_bytes());
        console.look(|console| console.text.clone())
    }

    #[test]
    fn what_a_dead_kernel_said_is_forgotten_when_it_was_emulated() {
        let text = "Loading\n[    2.009754] Oops: int3: 0000 [#1]\n[    2.1] Kernel panic\n";
        assert_eq!(read(true, text), "");
        assert_eq!(read(false, text), text);
    }
}
