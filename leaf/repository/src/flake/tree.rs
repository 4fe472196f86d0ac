//! Small questions to a syntax tree.

use rnix::ast::{self, AstNode, Expr, HasEntry, InterpolPart};
use rnix::{ParseError, SyntaxKind, SyntaxNode};

use super::words;

/// The node below an element of the tree.
pub(super) fn node<N: AstNode>(element: &N) -> &SyntaxNode {
    element.syntax()
}

/// A node as an element of a kind, when it is one.
pub(super) fn cast<N: AstNode>(found: SyntaxNode) -> Option<N> {
    N::cast(found)
}

/// Children of a kind.
pub(super) fn children<N: AstNode>(parent: &SyntaxNode) -> impl Iterator<Item = N> {
    parent.children().filter_map(N::cast)
}

/// The name of an attribute; none when it is computed.
pub(super) fn attribute_name(attribute: &ast::Attr) -> Option<String> {
    match attribute {
        ast::Attr::Ident(name) => Some(node(name).text().to_string()),
        ast::Attr::Str(text) => plain_string(text),
        ast::Attr::Dynamic(_) => None,
    }
}

/// The parts of `a.b = …`.
pub(super) fn attribute_path(pair: &ast::AttrpathValue) -> Vec<Option<String>> {
    let path = pair.attrpath().map(|path| path.attrs().collect::<Vec<_>>());
    path.unwrap_or_default().iter().map(attribute_name).collect()
}

/// The entry `name = …;` of a set.
pub(super) fn entry(set: &ast::AttrSet, name: &str) -> Option<ast::AttrpathValue> {
    set.attrpath_values()
        .find(|pair| matches!(attribute_path(pair).as_slice(), [Some(found)] if found == name))
}

/// The value of a string without interpolation.
pub(super) fn plain_string(text: &ast::Str) -> Option<String> {
    match text.normalized_parts().as_slice() {
        [] => Some(String::new()),
        [InterpolPart::Literal(text)] => Some(text.clone()),
        _ => None,
    }
}

/// An expression without what stands around it and does not change it.
pub(super) fn bare(expression: &Expr) -> Expr {
    let mut found = expression.clone();
    loop {
        let inner = match &found {
            Expr::Paren(paren) => paren.expr(),
            Expr::Assert(assert) => assert.body(),
            Expr::With(with) => with.body(),
            Expr::LetIn(binding) => binding.body(),
            _ => None,
        };
        match inner {
            Some(inner) => found = inner,
            None => return found,
        }
    }
}

/// The names that a `let` or a set binds.
pub(super) fn bound(of: &impl HasEntry) -> Vec<String> {
    let pairs = of.attrpath_values().map(|pair| attribute_path(&pair));
    let names = pairs.filter_map(|path| path.into_iter().next().flatten());
    let inherited = of.inherits().flat_map(|one| one.attrs().collect::<Vec<_>>());
    names.chain(inherited.filter_map(|attribute| attribute_name(&attribute))).collect()
}

/// Where the lines of a text begin.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// Line and column in characters, from 1.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

/// Line and column in characters, from 1.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    Lines::of(text).position(offset)
}

/// Where a mistake is and what it is, without a character of the file's: those may be anything.
pub(super) fn describe(error: &ParseError, text: &str) -> (usize, String) {
    let at = |range: &rnix::TextRange| usize::from(range.start());
    let wanted = |kinds: &[SyntaxKind]| {
        let names: Vec<String> = kinds.iter().map(|kind| words::of(*kind)).collect();
        names.join(" or ")
    };
    match error {
        ParseError::Unexpected(range) => (at(range), "this is not expected here".to_owned()),
        ParseError::UnexpectedExtra(range) => (at(range), "the file should end here".to_owned()),
        ParseError::UnexpectedWanted(found, range, kinds) => {
            let found = words::of(*found);
            (at(range), format!("{found} is not expected here, but {}", wanted(kinds)))
        }
        ParseError::UnexpectedDoubleBind(range) => (at(range), "a second `@` name".to_owned()),
        ParseError::DuplicatedArgs(range, _) => (at(range), "an argument stands twice".to_owned()),
        ParseError::UnexpectedEOF => (text.len(), "the file ends too early".to_owned()),
        ParseError::UnexpectedEOFWanted(kinds) => {
            (text.len(), format!("the file ends too early; {} is expected", wanted(kinds)))
        }
        _ => (0, "it is nested too deeply".to_owned()),
    }
}
