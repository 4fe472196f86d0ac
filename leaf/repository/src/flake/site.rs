//! Where one more host goes in `flake.nix`. Each place that is found is tried: the flake with the
//! addition must have the hosts it had, and the new one.

use std::collections::BTreeSet;

use rnix::ast::{self, BinOpKind, Expr, HasEntry as _};
use rnix::{SyntaxNode, TextRange};

use super::evaluate::Evaluator;
use super::frameworks::Framework;
use super::tree::{attribute_name, attribute_path, bare, cast, node};
use super::value::{Code, Scope, Set, Thunk, Value};
use super::{FILE, NAME};

/// A place for one more host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Site {
    /// None is needed: its directory is listed.
    Listed,
    /// An entry of a set.
    Into {
        /// The set.
        set: TextRange,
        /// The entry that it follows; the last, when none is named.
        after: Option<TextRange>,
        /// What stands before its name.
        prefix: Vec<String>,
        /// Whether what builds the host is asked for, and not the host.
        builder: bool,
    },
    /// ` // { … }` behind an expression.
    Behind {
        /// The expression.
        expression: TextRange,
        /// Whether it is all outputs, and not the hosts.
        outputs: bool,
    },
    /// Its owner has to take it out of an `inherit` first.
    Inherited {
        /// The name in it.
        name: TextRange,
        /// What it is inherited from.
        from: String,
    },
    /// A module of flake-parts that its owner chooses.
    Module,
    /// None is understood.
    Hand {
        /// Why it is not.
        why: String,
    },
}

/// Part of what the outputs are merged from.
struct Operand {
    expression: Expr,
    scope: Scope,
}

/// The places, the best first; the last is what its owner does by hand.
pub(super) fn find(
    evaluator: &Evaluator<'_>,
    outputs: &Expr,
    inputs: &Thunk,
    hosts: &Set,
) -> Vec<Site> {
    if !hosts.listers.is_empty() {
        return vec![Site::Listed];
    }
    let hand = |why: &str| Site::Hand { why: why.to_owned() };
    let function = match evaluator.eval(outputs, &Scope::of_file(FILE)) {
        Value::Function(function) if &*function.scope.0.file == FILE => function,
        Value::Function(function) => {
            let file = function.scope.0.file.escape_debug();
            return vec![hand(&format!("its outputs stand in {file}"))];
        }
        _ => return vec![hand("its outputs are no function that stands here")],
    };
    let at = function.scope.at(0);
    let scope = evaluator.open(&function, inputs, &at);
    let Some(body) = function.node.body() else { return vec![hand("its outputs are empty")] };
    let mut operands = Vec::new();
    merged(evaluator, &body, &scope, &mut operands, 0);
    let mut found = among(evaluator, &operands, &body, hosts);
    let last = match found.pop() {
        Some(last @ (Site::Hand { .. } | Site::Inherited { .. } | Site::Module)) => last,
        Some(other) => {
            found.push(other);
            hand("what would be added changes other hosts, or is not seen")
        }
        None => hand("its outputs are not understood"),
    };
    found.extend(written(node(&body), hosts));
    found.extend(only(node(&body)));
    found.dedup();
    found.push(last);
    found
}

fn among(evaluator: &Evaluator<'_>, operands: &[Operand], body: &Expr, hosts: &Set) -> Vec<Site> {
    let root = node(body).ancestors().last();
    for Operand { expression, scope } in operands.iter().rev() {
        if let Expr::AttrSet(set) = expression {
            match below(set, &[NAME]) {
                Below::Absent => continue,
                Below::Inherited(None, name) => return inherited(evaluator, scope, &name),
                Below::Inherited(Some(from), name) => {
                    return vec![Site::Inherited { name, from }];
                }
                Below::Here(site) => return vec![site],
            }
        }
        match evaluator.eval(expression, scope) {
            Value::Set(set) if set.entries.contains_key(NAME) => {
                return of_framework(evaluator, root.as_ref());
            }
            Value::Set(set) if set.under.is_empty() && set.doubts.is_empty() => {}
            _ => {
                let why = "what makes its outputs does not stand in this repository";
                return vec![Site::Hand { why: why.to_owned() }];
            }
        }
    }
    if !hosts.doubts.is_empty() {
        let why = "nixosConfigurations is not seen in its outputs".to_owned();
        return vec![Site::Hand { why }];
    }
    let sets = operands.iter().rev().filter_map(|operand| match &operand.expression {
        Expr::AttrSet(set) => Some(Site::Into {
            set: node(set).text_range(),
            after: None,
            prefix: vec![NAME.to_owned()],
            builder: false,
        }),
        _ => None,
    });
    let behind = Site::Behind { expression: node(body).text_range(), outputs: true };
    sets.take(1).chain([behind]).collect()
}

/// Where `nixosConfigurations` is bound that a set inherits.
fn inherited(evaluator: &Evaluator<'_>, scope: &Scope, name: &TextRange) -> Vec<Site> {
    let bound = evaluator.lookup(NAME, scope, &scope.at(usize::from(name.start())));
    match &bound.0.code {
        Code::Expr(expression, inner) if &*inner.0.file == FILE => match bare(expression) {
            Expr::AttrSet(set) => vec![Site::Into {
                set: node(&set).text_range(),
                after: None,
                prefix: Vec::new(),
                builder: false,
            }],
            _ => vec![Site::Behind { expression: node(expression).text_range(), outputs: false }],
        },
        _ => vec![Site::Hand { why: "it inherits nixosConfigurations from elsewhere".to_owned() }],
    }
}

/// The set that stands at a range.
pub(super) fn set_at(root: &SyntaxNode, range: TextRange) -> Option<ast::AttrSet> {
    let element = root.covering_element(range);
    let found = element.as_node().cloned().or_else(|| element.parent())?;
    found.ancestors().filter_map(cast::<ast::AttrSet>).find(|set| node(set).text_range() == range)
}

fn of_framework(evaluator: &Evaluator<'_>, root: Option<&SyntaxNode>) -> Vec<Site> {
    for framework in evaluator.frameworks.borrow().iter() {
        let (range, path, builder): (_, &[&str], _) = match framework {
            Framework::Parts { module: None } => return vec![Site::Module],
            Framework::Parts { module: Some(module) } => (*module, &["flake", NAME], false),
            Framework::Builders { argument: Some(argument), path, .. } => (*argument, path, true),
            _ => continue,
        };
        let Some(set) = root.and_then(|root| set_at(root, range)) else { continue };
        let absent = |path: &[&str]| Site::Into {
            set: range,
            after: None,
            prefix: path.iter().map(|part| (*part).to_owned()).collect(),
            builder,
        };
        return match below(&set, path) {
            Below::Here(Site::Into { set, after, prefix, .. }) => {
                vec![Site::Into { set, after, prefix, builder }]
            }
            Below::Here(site @ Site::Behind { .. }) if !builder => vec![site, Site::Module],
            Below::Absent => vec![absent(path)],
            _ if !builder => vec![Site::Module],
            _ => break,
        };
    }
    vec![Site::Hand { why: "nixosConfigurations comes out of a call".to_owned() }]
}

/// What is found below a path of names.
enum Below {
    Here(Site),
    Inherited(Option<String>, TextRange),
    Absent,
}

/// The place of one more entry below a path of names.
fn below(set: &ast::AttrSet, path: &[&str]) -> Below {
    let (mut dotted, mut within) = (None, None);
    for pair in set.attrpath_values() {
        let names = attribute_path(&pair);
        let same = names.iter().zip(path);
        let same = same.take_while(|(name, part)| name.as_deref() == Some(**part)).count();
        let Some(value) = pair.value() else { continue };
        let rest = path.get(same..).unwrap_or_default();
        match (same == names.len(), rest, bare(&value)) {
            (true, [], Expr::AttrSet(inner)) => {
                return Below::Here(Site::Into {
                    set: node(&inner).text_range(),
                    after: None,
                    prefix: Vec::new(),
                    builder: false,
                });
            }
            (true, [], _) => {
                let expression = node(&value).text_range();
                return Below::Here(Site::Behind { expression, outputs: false });
            }
            (true, rest, Expr::AttrSet(inner)) if same > 0 => match below(&inner, rest) {
                Below::Absent => within = Some((node(&inner).text_range(), rest)),
                found => return found,
            },
            (true, _, _) if same > 0 => {
                let why = "the set that holds nixosConfigurations is not written out".to_owned();
                return Below::Here(Site::Hand { why });
            }
            (false, [], _) => dotted = Some(node(&pair).text_range()),
            _ => {}
        }
    }
    for inherit in set.inherits() {
        let names = inherit.attrs().collect::<Vec<_>>();
        let first = path.first().copied();
        if let Some(name) = names.iter().find(|name| attribute_name(name).as_deref() == first) {
            let from = inherit.from().and_then(|from| from.expr());
            let from = from.map(|from| node(&from).text().to_string());
            return Below::Inherited(from, node(name).text_range());
        }
    }
    let owned = |path: &[&str]| path.iter().map(|part| (*part).to_owned()).collect();
    if let Some(after) = dotted {
        let (set, prefix) = (node(set).text_range(), owned(path));
        return Below::Here(Site::Into { set, after: Some(after), prefix, builder: false });
    }
    match within {
        Some((set, rest)) => {
            Below::Here(Site::Into { set, after: None, prefix: owned(rest), builder: false })
        }
        None => Below::Absent,
    }
}

/// The one place where `nixosConfigurations` is given a value, whatever stands around it.
fn only(body: &SyntaxNode) -> Option<Site> {
    let pairs = body.descendants().filter_map(cast::<ast::AttrpathValue>);
    let mut named =
        pairs.filter(|pair| attribute_path(pair).iter().any(|name| name.as_deref() == Some(NAME)));
    let (pair, None) = (named.next()?, named.next()) else { return None };
    let value = pair.value()?;
    let last = attribute_path(&pair).pop()?;
    (last.as_deref() == Some(NAME)).then(|| match bare(&value) {
        Expr::AttrSet(set) => Site::Into {
            set: node(&set).text_range(),
            after: None,
            prefix: Vec::new(),
            builder: false,
        },
        _ => Site::Behind { expression: node(&value).text_range(), outputs: false },
    })
}

/// The set in which all hosts are written out, wherever it stands.
fn written(within: &SyntaxNode, hosts: &Set) -> Option<Site> {
    let root = within.ancestors().last()?;
    let places: Option<BTreeSet<usize>> = hosts
        .entries
        .values()
        .map(|entry| entry.at.as_ref().filter(|at| &*at.file == FILE).map(|at| at.offset))
        .collect();
    let places = places?;
    let offset = u32::try_from(*places.first()?).ok()?;
    let token = root.token_at_offset(offset.into()).right_biased()?;
    let pair = token.parent_ancestors().find_map(cast::<ast::AttrpathValue>)?;
    let set = cast::<ast::AttrSet>(node(&pair).parent()?)?;
    let before = |attribute: &ast::Attr| node(attribute).text_range().start() < offset.into();
    let prefix: Option<Vec<String>> = pair
        .attrpath()?
        .attrs()
        .take_while(before)
        .map(|attribute| attribute_name(&attribute))
        .collect();
    let prefix = prefix?;
    // All others stand in the same set, behind the same names.
    let mut here = BTreeSet::new();
    let mut last = None;
    for pair in set.attrpath_values() {
        let attributes: Vec<_> = pair.attrpath()?.attrs().take(prefix.len() + 1).collect();
        let names = attributes.iter().map(attribute_name);
        let same = names.zip(&prefix).all(|(name, wanted)| name.as_ref() == Some(wanted));
        if let (true, Some(host)) = (same, attributes.get(prefix.len())) {
            here.insert(usize::from(node(host).text_range().start()));
            last = Some(node(&pair).text_range());
        }
    }
    let after = last.filter(|_| !prefix.is_empty());
    let set = node(&set).text_range();
    places.is_subset(&here).then_some(Site::Into { set, after, prefix, builder: false })
}

/// Takes apart what outputs are merged from.
fn merged(
    evaluator: &Evaluator<'_>,
    expression: &Expr,
    scope: &Scope,
    found: &mut Vec<Operand>,
    depth: usize,
) {
    let mut inner = |expression: Option<Expr>, scope: &Scope| {
        if let Some(expression) = expression {
            merged(evaluator, &expression, scope, found, depth + 1);
        }
    };
    match expression {
        _ if depth > 200 => {}
        Expr::Paren(paren) => return inner(paren.expr(), scope),
        Expr::Assert(assert) => return inner(assert.body(), scope),
        Expr::With(with) => {
            let namespace = with.namespace().map(|namespace| Thunk::expr(namespace, scope));
            return inner(with.body(), &scope.inner(namespace));
        }
        Expr::LetIn(binding) => {
            let bound = scope.inner(None);
            evaluator.bindings(binding, &bound, scope, true);
            return inner(binding.body(), &bound);
        }
        Expr::BinOp(operation) if operation.operator() == Some(BinOpKind::Update) => {
            inner(operation.lhs(), scope);
            return inner(operation.rhs(), scope);
        }
        Expr::Ident(name) => {
            let at = scope.at(super::evaluate::start(expression));
            let bound = evaluator.lookup(&node(name).text().to_string(), scope, &at);
            if let Code::Expr(expression, scope) = &bound.0.code
                && &*scope.0.file == FILE
            {
                return inner(Some(expression.clone()), scope);
            }
        }
        Expr::Apply(_) => {
            let parts = parts_of(evaluator, expression, scope);
            if !parts.is_empty() {
                parts.into_iter().for_each(|(part, scope)| inner(Some(part), &scope));
                return;
            }
        }
        _ => {}
    }
    found.push(Operand { expression: expression.clone(), scope: scope.clone() });
}

/// What a call merges, where it is one that does nothing else.
fn parts_of(evaluator: &Evaluator<'_>, call: &Expr, scope: &Scope) -> Vec<(Expr, Scope)> {
    let (function, arguments) = spread(call);
    let function = function.map(|function| evaluator.eval(&function, scope));
    let name = match &function {
        Some(Value::Foreign(foreign)) if foreign.arguments.is_empty() => foreign.name(),
        _ => "",
    };
    let here = |expression: Expr| (expression, scope.clone());
    match (name, arguments.as_slice()) {
        ("recursiveUpdate" | "mergeAttrs", [_, _]) => arguments.into_iter().map(here).collect(),
        ("eachDefaultSystemPassThrough", [.., last]) | ("eachSystemPassThrough", [_, last]) => {
            let at = scope.at(super::evaluate::start(last));
            let system = Thunk::done(evaluator.foreign(&["system"], &at));
            let Expr::Lambda(lambda) = bare(last) else { return Vec::new() };
            match (evaluator.eval(last, scope), lambda.body()) {
                (Value::Function(function), Some(body)) => {
                    vec![(body, evaluator.open(&function, &system, &at))]
                }
                _ => Vec::new(),
            }
        }
        ("foldl'" | "foldl" | "foldr" | "mergeAttrsList", [.., last]) => match bare(last) {
            Expr::List(list) => list.items().map(here).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// What is called, and with what.
fn spread(expression: &Expr) -> (Option<Expr>, Vec<Expr>) {
    let (mut function, mut arguments) = (Some(expression.clone()), Vec::new());
    while let Some(Expr::Apply(apply)) = &function {
        arguments.extend(apply.argument());
        function = apply.lambda();
    }
    arguments.reverse();
    (function, arguments)
}
