//! A line of a document without the secrets that somebody typed into it by mistake: what is shown ends up in logs.

/// What names of keys with secrets in them have in common, mistyped ones too.
const SECRET: [&str; 12] = [
    "pass",
    "pasw",
    "pwd",
    "psk",
    "secret",
    "token",
    "cred",
    "apikey",
    "api_key",
    "access_key",
    "private_key",
    "keyfile_data",
];
/// Keys inside a secret's table that say where it is, and hold none.
const WHERE: [&str; 6] = ["stick", "file", "sops", "age", "key", "prompt"];

/// `line` with each value that may be a secret drawn as stars, character by character; `key` is what the problem is
/// about, with dots between its parts.
pub(super) fn hidden(line: &str, key: &str) -> String {
    let is_of_secret = key.split('.').any(is_secret);
    let mut out = String::new();
    let mut rest = line;
    // The key that the next value belongs to.
    let mut of = String::new();
    let mut is_inside = is_of_secret;
    while let Some(first) = rest.chars().next() {
        let is_word = |letter: char| letter.is_alphanumeric() || "-_+".contains(letter);
        let end = match first {
            '"' | '\'' => literal_end(rest, first),
            '#' => rest.len(),
            letter if is_word(letter) => {
                rest.find(|letter: char| !is_word(letter)).unwrap_or(rest.len())
            }
            letter => letter.len_utf8(),
        };
        let (part, after) = rest.split_at(end);
        let is_literal = first == '"' || first == '\'';
        let is_value = is_literal || is_word(first);
        if is_value && after.trim_start().starts_with(['=', '.']) {
            of = part.trim_matches(['"', '\'']).to_owned();
            is_inside |= is_secret(&of);
            out.push_str(part);
        } else if is_inside && (is_value || first == '#') && !WHERE.contains(&of.as_str()) {
            let last = part.chars().count() - 1;
            let is_quote = |at, letter| is_literal && letter == first && (at == 0 || at == last);
            let star = |(at, letter)| if is_quote(at, letter) { letter } else { '*' };
            out.extend(part.chars().enumerate().map(star));
        } else {
            out.push_str(part);
        }
        rest = after;
    }
    out
}

fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET.iter().any(|word| key.contains(word))
}

/// Where a text in quotes ends, behind the last of them; at the end of the line when it does not end.
fn literal_end(text: &str, quote: char) -> usize {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if quote == '"' => drop(letters.next()),
            letter if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t19_a_secret_that_was_typed_into_the_document_is_not_shown() {
        for (line, key, shown) in [
            ("password = \"hunter2\"", "backups.apps.password", "password = \"*******\""),
            ("pasword = 'hunter2'  # mine", "backups.apps.pasword", "pasword = '*******'  ******"),
            ("token = 123456", "notify.token", "token = ******"),
            ("password = \"hunter2", "", "password = \"*******"),
            ("password = \"a\\\"b\"", "", "password = \"****\""),
            (
                "apps = { password = \"hunter2\", paths = [\"/a\"] }",
                "",
                "apps = { password = \"*******\", paths = [\"**\"] }",
            ),
            ("password = { value = \"hunter2\" }", "", "password = { value = \"*******\" }"),
            ("AWS_X = \"hunter2\"", "backups.apps.credentials.AWS_X", "AWS_X = \"*******\""),
            ("\"password\" = \"hunter2\"", "", "\"password\" = \"*******\""),
            ("x.password = \"hunter2\"", "", "x.password = \"*******\""),
        ] {
            assert_eq!(hidden(line, key), shown);
            assert_eq!(hidden(line, key).chars().count(), line.chars().count());
        }
    }

    #[test]
    fn where_a_secret_is_and_everything_else_is_shown() {
        for line in [
            "password = { stick = \"bedplate/a\" }",
            "password = { sops = \"secrets.yaml\", key = \"apps\" }",
            "id = \"ata-X\"  # the token is not here",
            "[backups.apps]",
            "ssh_keys = [\"ssh-ed25519 AAAA me\"]",
            "",
            "\u{1f600} = \"x\"",
        ] {
            assert_eq!(hidden(line, "disks.os.id"), line);
        }
    }
}
