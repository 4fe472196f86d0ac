//! A secret that cannot be printed.

use std::fmt;
use std::io::{self, Read};

use zeroize::Zeroizing;

/// Bytes of the buffer that is read into first: more than most secrets are long.
const FIRST: usize = 4096;

/// Bytes that never reach a log: `Debug` hides them, there is no `Display`, memory is cleared on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads to the end. Where more comes than there is room for, the smaller buffer is cleared, which a
    /// vector that grows does not do.
    pub fn read(input: &mut impl Read) -> io::Result<Self> {
        let (mut bytes, mut length) = (Zeroizing::new(vec![0; FIRST]), 0);
        loop {
            if length == bytes.len() {
                let mut larger = Zeroizing::new(vec![0; length.saturating_mul(2)]);
                larger.iter_mut().zip(bytes.iter()).for_each(|(to, from)| *to = *from);
                bytes = larger;
            }
            match input.read(bytes.get_mut(length..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(length);
        Ok(Self(bytes))
    }

    /// The bytes, for the one call that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Piece by piece, as a pipe gives it.
    struct Pieces<'a>(&'a [u8]);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(1000);
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn t19_a_secret_is_read_to_its_end_whatever_its_length_is() {
        for length in [0, 1, FIRST - 1, FIRST, FIRST + 1, 5 * FIRST] {
            let all: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            assert_eq!(Secret::read(&mut Pieces(&all)).unwrap().expose(), all, "{length}");
        }
    }
}
