//! What a domain has outside its devices, and its processor, clock and features.

use bedplate_libvirt::xml::Element;

use super::{Domain, words};
use crate::note::quote;

/// Our element in a domain's metadata.
const OURS: &str = "urn:bedplate:vm:1";

impl Domain<'_> {
    pub(super) fn rest(&mut self) {
        for child in &self.domain.children {
            match child.name.as_str() {
                "name" | "memory" | "currentMemory" | "vcpu" | "os" | "devices" => {}
                // libvirt's own.
                "resource" | "seclabel" | "pm" | "genid" | "vcpus" => {}
                "uuid" => {
                    let message = "a new one is derived from host.id and the name: cloud-init and licences \
                                   may take the guest for another computer";
                    self.tell(child, "uuid", message);
                }
                "metadata" => self.metadata(child),
                "cpu" => self.processor(child),
                "clock" => self.clock(child),
                "features" => self.features(child),
                "title" | "description" => {
                    self.tell(child, &child.name, "host.toml has comments for it; left out");
                }
                "on_poweroff" | "on_reboot" | "on_crash" => self.ending(child),
                _ => self.left_out(child),
            }
        }
    }

    fn metadata(&mut self, metadata: &Element) {
        for child in &metadata.children {
            if child.attributes.iter().any(|(_, value)| value == OURS) {
                self.tell(
                    child,
                    "metadata",
                    "Bedplate made this machine, and host.toml may have it already",
                );
            } else if !child.name.starts_with("libosinfo") {
                self.tell(child, "metadata", format!("{} is left out", quote(&child.name)));
            }
        }
    }

    fn processor(&mut self, cpu: &Element) {
        let mode = cpu.attribute("mode").unwrap_or("custom");
        if mode != "host-passthrough" {
            let message =
                format!("its processor is {}; by Bedplate it is that of the host", quote(mode));
            self.tell(cpu, "cpu", message);
        }
        for child in &cpu.children {
            match child.name.as_str() {
                "model" | "vendor" | "feature" if mode != "host-passthrough" => {}
                "cache" | "maxphysaddr" => {}
                _ => self.left_out(child),
            }
        }
    }

    fn clock(&mut self, clock: &Element) {
        let offset = clock.attribute("offset").unwrap_or("utc");
        if offset != "utc" {
            let message = format!(
                "its clock is {}, and by Bedplate UTC: Windows wants `RealTimeIsUniversal`",
                quote(offset)
            );
            self.open(clock, "clock", message);
        }
        for timer in
            clock.children.iter().filter(|timer| timer.attribute("name") == Some("hypervclock"))
        {
            self.left_out(timer);
        }
    }

    fn features(&mut self, features: &Element) {
        for child in &features.children {
            match child.name.as_str() {
                "acpi" | "apic" | "smm" | "pae" | "vmport" => {}
                _ => self.left_out(child),
            }
        }
    }

    /// What follows when a guest ends: a machine of ours goes off, starts again, and starts again.
    fn ending(&mut self, element: &Element) {
        let ours: &[&str] = match element.name.as_str() {
            "on_poweroff" => &["destroy"],
            "on_reboot" => &["restart"],
            // What libvirt and its tools write where nobody chose.
            _ => &["restart", "destroy"],
        };
        if !ours.contains(&element.text.as_str()) {
            let message = format!("{} is {} here; left out", quote(&words(element)), ours[0]);
            self.open(element, &element.name, message);
        }
    }
}
