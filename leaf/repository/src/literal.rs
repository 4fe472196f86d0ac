//! Strings of others as Nix reads them: never as code.

/// A string literal. Every `$` is escaped, so that no `${` can arise from what stands beside it.
pub fn string(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' | '$' => literal.extend(['\\', character]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            _ => literal.push(character),
        }
    }
    literal.push('"');
    literal
}

/// The name of an attribute: bare where Nix takes it, else as a string.
pub fn attribute(name: &str) -> String {
    const KEYWORDS: [&str; 10] =
        ["assert", "else", "if", "in", "inherit", "let", "or", "rec", "then", "with"];
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let bare = first
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        && !KEYWORDS.contains(&name);
    if bare { name.to_owned() } else { string(name) }
}

/// A path below the directory of the file it stands in.
pub fn path(relative: &str) -> String {
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c))
    };
    if relative.split('/').all(plain) {
        format!("./{relative}")
    } else {
        format!("(./. + {})", string(&format!("/{relative}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rnix::ast::{Expr, InterpolPart};

    use super::*;

    /// What Nix's grammar makes of an expression that is one string.
    fn read(literal: &str) -> Option<String> {
        let tree = rnix::Root::parse(literal).ok().ok()?;
        let Some(Expr::Str(string)) = tree.expr() else { return None };
        match string.normalized_parts().as_slice() {
            [] => Some(String::new()),
            [InterpolPart::Literal(text)] => Some(text.clone()),
            _ => None,
        }
    }

    const HOSTILE: [&str; 9] =
        ["${x}", "$${x}", "''${x}''", "a\"b", "a\nb\r\t", "\\", "\\${x}", "$", "''"];

    #[test]
    fn t17_hostile_strings_round_trip_through_a_literal() {
        for text in HOSTILE {
            assert_eq!(read(&string(text)).as_deref(), Some(text), "{}", string(text));
        }
    }

    #[test]
    fn t17_attributes_and_paths_are_bare_only_where_nix_takes_them() {
        assert_eq!(attribute("hypervisor-2"), "hypervisor-2");
        assert_eq!((attribute("1box"), attribute("or")), ("\"1box\"".into(), "\"or\"".into()));
        assert_eq!(path("nix/hosts/box"), "./nix/hosts/box");
        assert_eq!(path("my@hosts/box"), "(./. + \"/my@hosts/box\")");
        assert_eq!(path("a/${x}"), "(./. + \"/a/\\${x}\")");
    }

    proptest! {
        #[test]
        fn t17_any_string_round_trips(text in "[^\\x00]{0,40}") {
            prop_assert_eq!(read(&string(&text)), Some(text));
        }
    }
}
