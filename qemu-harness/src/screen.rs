//! What somebody in front of the machine has: a screen to look at and a keyboard.

use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::HarnessError;
use crate::qmp::Qmp;

/// How long a key is held, and as long again until the next: a guest that is busy loses faster ones.
const HELD: Duration = Duration::from_millis(40);

impl Qmp {
    /// Plugs a keyboard into the machine's USB; what is typed from now on comes from it.
    pub fn plug_keyboard(&self) -> Result<(), HarnessError> {
        let keyboard = json!({"driver": "usb-kbd", "bus": "usb.0", "id": "dev-keyboard"});
        self.execute("device_add", keyboard).map(drop)
    }

    /// Types a line on the keyboard, of small letters, digits, spaces and hyphens, and presses return.
    pub fn type_keys(&self, line: &str) -> Result<(), HarnessError> {
        for key in keys(line)? {
            let press =
                json!({"keys": [{"type": "qcode", "data": key}], "hold-time": HELD.as_millis()});
            self.execute("send-key", press)?;
            thread::sleep(2 * HELD);
        }
        Ok(())
    }

    /// Keeps what the screen shows as a PNG.
    pub fn keep_screen(&self, file: &Path) -> Result<(), HarnessError> {
        self.execute("screendump", json!({"filename": file, "format": "png"})).map(drop)
    }
}

/// QEMU's names of the keys (QKeyCode in its QMP reference) that type a line.
fn keys(line: &str) -> Result<Vec<Value>, HarnessError> {
    let name = |character: char| match character {
        'a'..='z' | '0'..='9' => Ok(json!(character)),
        '-' => Ok(json!("minus")),
        ' ' => Ok(json!("spc")),
        // The line may be a secret.
        _ => Err(HarnessError::Unfit("a character that has no key here".to_owned())),
    };
    line.chars().map(name).chain([Ok(json!("ret"))]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_typed_key_by_key() {
        let typed = keys("ab-1 ").unwrap();
        assert_eq!(typed, ["a", "b", "minus", "1", "spc", "ret"]);
        assert!(keys("A").is_err() && keys("é").is_err());
    }
}
