//! The call of `nixosSystem` by which a flake makes its hosts.

use rnix::ast::{self, Expr, HasEntry as _};

use super::Flake;
use super::tree::{attribute_path, bare, cast, node, position};

/// A longer text is not repeated in advice.
const LONG: usize = 200;

/// A call of `nixosSystem`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnCall {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is called.
    pub function: String,
    /// Its `specialArgs`, where they are written out and mean the same elsewhere.
    pub arguments: Option<String>,
}

impl Flake {
    /// The first call of `nixosSystem` in the outputs.
    pub(crate) fn own_call(&self) -> Option<OwnCall> {
        let outputs = self.outputs().ok()?;
        let calls = node(&outputs).descendants().filter_map(cast::<ast::Apply>);
        let mut calls = calls.filter_map(|call| Some((called(&call)?, call)));
        let (function, call) = calls.next()?;
        let (line, column) = position(&self.text, usize::from(node(&call).text_range().start()));
        // Inside a function of its owner's, names may be bound that mean nothing elsewhere.
        let within = node(&call).ancestors().skip(1).take_while(|around| around != node(&outputs));
        let alone = within.filter_map(cast::<ast::Lambda>).next().is_none();
        let arguments = call.argument().as_ref().map(bare).and_then(|argument| match argument {
            Expr::AttrSet(set) => written(&set, alone),
            _ => None,
        });
        Some(OwnCall { line, column, function, arguments })
    }
}

fn called(call: &ast::Apply) -> Option<String> {
    let text = node(&call.lambda()?).text().to_string();
    let plain = text.chars().all(|one| one.is_ascii_alphanumeric() || "._-'".contains(one));
    (plain && text.rsplit('.').next() == Some("nixosSystem")).then_some(text)
}

fn written(set: &ast::AttrSet, alone: bool) -> Option<String> {
    let is = |pair: &ast::AttrpathValue| matches!(attribute_path(pair).as_slice(), [Some(name)] if name == "specialArgs");
    let Some(pair) = set.attrpath_values().find(is) else {
        let inherited =
            set.inherits().any(|inherit| node(&inherit).text().to_string().contains("specialArgs"));
        return inherited.then(|| "specialArgs".to_owned()).filter(|_| alone);
    };
    let text = node(&pair.value()?).text().to_string();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let only_inputs = text.replace(' ', "") == "{inheritinputs;}";
    let plain =
        text.len() <= LONG && !text.contains('#') && text.chars().all(|one| !one.is_control());
    (plain && (alone || only_inputs)).then_some(text)
}
