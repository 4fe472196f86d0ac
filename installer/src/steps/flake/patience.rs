//! A network that comes late.

use std::time::Duration;

/// Tries until it goes well, once more after each pause.
pub fn persist<T, E>(
    pauses: &[Duration],
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut pauses = pauses.iter();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) => match pauses.next() {
                Some(pause) => std::thread::sleep(*pause),
                None => return Err(error),
            },
        }
    }
}
