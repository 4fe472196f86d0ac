//! Putting text at places of a syntax tree. Line ends are those of the file.

use std::collections::BTreeSet;

use rnix::ast::{self, BinOpKind, Expr, HasEntry as _};
use rnix::{NodeOrToken, SyntaxKind, SyntaxNode};

use super::tree::{attribute_path, entry, node};
use crate::shipped::PLATFORM;

/// Text for one place.
pub(super) struct Insertion {
    pub at: usize,
    pub text: String,
}

/// The entries of a flake that are about one input.
pub(super) fn inputs_of(top: &ast::AttrSet, name: &str) -> Vec<ast::AttrpathValue> {
    let is = |part: Option<&Option<String>>, name: &str| {
        part.and_then(Option::as_deref).is_some_and(|part| part == name)
    };
    let mut found = Vec::new();
    for pair in top.attrpath_values() {
        let path = attribute_path(&pair);
        if !is(path.first(), "inputs") {
            continue;
        }
        if is(path.get(1), name) {
            found.push(pair);
        } else if let ([_], Some(Expr::AttrSet(inputs))) = (path.as_slice(), pair.value()) {
            let ours = |inner: &ast::AttrpathValue| is(attribute_path(inner).first(), name);
            found.extend(inputs.attrpath_values().filter(ours));
        }
    }
    found
}

/// A line of an input, beside those that are there.
pub(super) fn input(top: &ast::AttrSet, line: &str) -> Result<Insertion, &'static str> {
    match entry(top, "inputs").map(|inputs| inputs.value()) {
        Some(Some(Expr::AttrSet(inputs))) => at_end(&inputs, line),
        Some(_) => Err("its inputs are no attribute set"),
        None => {
            let first = |pair: &ast::AttrpathValue| attribute_path(pair).into_iter().next();
            let is_input = |pair: &ast::AttrpathValue| {
                first(pair).flatten().is_some_and(|name| name == "inputs" || name == "description")
            };
            let line = format!("inputs.{line}");
            match top.attrpath_values().filter(is_input).last() {
                Some(last) => Ok(after(node(&last), &line)),
                None => Ok(at_start(top, &line)?),
            }
        }
    }
}

/// Whether `// { … }` behind an expression is about the whole of it.
pub(super) fn binds_tighter(expression: &Expr) -> bool {
    match expression {
        Expr::Apply(_) | Expr::Ident(_) | Expr::Select(_) | Expr::Paren(_) | Expr::AttrSet(_) => {
            true
        }
        Expr::BinOp(operation) => operation.operator() == Some(BinOpKind::Update),
        _ => false,
    }
}

/// The names in `{ a, b, ... }:`.
pub(super) fn names(pattern: &ast::Pattern) -> BTreeSet<String> {
    let names = pattern.pat_entries().filter_map(|entry| entry.ident());
    names.map(|name| node(&name).text().to_string()).collect()
}

/// One more name in `{ a, b, ... }:`.
pub(super) fn formal(pattern: &ast::Pattern) -> Result<Insertion, &'static str> {
    if let Some(last) = pattern.pat_entries().last() {
        let at = usize::from(node(&last).text_range().end());
        return Ok(Insertion { at, text: format!(", {PLATFORM}") });
    }
    if let Some(dots) = pattern.ellipsis_token() {
        let at = usize::from(dots.text_range().start());
        return Ok(Insertion { at, text: format!("{PLATFORM}, ") });
    }
    let open = brace(node(pattern), SyntaxKind::TOKEN_L_BRACE)?;
    Ok(Insertion { at: open, text: format!(" {PLATFORM}") })
}

/// A line behind the last entry of a set.
pub(super) fn at_end(set: &ast::AttrSet, line: &str) -> Result<Insertion, &'static str> {
    let mut entries = node(set).children();
    match entries.by_ref().last() {
        Some(last) => Ok(after(&last, line)),
        None => at_start(set, line),
    }
}

/// A line before all entries of a set.
fn at_start(set: &ast::AttrSet, line: &str) -> Result<Insertion, &'static str> {
    let at = brace(node(set), SyntaxKind::TOKEN_L_BRACE)?;
    let text = node(set).text().to_string();
    let spread = text.contains('\n');
    let text = match text.trim_start_matches("rec").trim_start().get(1..) {
        _ if spread => format!("\n{}  {line}", indent(node(set)).unwrap_or_default()),
        Some(rest) if rest.starts_with('}') => format!(" {line} "),
        _ => format!(" {line}"),
    };
    Ok(Insertion { at, text })
}

/// The offset behind the first token of a kind.
fn brace(parent: &SyntaxNode, kind: SyntaxKind) -> Result<usize, &'static str> {
    let mut tokens = parent.children_with_tokens().filter_map(NodeOrToken::into_token);
    let found = tokens.find(|token| token.kind() == kind);
    found.map(|token| usize::from(token.text_range().end())).ok_or("a set has no brace")
}

/// A line behind an entry, and behind the comment on its line.
pub(super) fn after(entry: &SyntaxNode, line: &str) -> Insertion {
    let mut at = usize::from(entry.text_range().end());
    let mut commented = false;
    let mut next = entry.next_sibling_or_token();
    while let Some(NodeOrToken::Token(token)) = next {
        match token.kind() {
            SyntaxKind::TOKEN_WHITESPACE if !token.text().contains('\n') => {}
            SyntaxKind::TOKEN_COMMENT => {
                // The end of a line is not the comment's, whichever it is.
                let kept = token.text().trim_end_matches('\r').len();
                at = usize::from(token.text_range().start()) + kept;
                commented = true;
            }
            _ => break,
        }
        next = token.next_sibling_or_token();
    }
    let text = match indent(entry) {
        Some(indent) => format!("\n{indent}{line}"),
        None if commented => format!("\n{line}"),
        None => format!(" {line}"),
    };
    Insertion { at, text }
}

/// What stands before a node on its line, when that is nothing but space.
fn indent(entry: &SyntaxNode) -> Option<String> {
    let root = entry.ancestors().last()?;
    let text = root.text().to_string();
    let before = text.get(..usize::from(entry.text_range().start()))?;
    let (_, start) = before.rsplit_once('\n')?;
    let space: String = start.chars().take_while(|c| *c == ' ' || *c == '\t').collect();
    // Of a value that stands behind its name, the line's own indentation is meant.
    let value = entry.kind() == SyntaxKind::NODE_ATTR_SET;
    (space == start || value).then_some(space)
}
