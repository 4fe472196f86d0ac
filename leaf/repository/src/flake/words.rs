//! What the pieces of Nix's syntax are called.

use rnix::SyntaxKind::{self, *};

/// A piece as it is written, or in words.
pub(super) fn of(kind: SyntaxKind) -> String {
    let written = match kind {
        TOKEN_ADD => "+",
        TOKEN_AND_AND => "&&",
        TOKEN_ASSIGN => "=",
        TOKEN_ASSERT => "assert",
        TOKEN_AT => "@",
        TOKEN_COLON => ":",
        TOKEN_COMMA => ",",
        TOKEN_CONCAT => "++",
        TOKEN_CUR_POS => "__curPos",
        TOKEN_DIV => "/",
        TOKEN_DOT => ".",
        TOKEN_ELLIPSIS => "...",
        TOKEN_ELSE => "else",
        TOKEN_EQUAL => "==",
        TOKEN_IF => "if",
        TOKEN_IMPLICATION => "->",
        TOKEN_IN => "in",
        TOKEN_INHERIT => "inherit",
        TOKEN_INTERPOL_END => "}",
        TOKEN_INTERPOL_START => "${",
        TOKEN_INVERT => "!",
        TOKEN_L_BRACE => "{",
        TOKEN_L_BRACK => "[",
        TOKEN_L_PAREN => "(",
        TOKEN_LESS => "<",
        TOKEN_LESS_OR_EQ => "<=",
        TOKEN_LET => "let",
        TOKEN_MORE => ">",
        TOKEN_MORE_OR_EQ => ">=",
        TOKEN_MUL => "*",
        TOKEN_NOT_EQUAL => "!=",
        TOKEN_OR => "or",
        TOKEN_OR_OR => "||",
        TOKEN_PIPE_LEFT => "<|",
        TOKEN_PIPE_RIGHT => "|>",
        TOKEN_QUESTION => "?",
        TOKEN_R_BRACE => "}",
        TOKEN_R_BRACK => "]",
        TOKEN_R_PAREN => ")",
        TOKEN_REC => "rec",
        TOKEN_SEMICOLON => ";",
        TOKEN_SUB => "-",
        TOKEN_THEN => "then",
        TOKEN_UPDATE => "//",
        TOKEN_WITH => "with",
        other => return in_words(other).to_owned(),
    };
    format!("`{written}`")
}

fn in_words(kind: SyntaxKind) -> &'static str {
    match kind {
        TOKEN_COMMENT => "a comment",
        TOKEN_WHITESPACE => "space",
        TOKEN_IDENT | NODE_IDENT => "a name",
        TOKEN_INTEGER | TOKEN_FLOAT | NODE_LITERAL => "a number",
        TOKEN_PATH_ABS | TOKEN_PATH_HOME | TOKEN_PATH_REL | TOKEN_PATH_SEARCH => "a path",
        TOKEN_STRING_CONTENT | NODE_STRING => "text",
        TOKEN_STRING_START => "the start of a string",
        TOKEN_STRING_END => "the end of a string",
        TOKEN_URI => "an address",
        TOKEN_ERROR => "a character that Nix does not know",
        NODE_ATTR_SET => "an attribute set",
        NODE_LIST => "a list",
        NODE_LAMBDA => "a function",
        _ => "an expression",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_has_a_name_that_people_know() {
        let tokens =
            "{ a = [ 1 \"x${b}\" ./p <q> ]; } // (f: x) -> a == b || !c && d ? e . g ... @ # c";
        for (kind, text) in rnix::tokenize(tokens) {
            let named = of(kind);
            assert!(!named.contains("TOKEN") && !named.contains("NODE"), "{text}: {named}");
        }
        assert_eq!((of(TOKEN_ASSIGN), of(TOKEN_IDENT)), ("`=`".to_owned(), "a name".to_owned()));
    }
}
