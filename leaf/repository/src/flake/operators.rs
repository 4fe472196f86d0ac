//! Operators, choices, strings and paths.

use rnix::ast::{self, BinOpKind, Expr, InterpolPart, UnaryOpKind};

use super::evaluate::Evaluator;
use super::library;
use super::sources::{normal, split};
use super::value::{At, Foreign, Scope, Text, Thunk, Value};

/// A longer string is neither a name nor a path.
const LONG: usize = 1 << 16;

impl Evaluator<'_> {
    pub(super) fn operation(&self, operation: &ast::BinOp, scope: &Scope, at: &At) -> Value {
        let side = |expression: Option<Expr>| self.optional(expression, scope, at);
        let Some(kind) = operation.operator() else {
            return self.doubt(at, "this operator is not understood");
        };
        match kind {
            BinOpKind::Update => {
                library::update(self, &side(operation.lhs()), &side(operation.rhs()), at)
            }
            BinOpKind::Concat => {
                library::append(self, &side(operation.lhs()), &side(operation.rhs()), at)
            }
            BinOpKind::Add => self.sum(&side(operation.lhs()), &side(operation.rhs()), at),
            BinOpKind::PipeRight | BinOpKind::PipeLeft => {
                let (function, argument) = match kind {
                    BinOpKind::PipeRight => (operation.rhs(), operation.lhs()),
                    _ => (operation.lhs(), operation.rhs()),
                };
                match argument {
                    Some(argument) => {
                        self.apply(&side(function), &Thunk::expr(argument, scope), at)
                    }
                    None => self.doubt(at, "an expression is missing here"),
                }
            }
            BinOpKind::And | BinOpKind::Or | BinOpKind::Implication => {
                let decides = kind != BinOpKind::And;
                let first = match (side(operation.lhs()), kind) {
                    (Value::Bool(value), BinOpKind::Implication) => Value::Bool(!value),
                    (other, _) => other,
                };
                match first {
                    Value::Bool(value) if value == decides => Value::Bool(decides),
                    Value::Bool(_) => side(operation.rhs()),
                    other => match side(operation.rhs()) {
                        Value::Bool(value) if value == decides => Value::Bool(decides),
                        _ => other,
                    },
                }
            }
            BinOpKind::Equal | BinOpKind::NotEqual => {
                let equal = library::equal(&side(operation.lhs()), &side(operation.rhs()));
                match equal {
                    Some(equal) => Value::Bool(equal == (kind == BinOpKind::Equal)),
                    None => self.doubt(at, "what this compares is not known"),
                }
            }
            _ => self.doubt(at, "numbers are not followed"),
        }
    }

    pub(super) fn negation(&self, operation: &ast::UnaryOp, scope: &Scope, at: &At) -> Value {
        match (operation.operator(), self.optional(operation.expr(), scope, at)) {
            (Some(UnaryOpKind::Invert), Value::Bool(value)) => Value::Bool(!value),
            (_, other @ Value::Doubt(_)) => other,
            _ => self.doubt(at, "what this negates is not known"),
        }
    }

    /// A path or a string with something behind it.
    fn sum(&self, left: &Value, right: &Value, at: &At) -> Value {
        match (left, right) {
            (Value::Text(one), Value::Text(other)) if one.text.len() + other.text.len() > LONG => {
                self.too_long(at)
            }
            (Value::Text(one), Value::Text(other)) => {
                Value::Text(one.become_text(&format!("{}{}", one.text, other.text)))
            }
            (Value::Path(path), Value::Text(text)) => self.joined(path, &text.text, at),
            (Value::Path(path), Value::Path(other)) => self.joined(path, &format!("/{other}"), at),
            (Value::Doubt(_), _) => left.clone(),
            (_, Value::Doubt(_)) => right.clone(),
            _ => self.doubt(at, "what this adds up is not known"),
        }
    }

    fn joined(&self, path: &str, more: &str, at: &At) -> Value {
        if path.len() + more.len() > LONG {
            return self.too_long(at);
        }
        match normal(&format!("{path}{more}")) {
            Some(path) => Value::Path(path.into()),
            None => self.doubt(at, "this path leads out of the repository"),
        }
    }

    pub(super) fn choice(&self, choice: &ast::IfElse, scope: &Scope, at: &At) -> Value {
        match self.optional(choice.condition(), scope, at) {
            Value::Bool(true) => self.optional(choice.body(), scope, at),
            Value::Bool(false) => self.optional(choice.else_body(), scope, at),
            condition => {
                // Either may come to be: what both lack is in neither.
                let one = self.optional(choice.body(), scope, at);
                let other = self.optional(choice.else_body(), scope, at);
                match (&one, &other) {
                    (Value::Set(_), Value::Set(_)) => library::update_deep(self, &one, &other, at),
                    (Value::List(_), Value::List(_)) => library::append(self, &one, &other, at),
                    (Value::Null, Value::Null) => Value::Null,
                    _ => match condition {
                        Value::Doubt(_) => condition,
                        _ => self.doubt(at, "which of the two it is, is not known"),
                    },
                }
            }
        }
    }

    pub(super) fn has(&self, asked: &ast::HasAttr, scope: &Scope, at: &At) -> Value {
        let Some(path) = asked.attrpath() else { return self.doubt(at, "a name is missing here") };
        let mut value = self.optional(asked.expr(), scope, at);
        for attribute in path.attrs() {
            let name = match self.name(&attribute, scope) {
                Ok(name) => name.text,
                Err(doubt) => return Value::Doubt(doubt),
            };
            match &value {
                Value::Set(set) => match set.entries.get(&name) {
                    Some(entry) => value = self.force(&entry.value),
                    None if set.under.is_empty() && set.doubts.is_empty() => {
                        return Value::Bool(false);
                    }
                    None => return self.doubt(at, "whether this is there is not known"),
                },
                Value::Doubt(_) => return value,
                Value::Foreign(_) => return self.doubt(at, "whether this is there is not known"),
                _ => return Value::Bool(false),
            }
        }
        Value::Bool(true)
    }

    pub(super) fn text(&self, text: &ast::Str, scope: &Scope, at: &At) -> Value {
        let parts = text.normalized_parts();
        if let [InterpolPart::Interpolation(inner)] = parts.as_slice() {
            // `"${name}"` is the name, with where it comes from.
            return match self.optional(inner.expr(), scope, at) {
                found @ (Value::Text(_) | Value::Path(_) | Value::Doubt(_)) => found,
                Value::Foreign(foreign) if is_self(&foreign) => Value::Path("".into()),
                _ => self.doubt(at, "what is put into this string is not known"),
            };
        }
        let mut found: Option<Value> = None;
        for part in parts {
            let value = match part {
                InterpolPart::Literal(text) => Value::Text(Text::plain(&text)),
                InterpolPart::Interpolation(inner) => {
                    match self.optional(inner.expr(), scope, at) {
                        Value::Foreign(foreign) if is_self(&foreign) => Value::Path("".into()),
                        other => other,
                    }
                }
            };
            let next = match (&found, value) {
                (None, value) => value,
                (Some(before), value) => self.sum(before, &value, at),
            };
            if matches!(next, Value::Doubt(_)) {
                return next;
            }
            found = Some(next);
        }
        match found {
            None => Value::Text(Text { at: Some(at.clone()), ..Text::plain("") }),
            Some(Value::Text(text)) => {
                Value::Text(Text { at: text.at.or(Some(at.clone())), ..text })
            }
            Some(path @ Value::Path(_)) => path,
            _ => self.doubt(at, "what is put into this string is not known"),
        }
    }

    pub(super) fn path(
        &self,
        parts: impl Iterator<Item = InterpolPart<String>>,
        scope: &Scope,
        at: &At,
    ) -> Value {
        let mut text = split(&scope.0.file).0.to_owned() + "/";
        for part in parts {
            match part {
                InterpolPart::Literal(literal) => text.push_str(&literal),
                InterpolPart::Interpolation(inner) => {
                    match self.optional(inner.expr(), scope, at) {
                        Value::Text(found) => text.push_str(&found.text),
                        Value::Path(found) => text.push_str(&found),
                        doubt @ Value::Doubt(_) => return doubt,
                        _ => return self.doubt(at, "what is put into this path is not known"),
                    }
                }
            }
        }
        match normal(&text).filter(|_| text.len() <= LONG) {
            Some(path) => Value::Path(path.into()),
            None => self.doubt(at, "this path leads out of the repository"),
        }
    }
}

fn is_self(foreign: &Foreign) -> bool {
    foreign.arguments.is_empty() && matches!(foreign.path.as_slice(), [one] if &**one == "self")
        || matches!(foreign.path.as_slice(), [one, two] if &**one == "inputs" && &**two == "self")
}
