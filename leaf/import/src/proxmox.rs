//! Machines of Proxmox VE: `qm config 101`, or `/etc/pve/qemu-server/101.conf`
//! (<https://pve.proxmox.com/pve-docs/qm.conf.5.html>).

mod devices;
mod options;

use std::collections::BTreeMap;

use crate::check::{self, Base, Wanted};
use crate::draft::Draft;
use crate::note::{Imported, Notes, Place, quote};
use crate::{ImportError, LIMIT};
use options::Option_;

/// Keys that containers have and machines have not.
const OF_CONTAINERS: [&str; 2] = ["rootfs", "unprivileged"];

/// Turns the configuration of a machine into a section of `host.toml`. `file` is the name of the file
/// without its ending, which is the number of the machine.
pub fn import(text: &str, file: &str, base: Base<'_>) -> Result<Imported, ImportError> {
    if text.len() > LIMIT {
        return Err(ImportError::too_long());
    }
    let mut notes = Notes::default();
    let lines = lines(text, &mut notes)?;
    let mut drafts = Vec::new();
    drafts.extend(machine(&lines, file, &mut notes)?);
    Ok(check::machines(drafts, &Wanted::default(), base, notes))
}

/// A line `key: value`.
#[derive(Debug, Clone, Copy)]
struct Line<'t> {
    key: &'t str,
    value: &'t str,
    /// Of the key.
    place: Place,
    /// Of the value.
    at: Place,
}

impl<'t> Line<'t> {
    /// What stands between commas, each with its place.
    fn options(&self) -> Vec<Option_<'t>> {
        options::options(self.value, self.at)
    }
}

/// The lines of the machine as it is, without its snapshots.
fn lines<'t>(text: &'t str, notes: &mut Notes) -> Result<Vec<Line<'t>>, ImportError> {
    let mut found: Vec<Line<'t>> = Vec::new();
    let mut seen = BTreeMap::new();
    let (mut is_in_section, mut has_comments) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let place = Place { line: index + 1, column: 1 };
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            is_in_section = true;
            let (is_pending, name) = (section.eq_ignore_ascii_case("pending"), quote(section));
            match is_pending {
                true => notes.open(place, "pending", "changes that wait for a restart are left out: restart it, or carry them over by hand"),
                false => notes.tell(place, section, format!("the section {name}, a snapshot, is left out")),
            }
        } else if line.starts_with('#') {
            has_comments = has_comments || !is_in_section;
        } else if !is_in_section && !line.trim().is_empty() {
            let line = parse(line, place)?;
            if let Some(first) = seen.insert(line.key, place.line) {
                let what = format!("{} stands in line {first}, too", quote(line.key));
                return Err(ImportError::at(place, what));
            }
            found.push(line);
        }
    }
    if has_comments {
        notes.tell(
            Place { line: 1, column: 1 },
            "description",
            "host.toml has comments for it; left out",
        );
    }
    Ok(found)
}

fn parse(line: &str, place: Place) -> Result<Line<'_>, ImportError> {
    let is_key = |key: &str| {
        !key.is_empty()
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    let (key, value) = line.split_once(':').filter(|(key, _)| is_key(key)).ok_or_else(|| {
        ImportError::at(
            place,
            format!("{} is no line `key: value` as `qm config` prints it", quote(line)),
        )
    })?;
    let plain = value.trim_start();
    let before = line.len() - plain.len();
    let column = line.get(..before).unwrap_or_default().chars().count() + 1;
    Ok(Line { key, value: plain.trim_end(), place, at: Place { column, ..place } })
}

/// A machine while it is carried over.
struct Machine<'a> {
    lines: &'a [Line<'a>],
    draft: Draft,
    notes: &'a mut Notes,
}

fn machine(
    lines: &[Line<'_>],
    file: &str,
    notes: &mut Notes,
) -> Result<Option<Draft>, ImportError> {
    let get = |key: &str| lines.iter().find(|line| line.key == key);
    if let Some(container) = lines.iter().find(|line| OF_CONTAINERS.contains(&line.key)) {
        let what = "this is a container (`pct config`), and host.toml has virtual machines alone";
        return Err(ImportError::at(container.place, what));
    }
    let Some(first) = lines.first() else {
        return Err(ImportError::whole("there is no machine in it"));
    };
    if !lines.iter().any(|line| options::is_known(line.key)) {
        let what = format!("{} is no key of a machine of Proxmox", quote(first.key));
        return Err(ImportError::at(first.place, what));
    }
    if let Some(template) = get("template").filter(|line| line.value == "1") {
        let message = "left out: this is a template, and no machine";
        notes.open(template.place, get("name").map_or(file, |name| name.value), message);
        return Ok(None);
    }
    let (name, place) = match get("name") {
        Some(name) => (name.value.to_owned(), name.at),
        None => {
            let name = format!("vm{file}");
            notes.open(
                first.place,
                &format!("{name}.name"),
                "it has no `name`: called by its number; name it as it is to be called",
            );
            (name, first.place)
        }
    };
    let Some(draft) = Draft::renamed(&name, place, notes) else { return Ok(None) };
    let mut machine = Machine { lines, draft, notes };
    machine.amounts();
    machine.firmware();
    machine.starting();
    machine.disks();
    machine.cards();
    machine.devices();
    machine.rest();
    Ok(Some(machine.draft))
}

impl<'a> Machine<'a> {
    fn get(&self, key: &str) -> Option<Line<'a>> {
        self.lines.iter().find(|line| line.key == key).copied()
    }

    /// The lines of a key with a number, such as `net0`, in the order of the numbers.
    fn numbered(&self, key: &str) -> Vec<(u32, Line<'a>)> {
        let number = |line: &Line<'a>| Some((line.key.strip_prefix(key)?.parse().ok()?, *line));
        let mut found: Vec<_> = self.lines.iter().filter_map(number).collect();
        found.sort_by_key(|(number, _)| *number);
        found
    }

    fn open(&mut self, at: Place, key: &str, message: impl Into<String>) {
        let about = self.draft.about(key);
        self.notes.open(at, &about, message);
    }

    fn tell(&mut self, at: Place, key: &str, message: impl Into<String>) {
        let about = self.draft.about(key);
        self.notes.tell(at, &about, message);
    }

    /// A whole number; none, and told, when it is none.
    fn number(&mut self, line: Line<'_>) -> Option<u64> {
        let number = line.value.parse().ok();
        if number.is_none() {
            self.open(line.at, line.key, format!("left out: {} is no number", quote(line.value)));
        }
        number
    }

    /// Memory and processors; what Proxmox means where it says nothing is another than here.
    fn amounts(&mut self) {
        let place = self.draft.place;
        let mut count = 1;
        for key in ["cores", "sockets"] {
            if let Some(line) = self.get(key) {
                count *= self.number(line).unwrap_or(1).min(1024);
            }
        }
        let at = self.get("cores").map_or(place, |line| line.at);
        self.draft.number("vcpu", count, at, self.notes);
        let Some(memory) = self.get("memory") else {
            return self.draft.line("ram_mb", 512);
        };
        let text = memory.value.strip_prefix("current=").unwrap_or(memory.value);
        if let Some(number) = self.number(Line { value: text, ..memory }) {
            self.draft.number("ram_mb", number, memory.at, self.notes);
        }
        if let Some(balloon) = self.get("balloon").filter(|it| it.value != "0" && it.value != text)
        {
            let message = format!(
                "it may go down to {} MiB, and host.toml knows one amount; left out",
                quote(balloon.value)
            );
            self.open(balloon.at, "balloon", message);
        }
    }

    fn firmware(&mut self) {
        let bios = self.get("bios");
        let has_keys = self.get("efidisk0").is_some_and(|disk| {
            disk.options().iter().any(|option| option.is("pre-enrolled-keys", "1"))
        });
        match bios.map_or("seabios", |bios| bios.value) {
            "ovmf" if has_keys => self.draft.line("firmware", "uefi-secure-boot"),
            "ovmf" => self.draft.line("firmware", "uefi"),
            "seabios" => self.draft.line("firmware", "bios"),
            other => self.open(
                bios.map_or(self.draft.place, |bios| bios.at),
                "firmware",
                format!("left out: {} is not known", quote(other)),
            ),
        }
        if let Some(disk) = self.get("efidisk0") {
            let message = "the variables of its firmware are not carried over: it boots by the path \
                           that every disk has (\\EFI\\BOOT\\BOOTX64.EFI), or by an entry made anew";
            self.tell(disk.place, "efidisk0", message);
        }
        let machine = self.get("machine");
        if !machine.is_some_and(|machine| machine.value.contains("q35")) {
            let at = machine.map_or(self.draft.place, |machine| machine.at);
            let message = "Proxmox builds it as i440fx, and Bedplate as q35: devices are at other places, and \
                           network cards may have other names in the guest";
            self.open(at, "machine", message);
        }
        if let Some(os) = self.get("ostype").filter(|os| os.value.starts_with('w')) {
            let message = "for Windows: Bedplate gives its clock as UTC (`RealTimeIsUniversal`), and no \
                           Hyper-V features";
            self.open(os.at, "ostype", message);
        }
    }

    fn starting(&mut self) {
        let is_on = |line: Option<Line<'_>>| {
            line.is_some_and(|line| line.value.split(',').any(|it| matches!(it, "1" | "enabled=1")))
        };
        let (onboot, agent) = (is_on(self.get("onboot")), is_on(self.get("agent")));
        self.draft.line("autostart", onboot);
        self.draft.line("guest_agent", agent);
        let Some(startup) = self.get("startup") else { return };
        for option in startup.options() {
            match (option.key, option.value.parse()) {
                ("order" | "", Ok(order)) => {
                    self.draft.number("start_order", order, option.at, self.notes)
                }
                _ => self.open(
                    option.at,
                    "startup",
                    format!("host.toml has no room for {}; left out", quote(option.text)),
                ),
            }
        }
    }
}
