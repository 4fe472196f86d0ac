//! What an expression of a flake comes to. It is evaluated as Nix does, lazily, with the repository's
//! own files and nothing else: what an input brings is [`Foreign`], what is not understood a
//! [`Doubt`]. Nothing is built, fetched or run, and there is an end to it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rnix::ast::{self, AstToken as _, Expr, InterpolPart, LiteralKind};

use super::frameworks::Framework;
use super::library;
use super::sources::{Kind, Sources, Wanted, below, split};
use super::tree::node;
use super::value::{At, Code, Doubt, Foreign, Function, List, Scope, State, Text};
use super::value::{Thunk, Value};

/// Steps of one evaluation: some hundred for each of ten thousand hosts.
const STEPS: u32 = 3_000_000;
/// Evaluations within evaluations.
const DEPTH: u32 = 400;

/// A directory that an expression lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    /// Where it is listed.
    pub at: At,
    /// The directory.
    pub directory: String,
}

/// One evaluation.
pub(super) struct Evaluator<'a> {
    sources: &'a Sources,
    pub wanted: RefCell<BTreeSet<Wanted>>,
    pub listings: RefCell<Vec<Listing>>,
    pub frameworks: RefCell<Vec<Framework>>,
    /// Where inputs come from, by name.
    pub urls: BTreeMap<String, String>,
    /// What the flake's outputs come to: `self`.
    pub outputs: RefCell<Option<Thunk>>,
    files: RefCell<BTreeMap<String, Value>>,
    steps: Cell<u32>,
    depth: Cell<u32>,
}

impl<'a> Evaluator<'a> {
    pub fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            wanted: RefCell::default(),
            listings: RefCell::default(),
            frameworks: RefCell::default(),
            urls: BTreeMap::new(),
            outputs: RefCell::default(),
            files: RefCell::default(),
            steps: Cell::new(0),
            depth: Cell::new(0),
        }
    }

    pub fn doubt(&self, at: &At, why: impl Into<String>) -> Value {
        Value::Doubt(Rc::new(Doubt { at: at.clone(), why: why.into() }))
    }

    pub fn foreign(&self, path: &[&str], at: &At) -> Value {
        let path = path.iter().map(|part| Rc::from(*part)).collect();
        let foreign = Foreign { path, arguments: Vec::new(), before: None, at: at.clone() };
        Value::Foreign(Rc::new(foreign))
    }

    /// The value of a thunk.
    pub fn force(&self, thunk: &Thunk) -> Value {
        let state = thunk.0.state.replace(State::Busy);
        let value = match (state, &thunk.0.code) {
            (State::Done(value), _) => value,
            (State::Waiting, Code::Expr(expression, scope)) => self.eval(expression, scope),
            (State::Waiting, Code::Apply(function, argument, at)) => {
                self.within(at, || self.apply(&self.force(function), argument, at))
            }
            (State::Waiting, Code::Select(of, name, at)) => {
                self.within(at, || self.attribute(&self.force(of), name, at))
            }
            _ => {
                let at = match &thunk.0.code {
                    Code::Expr(expression, scope) => scope.at(start(expression)),
                    Code::Apply(_, _, at) | Code::Select(_, _, at) => at.clone(),
                    Code::Value => At { file: "flake.nix".into(), offset: 0 },
                };
                return self.doubt(&at, "what stands here refers to itself");
            }
        };
        thunk.0.state.replace(State::Done(value.clone()));
        value
    }

    /// Counts work that grows with what is worked on; whether there is any left to do it.
    pub fn spend(&self, work: usize) -> bool {
        let work = u32::try_from(work).unwrap_or(STEPS);
        self.steps.set(self.steps.get().saturating_add(work));
        self.steps.get() <= STEPS
    }

    /// What is said of work that is not done.
    pub fn too_long(&self, at: &At) -> Value {
        self.doubt(at, "what stands here takes too long to follow")
    }

    fn within(&self, at: &At, what: impl FnOnce() -> Value) -> Value {
        if !self.spend(1) || self.depth.get() > DEPTH {
            return self.too_long(at);
        }
        self.depth.set(self.depth.get() + 1);
        let value = what();
        self.depth.set(self.depth.get() - 1);
        value
    }

    /// The value of an expression.
    pub fn eval(&self, expression: &Expr, scope: &Scope) -> Value {
        let at = scope.at(start(expression));
        self.within(&at, || self.eval_here(expression, scope, &at))
    }

    fn eval_here(&self, expression: &Expr, scope: &Scope, at: &At) -> Value {
        match expression {
            Expr::Paren(inner) => self.optional(inner.expr(), scope, at),
            Expr::Assert(inner) => self.optional(inner.body(), scope, at),
            Expr::With(with) => {
                let namespace = with.namespace().map(|namespace| Thunk::expr(namespace, scope));
                self.optional(with.body(), &scope.inner(namespace), at)
            }
            Expr::LetIn(binding) => {
                let inner = scope.inner(None);
                self.bindings(binding, &inner, scope, true);
                self.optional(binding.body(), &inner, at)
            }
            Expr::AttrSet(set) => {
                let inner =
                    if set.rec_token().is_some() { scope.inner(None) } else { scope.clone() };
                Value::Set(Rc::new(self.bindings(set, &inner, scope, set.rec_token().is_some())))
            }
            Expr::Ident(name) => {
                self.force(&self.lookup(&node(name).text().to_string(), scope, at))
            }
            Expr::Select(select) => self.select(select, scope, at),
            Expr::Apply(apply) => match (apply.lambda(), apply.argument()) {
                (Some(function), Some(argument)) => {
                    let function = self.eval(&function, scope);
                    self.apply(&function, &Thunk::expr(argument, scope), at)
                }
                _ => self.doubt(at, "this call is not understood"),
            },
            Expr::Lambda(lambda) => {
                Value::Function(Rc::new(Function { node: lambda.clone(), scope: scope.clone() }))
            }
            Expr::BinOp(operation) => self.operation(operation, scope, at),
            Expr::UnaryOp(operation) => self.negation(operation, scope, at),
            Expr::IfElse(choice) => self.choice(choice, scope, at),
            Expr::HasAttr(asked) => self.has(asked, scope, at),
            Expr::Str(text) => self.text(text, scope, at),
            Expr::PathRel(path) => {
                let parts = path.parts().into_iter().map(|part| match part {
                    InterpolPart::Literal(text) => {
                        InterpolPart::Literal(text.syntax().text().to_owned())
                    }
                    InterpolPart::Interpolation(inner) => InterpolPart::Interpolation(inner),
                });
                self.path(parts, scope, at)
            }
            Expr::List(list) => {
                let items = list.items().map(|item| Thunk::expr(item, scope)).collect();
                Value::List(Rc::new(List { items, doubts: Vec::new() }))
            }
            Expr::Literal(literal) => match literal.kind() {
                LiteralKind::Uri(uri) => Value::Text(Text::plain(uri.syntax().text())),
                _ => self.doubt(at, "a number stands here"),
            },
            Expr::PathAbs(_) | Expr::PathHome(_) | Expr::PathSearch(_) => {
                self.doubt(at, "this path leads out of the repository")
            }
            _ => self.doubt(at, "this expression is not understood"),
        }
    }

    pub(super) fn optional(&self, expression: Option<Expr>, scope: &Scope, at: &At) -> Value {
        match expression {
            Some(expression) => self.eval(&expression, scope),
            None => self.doubt(at, "an expression is missing here"),
        }
    }

    fn select(&self, select: &ast::Select, scope: &Scope, at: &At) -> Value {
        let mut value = self.optional(select.expr(), scope, at);
        let Some(path) = select.attrpath() else { return self.doubt(at, "a name is missing here") };
        for attribute in path.attrs() {
            let name = match self.name(&attribute, scope) {
                Ok(name) => name.text,
                Err(doubt) => return Value::Doubt(doubt),
            };
            let missing = match &value {
                Value::Set(set) => {
                    !set.entries.contains_key(&name)
                        && set.under.is_empty()
                        && set.doubts.is_empty()
                }
                _ => false,
            };
            if let (true, Some(default)) = (missing, select.default_expr()) {
                return self.eval(&default, scope);
            }
            value = self.attribute(&value, &name, at);
        }
        value
    }

    /// An attribute of a value.
    pub fn attribute(&self, value: &Value, name: &str, at: &At) -> Value {
        match value {
            Value::Set(set) => match set.entries.get(name) {
                Some(entry) => self.force(&entry.value),
                None => match (set.under.last(), set.doubts.first()) {
                    (_, Some(doubt)) => Value::Doubt(Rc::clone(doubt)),
                    // Of several, such as two libraries, the last: none of them is known.
                    (Some(under), None) => {
                        self.attribute(&Value::Foreign(Rc::clone(under)), name, at)
                    }
                    (None, None) => {
                        self.doubt(at, format!("there is no `{}` here", name.escape_debug()))
                    }
                },
            },
            Value::Foreign(foreign) => self.of_foreign(foreign, name, at),
            Value::Doubt(_) => value.clone(),
            _ => self.doubt(at, format!("there is no `{}` here", name.escape_debug())),
        }
    }

    fn of_foreign(&self, foreign: &Rc<Foreign>, name: &str, at: &At) -> Value {
        let parts: Vec<&str> = foreign.path.iter().map(|part| &**part).collect();
        if matches!(parts.as_slice(), ["self"] | ["inputs", "self"]) {
            match name {
                "outPath" => return Value::Path("".into()),
                "inputs" => return self.foreign(&["inputs"], at),
                _ => {}
            }
            let outputs = self.outputs.borrow().clone();
            return match outputs {
                Some(outputs) => self.attribute(&self.force(&outputs), name, at),
                None => self.doubt(at, "what the flake itself holds is not known here"),
            };
        }
        if let Some(value) = library::constant(&parts, name) {
            return value;
        }
        let mut path = foreign.path.clone();
        path.push(name.into());
        let before = if foreign.arguments.is_empty() {
            foreign.before.clone()
        } else {
            Some(Rc::clone(foreign))
        };
        let found = Foreign { path, arguments: Vec::new(), before, at: at.clone() };
        super::frameworks::taken(self, &found).unwrap_or_else(|| Value::Foreign(Rc::new(found)))
    }

    /// What a name means.
    pub fn lookup(&self, name: &str, scope: &Scope, at: &At) -> Thunk {
        for layer in scope.layers() {
            if let Some(found) = layer.names.borrow().get(name) {
                return found.clone();
            }
        }
        if name == "builtins" {
            return Thunk::done(self.foreign(&["builtins"], at));
        }
        if let Some(value) = library::global(name) {
            return Thunk::done(value.unwrap_or_else(|| self.foreign(&["builtins", name], at)));
        }
        let mut under = None;
        for with in scope.layers().filter_map(|layer| layer.with.as_ref()) {
            match self.force(with) {
                Value::Set(set) => {
                    if let Some(entry) = set.entries.get(name) {
                        return entry.value.clone();
                    }
                    if let (None, Some(found)) = (&under, set.under.first()) {
                        under = Some(self.of_foreign(found, name, at));
                    }
                    if let (None, Some(doubt)) = (&under, set.doubts.first()) {
                        under = Some(Value::Doubt(Rc::clone(doubt)));
                    }
                }
                Value::Foreign(found) if under.is_none() => {
                    under = Some(self.of_foreign(&found, name, at));
                }
                doubt @ Value::Doubt(_) if under.is_none() => under = Some(doubt),
                _ => {}
            }
        }
        let unknown = || self.doubt(at, format!("`{}` is bound nowhere", name.escape_debug()));
        Thunk::done(under.unwrap_or_else(unknown))
    }

    /// A call.
    pub fn apply(&self, function: &Value, argument: &Thunk, at: &At) -> Value {
        match function {
            Value::Function(function) => self.call(function, argument, at),
            Value::Foreign(foreign) => {
                let mut called = Foreign::clone(foreign);
                called.arguments.push(argument.clone());
                called.at = at.clone();
                self.within(at, || library::call(self, called, at))
            }
            Value::Set(set) => match set.entries.get("__functor") {
                Some(entry) => {
                    let functor = self.force(&entry.value);
                    let bound = self.apply(&functor, &Thunk::done(function.clone()), at);
                    self.apply(&bound, argument, at)
                }
                None => self.doubt(at, "a set is called here"),
            },
            Value::Doubt(_) => function.clone(),
            _ => self.doubt(at, "what is called here is no function"),
        }
    }

    fn call(&self, function: &Function, argument: &Thunk, at: &At) -> Value {
        let inner = self.open(function, argument, at);
        self.optional(function.node.body(), &inner, at)
    }

    /// What the body of a function sees.
    pub fn open(&self, function: &Function, argument: &Thunk, at: &At) -> Scope {
        let inner = function.scope.inner(None);
        match function.node.param() {
            Some(ast::Param::IdentParam(name)) => {
                inner.bind(&node(&name).text().to_string(), argument.clone());
            }
            Some(ast::Param::Pattern(pattern)) => self.pattern(&pattern, argument, &inner, at),
            None => {}
        }
        inner
    }

    /// Binds `{ a, b ? c, ... }@d`.
    fn pattern(&self, pattern: &ast::Pattern, argument: &Thunk, inner: &Scope, at: &At) {
        if let Some(name) = pattern.pat_bind().and_then(|bind| bind.ident()) {
            inner.bind(&node(&name).text().to_string(), argument.clone());
        }
        let value = self.force(argument);
        for entry in pattern.pat_entries() {
            let Some(name) = entry.ident().map(|name| node(&name).text().to_string()) else {
                continue;
            };
            let missing = match &value {
                Value::Set(set) => {
                    !set.entries.contains_key(name.as_str())
                        && set.under.is_empty()
                        && set.doubts.is_empty()
                }
                _ => false,
            };
            let bound = match entry.default() {
                Some(default) if missing => Thunk::expr(default, inner),
                _ => Thunk::select(argument, &name, at),
            };
            inner.bind(&name, bound);
        }
    }

    pub fn name(&self, attribute: &ast::Attr, scope: &Scope) -> Result<Text, Rc<Doubt>> {
        let at = scope.at(usize::from(node(attribute).text_range().start()));
        let value = match attribute {
            ast::Attr::Ident(name) => Value::Text(Text::plain(&node(name).text().to_string())),
            ast::Attr::Str(text) => self.text(text, scope, &at),
            ast::Attr::Dynamic(dynamic) => self.optional(dynamic.expr(), scope, &at),
        };
        match value {
            Value::Text(text) => Ok(Text { at: Some(at), ..text }),
            Value::Doubt(doubt) => Err(doubt),
            _ => Err(Rc::new(Doubt { at, why: "this name is computed".to_owned() })),
        }
    }

    /// The names in a directory.
    pub fn directory(&self, path: &str) -> Option<&'a super::sources::Names> {
        match self.sources.directories.get(path) {
            Some(names) => names.as_ref(),
            None => {
                self.wanted.borrow_mut().insert(Wanted::Directory(path.to_owned()));
                None
            }
        }
    }

    /// Whether it is known that there is no such directory.
    pub fn is_absent(&self, path: &str) -> bool {
        matches!(self.sources.directories.get(path), Some(None))
    }

    /// What stands at a path.
    pub fn kind(&self, path: &str) -> Option<Kind> {
        if path.is_empty() {
            return Some(Kind::Directory);
        }
        let (directory, name) = split(path);
        self.directory(directory)?.get(name).copied()
    }

    /// The text of a file.
    pub fn file(&self, path: &str) -> Option<&'a str> {
        match self.sources.files.get(path) {
            Some(text) => text.as_deref(),
            None => {
                self.wanted.borrow_mut().insert(Wanted::File(path.to_owned()));
                None
            }
        }
    }

    /// What a file holds, as `import` sees it.
    pub fn import(&self, path: &str, at: &At) -> Value {
        let path = match self.kind(path) {
            Some(Kind::Directory) => below(path, "default.nix"),
            Some(Kind::File) => path.to_owned(),
            _ => return self.doubt(at, format!("{} cannot be read", path.escape_debug())),
        };
        if let Some(value) = self.files.borrow().get(&path) {
            return value.clone();
        }
        let value = match self.sources.files.get(&path) {
            Some(Some(text)) => match super::parsed(text) {
                Ok(root) => self.optional(root, &Scope::of_file(&path), at),
                Err((offset, why)) => self.doubt(&At { file: path.as_str().into(), offset }, why),
            },
            Some(None) => self.doubt(at, format!("{} cannot be read", path.escape_debug())),
            None => {
                self.wanted.borrow_mut().insert(Wanted::File(path.clone()));
                return self.doubt(at, format!("{} was not read", path.escape_debug()));
            }
        };
        self.files.borrow_mut().insert(path, value.clone());
        value
    }
}

pub(super) fn start(expression: &Expr) -> usize {
    usize::from(node(expression).text_range().start())
}
