//! What an expression of a flake comes to, as far as the repository alone can say.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rnix::ast::{self, Expr};

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    /// The file.
    pub file: Rc<str>,
    /// The offset in its text.
    pub offset: usize,
}

/// Something that the repository does not say.
#[derive(Debug, Clone)]
pub(super) struct Doubt {
    /// Where it begins.
    pub at: At,
    /// What is not known.
    pub why: String,
}

/// A string, and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// Its characters.
    pub text: Rc<str>,
    /// Where it is written.
    pub at: Option<At>,
    /// The directory that it was listed in.
    pub listed: Option<Rc<str>>,
}

impl Text {
    /// A string of no particular place.
    pub fn plain(text: &str) -> Self {
        Self { text: text.into(), at: None, listed: None }
    }

    /// Another string of the same place.
    pub fn become_text(&self, text: &str) -> Self {
        Self { text: text.into(), ..self.clone() }
    }
}

/// A value.
#[derive(Clone)]
pub(super) enum Value {
    Set(Rc<Set>),
    Function(Rc<Function>),
    Text(Text),
    /// A path from the repository's root.
    Path(Rc<str>),
    List(Rc<List>),
    Bool(bool),
    Null,
    /// What comes from elsewhere: an input, a function of a library, what that returns.
    Foreign(Rc<Foreign>),
    Doubt(Rc<Doubt>),
}

/// An attribute set.
#[derive(Clone, Default)]
pub(super) struct Set {
    /// Entries by name.
    pub entries: BTreeMap<Rc<str>, Entry>,
    /// Sets from elsewhere that it was merged over: what is not among the entries may be there.
    pub under: Vec<Rc<Foreign>>,
    /// Those of them that take the place of entries.
    pub over: Vec<Rc<Foreign>>,
    /// Why there may be more, or others.
    pub doubts: Vec<Rc<Doubt>>,
    /// Directories of which each new one is an entry too, as a framework of hosts lists them.
    pub listers: Vec<Rc<str>>,
}

/// An entry of a set.
#[derive(Clone)]
pub(super) struct Entry {
    /// Its value.
    pub value: Thunk,
    /// Where its name is written.
    pub at: Option<At>,
    /// The directory that its name was listed in.
    pub listed: Option<Rc<str>>,
}

/// A list.
#[derive(Clone, Default)]
pub(super) struct List {
    /// Its elements.
    pub items: Vec<Thunk>,
    /// Why there may be more.
    pub doubts: Vec<Rc<Doubt>>,
}

/// A function that the repository holds.
pub(super) struct Function {
    /// Its syntax.
    pub node: ast::Lambda,
    /// What its body sees.
    pub scope: Scope,
}

/// Something from elsewhere.
#[derive(Clone)]
pub(super) struct Foreign {
    /// How it is reached.
    pub path: Vec<Rc<str>>,
    /// What it is called with.
    pub arguments: Vec<Thunk>,
    /// What was called before something was taken from what it returned.
    pub before: Option<Rc<Foreign>>,
    /// Where it is named or called.
    pub at: At,
}

impl Foreign {
    /// The last part of its name.
    pub fn name(&self) -> &str {
        self.path.last().map_or("", |name| name)
    }

    /// Whether a part of its name is this.
    pub fn passes(&self, name: &str) -> bool {
        self.path.iter().any(|part| &**part == name)
    }

    /// As it is shown, without a character that a terminal would act on.
    pub fn shown(&self) -> String {
        let parts: Vec<&str> = self.path.iter().map(|part| &**part).collect();
        let skipped = usize::from(parts.len() > 1 && parts.first() == Some(&"inputs"));
        parts.get(skipped..).unwrap_or_default().join(".").escape_debug().to_string()
    }
}

/// A value that is not looked at before it is needed.
#[derive(Clone)]
pub(super) struct Thunk(pub Rc<Inner>);

/// Its inside.
pub(super) struct Inner {
    /// How it is found.
    pub code: Code,
    /// What it was found to be.
    pub state: RefCell<State>,
}

/// How a value is found.
pub(super) enum Code {
    /// It is there.
    Value,
    Expr(Expr, Scope),
    Apply(Thunk, Thunk, At),
    Select(Thunk, Rc<str>, At),
}

/// How far that is.
pub(super) enum State {
    Waiting,
    Busy,
    Done(Value),
}

impl Thunk {
    fn new(code: Code, state: State) -> Self {
        Self(Rc::new(Inner { code, state: RefCell::new(state) }))
    }

    /// A value that is there.
    pub fn done(value: Value) -> Self {
        Self::new(Code::Value, State::Done(value))
    }

    /// An expression.
    pub fn expr(expression: Expr, scope: &Scope) -> Self {
        Self::new(Code::Expr(expression, scope.clone()), State::Waiting)
    }

    /// A call.
    pub fn apply(function: &Thunk, argument: &Thunk, at: &At) -> Self {
        Self::new(Code::Apply(function.clone(), argument.clone(), at.clone()), State::Waiting)
    }

    /// An attribute.
    pub fn select(of: &Thunk, name: &str, at: &At) -> Self {
        Self::new(Code::Select(of.clone(), name.into(), at.clone()), State::Waiting)
    }
}

/// What names mean somewhere.
#[derive(Clone)]
pub(super) struct Scope(pub Rc<Frame>);

/// One layer of it.
pub(super) struct Frame {
    /// Names that are bound.
    pub names: RefCell<BTreeMap<Rc<str>, Thunk>>,
    /// The set of a `with`.
    pub with: Option<Thunk>,
    /// What is around it.
    pub outer: Option<Scope>,
    /// The file it is in.
    pub file: Rc<str>,
}

impl Scope {
    /// Outside of everything in a file.
    pub fn of_file(file: &str) -> Self {
        let names = RefCell::default();
        Self(Rc::new(Frame { names, with: None, outer: None, file: file.into() }))
    }

    /// With one more layer, whose names are yet to be bound.
    pub fn inner(&self, with: Option<Thunk>) -> Self {
        let (names, file) = (RefCell::default(), Rc::clone(&self.0.file));
        Self(Rc::new(Frame { names, with, outer: Some(self.clone()), file }))
    }

    /// Binds a name in this layer.
    pub fn bind(&self, name: &str, value: Thunk) {
        self.0.names.borrow_mut().insert(name.into(), value);
    }

    /// This layer and those around it.
    pub fn layers(&self) -> impl Iterator<Item = &Frame> {
        std::iter::successors(Some(&*self.0), |frame| frame.outer.as_ref().map(|outer| &*outer.0))
    }

    /// A place in this file.
    pub fn at(&self, offset: usize) -> At {
        At { file: Rc::clone(&self.0.file), offset }
    }
}
