//! Small questions to a syntax tree.

use rnix::ast::{self, AstNode, BinOpKind, Expr, HasEntry, InterpolPart};
use rnix::{ParseError, SyntaxKind, SyntaxNode};

/// The node below an element of the tree.
pub(super) fn node<N: AstNode>(element: &N) -> &SyntaxNode {
    element.syntax()
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

/// A relative path without `./` and a slash at the end; up to the part with the first interpolation.
pub(super) fn relative_path(path: &SyntaxNode) -> Option<String> {
    let first = path.first_child_or_token()?.into_token()?;
    let mut text = first.text().strip_prefix("./")?;
    if first.next_sibling_or_token().is_some() {
        text = text.rsplit_once('/').map_or("", |(directory, _)| directory);
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// The name of what is called: `a.b.c` of `a.b.c x`.
pub(super) fn called(apply: &ast::Apply) -> Option<Vec<String>> {
    match apply.lambda()? {
        Expr::Ident(name) => Some(vec![node(&name).text().to_string()]),
        Expr::Select(select) if select.or_token().is_none() => {
            let Expr::Ident(first) = select.expr()? else { return None };
            let mut names = vec![Some(node(&first).text().to_string())];
            names.extend(select.attrpath()?.attrs().map(|attribute| attribute_name(&attribute)));
            names.into_iter().collect()
        }
        _ => None,
    }
}

/// What a result is merged from with `//`, and the names bound around it.
pub(super) fn operands(expression: Expr, found: &mut Vec<Expr>, bound: &mut Vec<String>) {
    match expression {
        Expr::Paren(paren) => inner(paren.expr(), found, bound),
        Expr::Assert(assert) => inner(assert.body(), found, bound),
        Expr::With(with) => inner(with.body(), found, bound),
        Expr::LetIn(binding) => {
            let pairs = binding.attrpath_values().map(|pair| attribute_path(&pair));
            bound.extend(pairs.filter_map(|path| path.into_iter().next().flatten()));
            let inherited = binding.inherits().flat_map(|one| one.attrs().collect::<Vec<_>>());
            bound.extend(inherited.filter_map(|attribute| attribute_name(&attribute)));
            inner(binding.body(), found, bound);
        }
        Expr::BinOp(operation) if operation.operator() == Some(BinOpKind::Update) => {
            inner(operation.lhs(), found, bound);
            inner(operation.rhs(), found, bound);
        }
        other => found.push(other),
    }
}

fn inner(expression: Option<Expr>, found: &mut Vec<Expr>, bound: &mut Vec<String>) {
    if let Some(expression) = expression {
        operands(expression, found, bound);
    }
}

/// Line and column in characters, from 1.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Where a mistake is and what it is, without a character of the file's: those may be anything.
pub(super) fn describe(error: &ParseError, text: &str) -> (usize, String) {
    let at = |range: &rnix::TextRange| usize::from(range.start());
    let wanted = |kinds: &[SyntaxKind]| {
        let names: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
        names.join(" or ")
    };
    match error {
        ParseError::Unexpected(range) => (at(range), "this is not expected here".to_owned()),
        ParseError::UnexpectedExtra(range) => (at(range), "the file should end here".to_owned()),
        ParseError::UnexpectedWanted(found, range, kinds) => {
            (at(range), format!("{found:?} is not expected here, but {}", wanted(kinds)))
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
