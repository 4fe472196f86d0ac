//! The input `bedplate` of a flake: what it is, and what a host's platform wants it to be.

use bedplate_model::host::Platform;

use crate::error::Error;
use crate::flake::Flake;
use crate::literal;
use crate::shipped::{INPUT, PLATFORM};

/// The longest address that is written into a flake, in bytes.
const LIMIT: usize = 1024;

/// What the input of our name is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputState {
    /// There is none.
    Absent,
    /// The platform beside the flake.
    Vendored,
    /// Something at another address: this project's own flake, it is to be hoped.
    Elsewhere,
}

/// An input that a flake lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The embedded platform, beside the flake.
    Vendored,
    /// This project's own flake, which has the module of NixOS.
    Flake {
        /// Its flake reference.
        address: String,
        /// Whether it is to take the flake's own `nixpkgs`.
        follows: bool,
    },
}

impl Input {
    /// What the flake lacks for a host of this platform; none when the input is there. `address` is
    /// where this project's flake is said to be.
    pub fn lacking(
        flake: &Flake,
        platform: Platform,
        address: Option<&str>,
    ) -> Result<Option<Self>, Error> {
        expect_no_address(platform, address)?;
        match (platform, flake.input()) {
            (Platform::Embedded, InputState::Vendored)
            | (Platform::Nixos, InputState::Elsewhere) => Ok(None),
            (Platform::Embedded, InputState::Absent) => Ok(Some(Self::Vendored)),
            (Platform::Embedded, InputState::Elsewhere) => {
                Err(Error::NotVendored { address: INPUT })
            }
            (Platform::Nixos, InputState::Vendored) => Err(Error::Vendored { address: INPUT }),
            (Platform::Nixos, InputState::Absent) => {
                let (address, follows) = (checked(address)?.to_owned(), flake.has_nixpkgs());
                Ok(Some(Self::Flake { address, follows }))
            }
        }
    }

    /// Its lines, as they stand among the inputs.
    pub(crate) fn lines(&self) -> Vec<String> {
        let url = |address: &str| format!("{PLATFORM}.url = {};", literal::string(address));
        match self {
            Self::Vendored => vec![url(INPUT)],
            Self::Flake { address, follows } => {
                let follows =
                    follows.then(|| format!("{PLATFORM}.inputs.nixpkgs.follows = \"nixpkgs\";"));
                std::iter::once(url(address)).chain(follows).collect()
            }
        }
    }
}

/// Nobody is to think that the embedded platform comes from there.
pub(crate) fn expect_no_address(platform: Platform, address: Option<&str>) -> Result<(), Error> {
    match (platform, address) {
        (Platform::Embedded, Some(_)) => Err(Error::AddressOfEmbedded),
        _ => Ok(()),
    }
}

/// A flake reference with a scheme that means the same from wherever it is read.
pub(crate) fn checked(address: Option<&str>) -> Result<&str, Error> {
    let address = address.ok_or(Error::NoAddress)?;
    let (scheme, rest) = address.split_once(':').unwrap_or_default();
    let named = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|one| one.is_ascii_lowercase() || b"0123456789+.-".contains(&one));
    let relative = scheme == "path" && !rest.starts_with('/');
    let plain = address.len() <= LIMIT && address.bytes().all(|one| one.is_ascii_graphic());
    if named && plain && !relative && !rest.is_empty() {
        Ok(address)
    } else {
        Err(Error::Address { address: address.escape_debug().to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_the_same_from_everywhere() {
        for good in ["git+https://git.example.org/bedplate", "path:/srv/bedplate", "github:a/b"] {
            assert_eq!(checked(Some(good)).unwrap(), good);
        }
        let long = format!("path:/{}", "a".repeat(LIMIT));
        for bad in ["", "bedplate", "./x", "path:.", "path:./bedplate", "path:", ":x", &long] {
            assert!(matches!(checked(Some(bad)), Err(Error::Address { .. })), "{bad}");
        }
        assert!(matches!(checked(None), Err(Error::NoAddress)));
    }

    #[test]
    fn t17_an_address_is_a_string_to_nix_and_shows_no_control_character() {
        for bad in ["git+file:///a b", "path:/a\nb", "path:/\u{1b}[31m", "path:/é"] {
            let error = checked(Some(bad)).unwrap_err().to_string();
            assert!(!error.contains('\u{1b}') && error.lines().count() == 2, "{error:?}");
        }
        let address = "path:/${builtins.throw}\"".to_owned();
        let lines = Input::Flake { address, follows: true }.lines();
        assert_eq!(
            lines,
            [
                "bedplate.url = \"path:/\\${builtins.throw}\\\"\";",
                "bedplate.inputs.nixpkgs.follows = \"nixpkgs\";"
            ]
        );
    }
}
