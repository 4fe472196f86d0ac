//! How deeply a text nests, before it is parsed: the parser and its tree recurse, and not every
//! recursion of theirs has a limit (T13).

use rnix::SyntaxKind::{self, *};

/// Brackets within brackets.
const BRACKETS: usize = 200;
/// Words and operators of one expression, of those around it too, that no bracket holds together.
const WORDS: usize = 2000;

/// The offset at which a text nests too deeply to be read.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let mut open: Vec<(SyntaxKind, usize)> = vec![(TOKEN_L_BRACE, 0)];
    let (mut offset, mut words) = (0, 0);
    for (kind, token) in rnix::tokenize(text) {
        match kind {
            TOKEN_L_BRACE | TOKEN_L_BRACK | TOKEN_L_PAREN | TOKEN_INTERPOL_START => {
                open.push((kind, 0));
            }
            TOKEN_R_BRACE | TOKEN_R_BRACK | TOKEN_R_PAREN | TOKEN_INTERPOL_END
                if open.len() > 1 =>
            {
                words -= open.pop().map_or(0, |(_, inside)| inside);
            }
            TOKEN_SEMICOLON | TOKEN_COMMA => {
                if let Some((_, inside)) = open.last_mut() {
                    words -= std::mem::take(inside);
                }
            }
            TOKEN_WHITESPACE | TOKEN_COMMENT | TOKEN_STRING_CONTENT | TOKEN_STRING_START
            | TOKEN_STRING_END => {}
            // The elements of a list stand side by side.
            _ => {
                if let Some((_, inside)) =
                    open.last_mut().filter(|(kind, _)| *kind != TOKEN_L_BRACK)
                {
                    *inside += 1;
                    words += 1;
                }
            }
        }
        if open.len() > BRACKETS || words > WORDS {
            return Some(offset);
        }
        offset += token.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t13_what_nests_is_told_from_what_is_long() {
        let entries: String =
            (0..5000).map(|n| format!("a{n} = f x // {{ y = [ 1 ]; }};\n")).collect();
        let list = "x ".repeat(5000);
        let script = "line ${x}\n".repeat(5000);
        assert_eq!(too_deep(&format!("{{ {entries} l = [ {list} ]; s = ''{script}''; }}")), None);
        assert_eq!(too_deep(&"[".repeat(300)), Some(199));
        for chain in ["!", "a // ", "f ", "x: ", "- ", "a -> "] {
            assert!(too_deep(&chain.repeat(3000)).is_some(), "{chain}");
        }
    }
}
