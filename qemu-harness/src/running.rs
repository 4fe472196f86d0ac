//! A machine that runs: its serial console, its events, its end.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bedplate_events::Event;
use serde_json::Value;
use tempfile::TempDir;

use crate::accelerator::Accelerator;
pub use crate::console::Listener;
use crate::console::{Console, Reader, restarts};
use crate::error::{HarnessError, file_error};
use crate::machine::{Firmware, Machine, Places};
use crate::pace::{Pace, Patience, Spent};
use crate::qmp::{self, Qmp};
use crate::watch::Watch;

/// How many lines of the serial log an error shows.
const TAIL_LINES: usize = 25;

/// How long the last words of a machine are waited for: its end is told on another channel, and
/// on a busy machine sooner.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// What a line with an event starts with.
const EVENT_MARK: &str = "@bedplate ";

/// A running machine; it is killed when dropped.
pub struct Running {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    console: Watch<Console>,
    events: Watch<Vec<Event>>,
    qmp: Arc<Qmp>,
    log: PathBuf,
    _sockets: TempDir,
}

impl Machine {
    /// Starts the machine. Files of its own (firmware variables, `<name>.serial.log`,
    /// `<name>.qemu.log`) stand in `directory`.
    pub fn start(
        &self,
        directory: &Path,
        listener: Option<Listener>,
    ) -> Result<Running, HarnessError> {
        let sockets = tempfile::Builder::new()
            .prefix("bedplate-")
            .tempdir_in("/tmp")
            .map_err(file_error("could not make a directory in", Path::new("/tmp")))?;
        let places = Places::new(self, directory, sockets.path());
        if let Firmware::Uefi { vars, .. } = &self.firmware
            && !places.vars.exists()
        {
            std::fs::copy(vars, &places.vars)
                .map_err(file_error("could not write", &places.vars))?;
        }
        let errors = directory.join(format!("{}.qemu.log", self.name));
        let errors = File::create(&errors).map_err(file_error("could not write", &errors))?;
        let accelerator = Accelerator::probe();
        // QEMU goes when this process does, however that ends.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(self.arguments(accelerator, &places))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(|source| self.link("could not start QEMU", source))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let log = directory.join(format!("{}.serial.log", self.name));
        let console = Watch::default();
        let (restarts, restarter) = restarts(accelerator == Accelerator::Tcg);
        if let Some(output) = output {
            let file = File::create(&log).map_err(file_error("could not write", &log))?;
            let reader = Reader { console: console.clone(), log: file, listener, restarts };
            thread::spawn(move || reader.read(output));
        }
        let events = Watch::default();
        read_events(places.events.clone(), events.clone());
        let ended = console.clone();
        let on_shutdown = move || ended.change(|console| console.closed = true);
        let qmp = match Qmp::connect(&places.qmp, on_shutdown) {
            Ok(qmp) => Arc::new(qmp),
            Err(source) => {
                child.kill().and_then(|()| child.wait()).ok();
                return Err(self.link("could not connect to QMP", source));
            }
        };
        restarter.serve(Arc::clone(&qmp), console.clone());
        let name = self.name.clone();
        Ok(Running { name, child, input, console, events, qmp, log, _sockets: sockets })
    }

    fn link(&self, action: &'static str, source: std::io::Error) -> HarnessError {
        HarnessError::Link { machine: self.name.clone(), action, source }
    }
}

fn read_events(path: PathBuf, events: Watch<Vec<Event>>) {
    thread::spawn(move || {
        let Ok(stream) = qmp::connect(&path) else { return };
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            // What a program says beside events carries no mark.
            let Some(line) = line.strip_prefix(EVENT_MARK) else { continue };
            if let Ok(event) = serde_json::from_str::<Event>(line) {
                events.change(|events| events.push(event));
            }
        }
    });
}

impl Running {
    /// QEMU's control channel.
    pub fn qmp(&self) -> &Qmp {
        &self.qmp
    }

    /// The file with everything the serial console showed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Everything the serial console showed so far.
    pub fn console(&self) -> String {
        self.console.look(|console| console.text.clone())
    }

    /// The last lines of the serial console.
    pub fn tail(&self) -> String {
        self.console.look(|console| tail(&console.text))
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.look(Clone::clone)
    }

    /// Types a line on the serial console.
    pub fn type_line(&mut self, line: &str) -> Result<(), HarnessError> {
        let name = self.name.clone();
        let Some(input) = self.input.as_mut() else { return Ok(()) };
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(|source| {
            HarnessError::Link { machine: name, action: "could not type", source }
        })
    }

    /// Waits until the serial console has shown one of `texts`; returns its index.
    pub fn wait_for_text(&self, texts: &[&str], limit: Duration) -> Result<usize, HarnessError> {
        let what = format!("`{}`", texts.join("` or `"));
        let found = self.wait(&self.console, &what, limit, |console| {
            match texts.iter().position(|text| console.text.contains(text)) {
                Some(index) => Some(Some(index)),
                None => console.closed.then_some(None),
            }
        })?;
        found.or_else(|| self.straggler(texts)).ok_or_else(|| self.ended(what))
    }

    /// Waits for what `find` finds in `watched`. `limit` is as on the machine that limits are written
    /// for; a machine that is slower, or that still gets on, is given more.
    fn wait<T, R>(
        &self,
        watched: &Watch<T>,
        what: &str,
        limit: Duration,
        mut find: impl FnMut(&mut T) -> Option<R>,
    ) -> Result<R, HarnessError> {
        let mut patience = Patience::new(limit);
        loop {
            if let Some(found) = watched.wait(patience.next_look(), &mut find) {
                return Ok(found);
            }
            if !patience.goes_on(self.progress()) {
                return Err(self.timed_out(what.to_owned(), patience.spent()));
            }
        }
    }

    /// A number that grows while the guest gets on: what its console showed, and what its disks were
    /// asked for. How busy its processors are says nothing: one that only ticks is busy, too.
    pub fn progress(&self) -> u64 {
        let shown = self.console.look(|console| console.text.len() as u64);
        // A QEMU that has ended counts nothing any more.
        shown + self.qmp.all_requests().unwrap_or_default()
    }

    /// Watches whether the machine stays up, and shows none of `texts`, for so long on the reference
    /// machine; what it showed, or that it went down, is an error.
    pub fn stays_up(&self, texts: &[&str], time: Duration) -> Result<(), HarnessError> {
        let time = Pace::known().scale(time);
        let seen = self.console.wait(Instant::now() + time, |console| {
            let shown = texts.iter().find(|text| console.text.contains(**text));
            let shown = shown.map(|text| format!("the console shows `{text}`"));
            shown.or_else(|| console.closed.then(|| "the machine went down".to_owned()))
        });
        match seen {
            None => Ok(()),
            Some(seen) => Err(HarnessError::Unfit(format!("{seen}:\n{}", self.tail()))),
        }
    }

    /// The index of a text that is read from the console after the machine's end.
    fn straggler(&self, texts: &[&str]) -> Option<usize> {
        self.console.wait(Instant::now() + Pace::known().scale(STRAGGLERS), |console| {
            texts.iter().position(|text| console.text.contains(text))
        })
    }

    /// Waits for an event that `wanted` accepts.
    pub fn wait_for_event(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, HarnessError> {
        self.wait(&self.events, what, limit, |events| {
            events.iter().find(|event| wanted(event)).cloned()
        })
    }

    /// Waits for the machine's end; returns the reason QEMU gave (`guest-shutdown` for a
    /// power-off, `guest-reset` for a reboot). QEMU itself still answers after it.
    pub fn wait_for_end(&self, limit: Duration) -> Result<Option<String>, HarnessError> {
        self.wait(&self.console, "the machine's end", limit, |console| {
            console.closed.then_some(())
        })?;
        Ok(self.qmp.shutdown_reason())
    }

    /// Presses the power button.
    pub fn press_power(&self) -> Result<(), HarnessError> {
        self.qmp.execute("system_powerdown", Value::Null).map(drop)
    }

    /// Ends QEMU at once, as a power cut does.
    pub fn cut_power(mut self) -> Result<(), HarnessError> {
        self.qmp.execute("quit", Value::Null).map(drop)?;
        self.child.wait().map(drop).map_err(|source| HarnessError::Link {
            machine: self.name.clone(),
            action: "could not wait for QEMU",
            source,
        })
    }

    /// Whether the guest went down, or QEMU itself.
    pub fn has_ended(&self) -> bool {
        self.console.look(|console| console.closed)
    }

    fn ended(&self, what: String) -> HarnessError {
        HarnessError::Ended { machine: self.name.clone(), what, tail: self.tail() }
    }

    fn timed_out(&self, what: String, spent: Spent) -> HarnessError {
        HarnessError::TimedOut { machine: self.name.clone(), what, spent, tail: self.tail() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Disk, DiskKind, Format};

    /// A disk whose boot sector writes a line to the first serial port and stops.
    fn disk_that_says(line: &str) -> Vec<u8> {
        let mut sector = vec![
            0xfc, // cld
            0x31, 0xc0, 0x8e, 0xd8, // ds = 0
            0xbe, 0x16, 0x7c, // si = behind this code
            0xba, 0xf8, 0x03, // dx = the port
            0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, // until 0: out
            0xf4, 0xeb, 0xfd, // halt
        ];
        sector.extend_from_slice(line.as_bytes());
        sector.resize(510, 0);
        sector.extend([0x55, 0xaa]);
        // SeaBIOS boots from no virtio disk of a single sector.
        sector.resize(1 << 20, 0);
        sector
    }

    #[test]
    fn a_kernel_that_the_emulation_kills_is_started_again_three_times_and_then_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("disk");
        let line = "[    2.009754] Oops: int3: 0000 [#1]\r\n";
        std::fs::write(&file, disk_that_says(line)).unwrap();
        let machine = Machine {
            name: "faulty".into(),
            memory_mib: 32,
            cpus: 1,
            firmware: Firmware::Bios,
            kernel: None,
            disks: vec![Disk {
                role: "disk".into(),
                kind: DiskKind::VirtioBlk,
                serial: "DISK".into(),
                size: 1 << 20,
                file,
                format: Format::Raw,
                read_only: false,
                boot_index: Some(0),
            }],
            networks: Vec::new(),
            cable: None,
        };
        let running = machine.start(directory.path(), None).unwrap();
        running.wait_for_text(&["Oops: int3"], Duration::from_secs(120)).unwrap();
        assert_eq!(running.console().matches("Oops").count(), 1);
        let starts = if Accelerator::probe() == Accelerator::Tcg { 4 } else { 1 };
        let log = std::fs::read_to_string(running.log()).unwrap();
        assert_eq!(log.matches("Oops").count(), starts, "{log}");
        assert!(!running.has_ended());
    }

    #[test]
    fn the_tail_is_the_end() {
        let text: String = (0..40).map(|number| format!("line {number}\n")).collect();
        let tail = tail(&text);
        assert!(tail.starts_with("line 15\n") && tail.ends_with("line 39"), "{tail}");
    }
}
