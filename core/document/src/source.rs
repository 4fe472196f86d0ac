//! `[flake.source]`: one place, and addresses and keys that are what they should be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::rules::{Wrong, only, require, starts_plainly};
use super::secret;
use super::section::Section;
use bedplate_model::host::{HttpsSource, Source, SourcePlace, SshSource, VolumeSource};

/// The first and last line of a certificate (RFC 7468, section 5.1).
const PEM: [&str; 2] = ["-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"];

/// No certificate is longer, in characters.
const CERTIFICATE_LIMIT: usize = 16 << 10;

pub(super) fn source(section: &Section<'_>) -> Source {
    count(section);
    let volume = |volume: Section<'_>| {
        SourcePlace::Volume(VolumeSource {
            label: volume.text("label"),
            path: volume.some_text("path"),
        })
    };
    let ssh = |ssh: Section<'_>| {
        SourcePlace::Ssh(SshSource {
            url: ssh.text("url"),
            key: secret::required(&ssh, "key"),
            host_key: ssh.text("host_key"),
        })
    };
    let https = |https: Section<'_>| {
        SourcePlace::Https(HttpsSource {
            url: https.text("url"),
            pinned_key: https.text("pinned_key"),
            certificate: https.some_text("certificate"),
        })
    };
    let places = [
        section.some_section("volume").map(volume),
        section.some_section("ssh").map(ssh),
        section.some_section("https").map(https),
    ];
    let nowhere = || SourcePlace::Volume(VolumeSource { label: String::new(), path: None });
    Source {
        branch: section.text("branch"),
        // That there is one place and not more has been checked.
        place: places.into_iter().flatten().next().unwrap_or_else(nowhere),
    }
}

/// None, or several.
fn count(section: &Section<'_>) {
    let mut given = section.one_of().iter().filter(|name| section.value(name).is_some());
    match (given.next(), given.next()) {
        (Some(_), None) => {}
        (Some(first), Some(second)) => {
            let message = format!("`{}` stands beside `{first}`", section.child(second));
            let help = "a repository comes from one place: keep one".into();
            section.wrong(second, Wrong { message, help });
        }
        (None, _) => {
            let message = format!("`{}` does not say where the repository is", section.path);
            let help = "write one of `volume = { label = \"INFRA\" }`, `[flake.source.ssh]`, \
                `[flake.source.https]`";
            section.wrong_here(Wrong { message, help: help.into() });
        }
    }
}

/// Label of a file system: at most what the longest, that of ISO 9660, has room for.
pub(super) fn volume_label(text: &str) -> Result<(), Wrong> {
    require(
        starts_plainly(text) && only(text, "._-") && text.len() <= 32,
        text,
        "a label of a volume",
        "use letters, 0-9, `.`, `_` and `-`, at most 32 characters; `blkid` shows it",
    )
}

/// A branch: less than git-check-ref-format(1) allows.
pub(super) fn branch(text: &str) -> Result<(), Wrong> {
    let component =
        |part: &str| starts_plainly(part) && !part.ends_with('.') && !part.ends_with(".lock");
    let fits = only(text, "._/-")
        && !text.contains("..")
        && text.split('/').all(component)
        && text.len() <= 200;
    require(
        fits && text != "HEAD",
        text,
        "a branch",
        "write its name, such as \"main\": letters, 0-9, `.`, `_`, `-` between single `/`",
    )
}

/// A public key of a server, as curl pins it (`CURLOPT_PINNEDPUBLICKEY(3)`).
pub(super) fn pinned_key(text: &str) -> Result<(), Wrong> {
    let digest = text.strip_prefix("sha256//").and_then(|base64| STANDARD.decode(base64).ok());
    require(
        digest.is_some_and(|digest| digest.len() == 32),
        text,
        "a pinned public key",
        "write `sha256//` and the base64 of the key's SHA-256, as docs/repositories.md shows",
    )
}

/// One X.509 certificate as PEM.
pub(super) fn certificate(text: &str) -> Result<(), Wrong> {
    let mut lines: Vec<&str> = text.trim_end().lines().collect();
    let last = lines.pop();
    let framed = lines.first() == PEM.first() && last.as_ref() == PEM.last();
    let base64: String = lines.get(1..).unwrap_or_default().concat();
    let der = STANDARD.decode(&base64).ok().filter(|_| framed && text.len() <= CERTIFICATE_LIMIT);
    if der.is_some_and(|der| is_sequence(&der)) {
        return Ok(());
    }
    // The text itself would fill the screen.
    let message = "this is not one certificate".to_owned();
    Err(Wrong {
        message,
        help: format!("write it as PEM: a line `{}`, base64, a line `{}`", PEM[0], PEM[1]),
    })
}

/// Whether the bytes are one SEQUENCE of DER, whole (X.690, 8.1.3): one that lost its end is not.
fn is_sequence(der: &[u8]) -> bool {
    match der {
        [0x30, 0x82, high, low, content @ ..] => {
            content.len() == usize::from(u16::from_be_bytes([*high, *low]))
        }
        [0x30, 0x81, length, content @ ..] => content.len() == usize::from(*length),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rule;
    use crate::rules::tests::{MISREAD, accept, refuse};

    const PIN: &str = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    #[test]
    fn t16_t17_what_git_ssh_or_a_shell_would_misread_is_no_source() {
        let rules: [(&str, Rule, &[&str]); 3] = [
            ("volume_label", volume_label, &["a/b", "a:b"]),
            (
                "branch",
                branch,
                &[
                    "HEAD", "a..b", "a.lock", "a/.b", "a//b", "/a", "a/", "a.", "a:b", "a~1", "a^",
                    "a@{0}", "+a", "a*",
                ],
            ),
            (
                "pinned_key",
                pinned_key,
                &[
                    "sha256//",
                    "sha256//AAAA",
                    &PIN[8..],
                    "sha1//AAAA",
                    "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
                ],
            ),
        ];
        refuse(&MISREAD, &rules);
    }

    #[test]
    fn what_people_write_is_accepted() {
        let good: [(Rule, &[&str]); 3] = [
            (volume_label, &["INFRA", "my-infra_2.0"]),
            (branch, &["main", "release/26.05", "feature/x_y-z"]),
            (pinned_key, &[PIN]),
        ];
        accept(&good);
    }

    #[test]
    fn a_certificate_is_one_and_whole() {
        let der: Vec<u8> = [0x30, 0x82, 0x01, 0x00].into_iter().chain([7; 256]).collect();
        let pem = |der: &[u8]| format!("{}\n{}\n{}\n", PEM[0], STANDARD.encode(der), PEM[1]);
        assert_eq!(certificate(&pem(&der)), Ok(()));
        let key = pem(&der).replace("CERTIFICATE", "PRIVATE KEY");
        let two = pem(&der) + &pem(&der);
        for bad in [&pem(&der[..200]), &pem(&[]), &key, &two, &pem(&der)[1..], "", "MIIB"] {
            assert!(certificate(bad).is_err(), "{bad}");
        }
    }
}
