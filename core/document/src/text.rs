//! From the bytes of a file to the text of a document: one that is not UTF-8 is told as what it is.

use super::problem::{Marked, Problems};

/// Reads the bytes of a document as text. `file_name` appears in problems only.
pub fn text<'b>(bytes: &'b [u8], file_name: &str) -> Result<&'b str, Problems> {
    if let Some(encoding) = wide(bytes) {
        let shown = String::from_utf8_lossy(bytes);
        let message = format!("this is {encoding}, not UTF-8");
        let help = format!(
            "save it as UTF-8: `(Get-Content OLD) | Set-Content -Encoding utf8 NEW` in PowerShell, \
             `iconv -f {encoding} -t UTF-8 OLD > NEW` elsewhere"
        );
        return Err(one(&shown, file_name, 0..1, message, help));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = error.valid_up_to();
        let byte = bytes.get(valid).copied().unwrap_or_default();
        let meant = match char::from(byte) {
            letter if letter.is_control() => String::new(),
            letter => format!(", in Latin-1 the letter `{letter}`"),
        };
        let message = format!("byte {} of the file, 0x{byte:02x}{meant}, is not UTF-8", valid + 1);
        let help = "save it as UTF-8, in an editor by \"Save as\", or by \
                    `iconv -f ISO-8859-1 -t UTF-8 OLD > NEW`";
        // Up to there the text stands as it is, and in the place of the byte there is a sign.
        let shown = String::from_utf8_lossy(bytes);
        one(&shown, file_name, valid..valid + 1, message, help.to_owned())
    })
}

fn one(
    text: &str,
    file: &str,
    span: std::ops::Range<usize>,
    message: String,
    help: String,
) -> Problems {
    Problems::new(text, file, vec![Marked { span, key: String::new(), message, help }])
}

/// The encoding of text whose characters take two bytes or four, by its mark or by its zeros.
fn wide(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Some("UTF-16LE"),
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => Some("UTF-16BE"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PowerShell writes it, and as it is without a mark.
    fn utf16(text: &str, mark: &[u8], order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        mark.iter().copied().chain(text.encode_utf16().flat_map(order)).collect()
    }

    #[test]
    fn t58_text_that_is_not_utf_8_is_told_by_byte_and_line() {
        let told = text(b"schema = 1\n# caf\xe9\n", "host.toml").unwrap_err();
        let first = told.iter().next().unwrap();
        assert_eq!((told.len(), first.line, first.column), (1, 2, 6));
        assert!(first.message.contains("byte 17") && first.message.contains("0xe9"), "{told}");
        assert!(first.message.contains("`é`") && first.help.contains("iconv"), "{told}");
        for cut in [&b"x = \"\xc3"[..], b"\x80", b"x\x9b[2J"] {
            let told = text(cut, "host.toml").unwrap_err().to_string();
            assert!(!told.contains(['\u{9b}', '\u{80}']), "t18: {told:?}");
        }
        let good = "# café\nschema = 1\n";
        assert_eq!(text(good.as_bytes(), "host.toml"), Ok(good));
    }

    #[test]
    fn t58_utf_16_is_told_with_what_to_do() {
        let document = "schema = 1\n[host]\nname = \"käse\"\n";
        let wide = [
            utf16(document, &[0xff, 0xfe], u16::to_le_bytes),
            utf16(document, &[0xfe, 0xff], u16::to_be_bytes),
            utf16(document, &[], u16::to_le_bytes),
            utf16(document, &[], u16::to_be_bytes),
        ];
        for bytes in wide {
            let told = text(&bytes, "host.toml").unwrap_err().to_string();
            assert!(told.contains("UTF-16") && told.contains("Set-Content"), "{told}");
        }
        assert!(text("\u{feff}schema = 1\n".as_bytes(), "host.toml").is_ok());
        // A NUL in UTF-8 is a mistake of TOML, which is told where it stands.
        assert!(text(b"a = 1\0\n", "host.toml").is_ok());
    }
}
