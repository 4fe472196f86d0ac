//! Entries of sets and of `let`.

use std::collections::BTreeMap;
use std::rc::Rc;

use rnix::ast::{self, Expr};

use super::evaluate::Evaluator;
use super::tree::{attribute_name, node};
use super::value::{At, Doubt, Entry, Scope, Set, Thunk, Value};

/// Part of an attribute path, and what it leads to.
struct Item {
    rest: Vec<ast::Attr>,
    value: Expr,
    at: At,
}

impl Evaluator<'_> {
    /// The entries of a set or of a `let`. What is bound in a recursive one is seen in it.
    pub fn bindings(
        &self,
        of: &impl ast::HasEntry,
        inner: &Scope,
        outer: &Scope,
        recursive: bool,
    ) -> Set {
        let mut set = Set::default();
        let mut named: BTreeMap<Rc<str>, Vec<Item>> = BTreeMap::new();
        let mut order: Vec<(ast::Attr, Item)> = Vec::new();
        for pair in of.attrpath_values() {
            let (Some(path), Some(value)) = (pair.attrpath(), pair.value()) else { continue };
            let at = inner.at(usize::from(node(&pair).text_range().start()));
            let mut attributes = path.attrs();
            let Some(first) = attributes.next() else { continue };
            order.push((first, Item { rest: attributes.collect(), value, at }));
        }
        // Names that are written, before those that are computed and may need them.
        let (written, computed): (Vec<_>, Vec<_>) =
            order.into_iter().partition(|(first, _)| attribute_name(first).is_some());
        for (first, item) in written {
            let name = attribute_name(&first).unwrap_or_default();
            named.entry(name.as_str().into()).or_default().push(item);
        }
        let bind = |name: &Rc<str>, value: &Thunk| {
            if recursive {
                inner.bind(name, value.clone());
            }
        };
        self.inherited(of, inner, outer, &mut set);
        set.entries.iter().for_each(|(name, entry)| bind(name, &entry.value));
        for (name, items) in named {
            let entry = self.entry(items, inner);
            bind(&name, &entry.value);
            set.entries.insert(name, entry);
        }
        for (first, item) in computed {
            match self.name(&first, inner) {
                Ok(name) => {
                    let entry = self.entry(vec![item], inner);
                    set.entries.insert(name.text, entry);
                }
                Err(doubt) => set.doubts.push(doubt),
            }
        }
        set
    }

    fn inherited(&self, of: &impl ast::HasEntry, inner: &Scope, outer: &Scope, set: &mut Set) {
        for inherit in of.inherits() {
            let from = inherit.from().and_then(|from| from.expr());
            let from = from.map(|from| Thunk::expr(from, inner));
            for attribute in inherit.attrs() {
                let at = inner.at(usize::from(node(&attribute).text_range().start()));
                let name = match self.name(&attribute, outer) {
                    Ok(name) => name.text,
                    Err(doubt) => {
                        set.doubts.push(doubt);
                        continue;
                    }
                };
                let value = match &from {
                    Some(from) => Thunk::select(from, &name, &at),
                    None => self.lookup(&name, outer, &at),
                };
                set.entries.insert(name, Entry { value, at: Some(at), listed: None });
            }
        }
    }

    /// `a = …;`, or all of `a.b = …; a.c = …;`.
    fn entry(&self, mut items: Vec<Item>, scope: &Scope) -> Entry {
        let at = items.first().map(|item| item.at.clone());
        if let [Item { rest, value, .. }] = items.as_slice()
            && rest.is_empty()
        {
            return Entry { value: Thunk::expr(value.clone(), scope), at, listed: None };
        }
        let mut set = Set::default();
        let mut named: BTreeMap<Rc<str>, Vec<Item>> = BTreeMap::new();
        for mut item in items.drain(..) {
            if item.rest.is_empty() {
                match self.eval(&item.value, scope) {
                    Value::Set(more) => set.entries.extend(more.entries.clone()),
                    _ => set.doubts.push(Rc::new(Doubt {
                        at: item.at.clone(),
                        why: "this stands twice".to_owned(),
                    })),
                }
                continue;
            }
            let first = item.rest.remove(0);
            item.at = scope.at(usize::from(node(&first).text_range().start()));
            match self.name(&first, scope) {
                Ok(name) => named.entry(name.text).or_default().push(item),
                Err(doubt) => set.doubts.push(doubt),
            }
        }
        for (name, items) in named {
            let entry = self.entry(items, scope);
            set.entries.insert(name, entry);
        }
        Entry { value: Thunk::done(Value::Set(Rc::new(set))), at, listed: None }
    }
}
