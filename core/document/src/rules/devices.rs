//! What hardware is called by.

use bedplate_model::name::{ByIdName, is_any_mac, is_by_id_of_anything, is_unicast};

use super::super::problem::quote;

use super::{Wrong, hexadecimal, only, require, starts_plainly};

/// A name under `/dev/disk/by-id` of a whole disk.
pub fn by_id(text: &str) -> Result<(), Wrong> {
    let bare = text.strip_prefix("/dev/disk/by-id/");
    if let Some(bare) = bare.map(whole_disk).filter(|bare| by_id(bare).is_ok()) {
        let help = format!("write only the name: {}", quote(bare));
        return Err(Wrong { message: format!("{} is a path", quote(text)), help });
    }
    require(
        is_by_id_of_anything(text),
        text,
        "a name under /dev/disk/by-id",
        "write it as `ls /dev/disk/by-id` shows it, without the directory",
    )?;
    require(
        ByIdName::fits(text),
        text,
        "a whole disk but a partition",
        "leave `-part…` off: whole disks only",
    )
}

/// The name of the disk that a name of a partition begins with; that of a disk as it is.
fn whole_disk(text: &str) -> &str {
    match text.rsplit_once("-part") {
        Some((disk, number))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            disk
        }
        _ => text,
    }
}

/// Serial numbers.
pub fn serial(text: &str) -> Result<(), Wrong> {
    let fits =
        starts_plainly(text) && only(text, " ._:-+#") && !text.ends_with(' ') && text.len() <= 100;
    require(fits, text, "a serial number", "write it as `bedplate inventory` shows it")
}

/// Unicast MAC address.
pub fn mac(text: &str) -> Result<(), Wrong> {
    let help = "write it as \"52:54:00:12:34:56\"";
    require(is_any_mac(text), text, "a MAC address", help)?;
    require(
        is_unicast(text),
        text,
        "the address of one interface",
        "the first octet of a unicast address is even",
    )
}

/// USB vendor or product id.
pub fn usb_id(text: &str) -> Result<(), Wrong> {
    let fits = text
        .strip_prefix("0x")
        .is_some_and(|id| id.len() == 4 && hexadecimal(&id.to_ascii_lowercase()));
    require(fits, text, "a USB id", "write it as `lsusb` shows it, with `0x` in front: \"0x1a86\"")
}

/// Bus and ports on the way to a USB device.
pub fn usb_port(text: &str) -> Result<(), Wrong> {
    let number = |text: &str| {
        (1..=3).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit())
    };
    let fits = text.split_once('-').is_some_and(|(bus, ports)| {
        number(bus) && ports.split('.').all(number) && ports.split('.').count() <= 7
    });
    let help = "write it as `ls /sys/bus/usb/devices` shows it: \"1-1.4\"";
    require(fits, text, "a place of a USB device", help)
}
