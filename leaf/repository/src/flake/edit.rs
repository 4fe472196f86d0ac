//! Adding to `flake.nix`: text is put in at places of the syntax tree, nothing is taken away.

use std::collections::BTreeSet;

use rnix::ast::{self, BinOpKind, Expr, HasEntry as _};
use rnix::{NodeOrToken, SyntaxKind, SyntaxNode};

use super::tree::{attribute_path, entry, node};
use super::{Configurations, Flake, Layout, NAME, Outputs};
use crate::input::Input;
use crate::literal;
use crate::shipped::PLATFORM;

/// A flake with something added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The whole text.
    pub text: String,
    /// What was added, piece by piece.
    pub added: Vec<String>,
}

/// Text for one place.
struct Insertion {
    at: usize,
    text: String,
}

/// The lines that a person adds where the layout is not understood.
pub fn by_hand(name: &str, directory: &str, lacking: Option<&Input>) -> Vec<String> {
    let lines = lacking.into_iter().flat_map(Input::lines);
    let inputs = lines.map(|line| format!("inputs.{line}"));
    inputs.chain([format!("outputs: {}", output(name, directory))]).collect()
}

/// The line among the outputs that is a host's.
pub(super) fn output(name: &str, directory: &str) -> String {
    let (attribute, call) = (literal::attribute(name), call(name, directory));
    format!("nixosConfigurations.{attribute} = inputs.{call};")
}

fn call(name: &str, directory: &str) -> String {
    let path = literal::path(&format!("{directory}/{name}"));
    format!("{PLATFORM}.lib.host {} {path}", literal::string(name))
}

impl Flake {
    /// Adds the input that it lacks and, where hosts are not listed by directory, the host.
    /// `Err` says why the file is left alone.
    pub fn with_host(
        &self,
        name: &str,
        directory: &str,
        lacking: Option<&Input>,
    ) -> Result<Edited, &'static str> {
        let outputs = self.outputs()?;
        let layout = outputs.layout();
        let top = self.top().ok_or("it is not an attribute set")?;
        let mut insertions = Vec::new();
        for line in lacking.into_iter().flat_map(Input::lines) {
            insertions.push(input(&top, &line)?);
        }
        match layout {
            Layout::Unknown { why } => return Err(why),
            Layout::Ours { .. } | Layout::Blueprint { .. } => {
                insertions.extend(outputs.closed()?);
            }
            Layout::Written | Layout::Computed { .. } => {
                let prefix = outputs.prefix(&mut insertions)?;
                let value = format!("{prefix}{}", call(name, directory));
                outputs.add(name, &value, &mut insertions)?;
            }
        }
        self.insert(insertions)
    }

    fn insert(&self, mut insertions: Vec<Insertion>) -> Result<Edited, &'static str> {
        insertions.sort_by_key(|insertion| insertion.at);
        let mut text = self.text.clone();
        for insertion in insertions.iter().rev() {
            text.insert_str(insertion.at, &insertion.text);
        }
        if !rnix::Root::parse(&text).errors().is_empty() {
            return Err("what would be added does not fit its syntax");
        }
        let added = insertions.iter().map(|one| one.text.trim().to_owned()).collect();
        Ok(Edited { text, added })
    }
}

impl Flake {
    /// Whether the flake calls this host as we write it: an addition that was cut off.
    pub fn calls(&self, name: &str, directory: &str) -> bool {
        self.text.contains(&call(name, directory))
    }
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
fn input(top: &ast::AttrSet, line: &str) -> Result<Insertion, &'static str> {
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

impl Outputs {
    /// A pattern that takes nothing it does not name has to name the new input, too.
    fn closed(&self) -> Result<Option<Insertion>, &'static str> {
        match &self.parameter {
            ast::Param::Pattern(pattern)
                if pattern.ellipsis_token().is_none() && !names(pattern).contains(PLATFORM) =>
            {
                formal(pattern).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What stands before `bedplate` inside the outputs: `inputs.`, or nothing where the pattern
    /// names it.
    fn prefix(&self, insertions: &mut Vec<Insertion>) -> Result<String, &'static str> {
        let whole = match &self.parameter {
            ast::Param::IdentParam(name) => Some(node(name).text().to_string()),
            ast::Param::Pattern(pattern) if names(pattern).contains(PLATFORM) => None,
            ast::Param::Pattern(pattern) => {
                let bind = pattern.pat_bind().and_then(|bind| bind.ident());
                let open = bind.filter(|_| pattern.ellipsis_token().is_some());
                if open.is_none() {
                    insertions.push(formal(pattern)?);
                }
                open.map(|bind| node(&bind).text().to_string())
            }
        };
        if self.bound.iter().any(|name| name == whole.as_deref().unwrap_or(PLATFORM)) {
            return Err("a `let` hides what its outputs are called with");
        }
        Ok(whole.map(|name| format!("{name}.")).unwrap_or_default())
    }

    /// The host, where hosts are written out.
    fn add(&self, name: &str, value: &str, to: &mut Vec<Insertion>) -> Result<(), &'static str> {
        let name = literal::attribute(name);
        match self.found().last() {
            None => {
                let [set] = self.sets().try_into().map_err(|_| "its outputs are several sets")?;
                to.push(at_end(&set, &format!("{NAME}.{name} = {value};"))?);
            }
            Some(Configurations::Value(Expr::AttrSet(set))) => {
                to.push(at_end(set, &format!("{name} = {value};"))?);
            }
            Some(Configurations::Value(expression)) => {
                let range = node(expression).text_range();
                let (start, end) = (usize::from(range.start()), usize::from(range.end()));
                let bare = binds_tighter(expression);
                if !bare {
                    to.push(Insertion { at: start, text: "(".to_owned() });
                }
                let close = if bare { "" } else { ")" };
                let text = format!("{close} // {{ {name} = {value}; }}");
                to.push(Insertion { at: end, text });
            }
            Some(Configurations::Dotted(last)) => {
                to.push(after(node(last), &format!("{NAME}.{name} = {value};")));
            }
        }
        Ok(())
    }
}

/// Whether `// { … }` behind an expression is about the whole of it.
fn binds_tighter(expression: &Expr) -> bool {
    match expression {
        Expr::Apply(_) | Expr::Ident(_) | Expr::Select(_) | Expr::Paren(_) | Expr::AttrSet(_) => {
            true
        }
        Expr::BinOp(operation) => operation.operator() == Some(BinOpKind::Update),
        _ => false,
    }
}

/// The names in `{ a, b, ... }:`.
fn names(pattern: &ast::Pattern) -> BTreeSet<String> {
    let names = pattern.pat_entries().filter_map(|entry| entry.ident());
    names.map(|name| node(&name).text().to_string()).collect()
}

/// One more name in `{ a, b, ... }:`.
fn formal(pattern: &ast::Pattern) -> Result<Insertion, &'static str> {
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
fn at_end(set: &ast::AttrSet, line: &str) -> Result<Insertion, &'static str> {
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
fn after(entry: &SyntaxNode, line: &str) -> Insertion {
    let mut at = usize::from(entry.text_range().end());
    let mut commented = false;
    let mut next = entry.next_sibling_or_token();
    while let Some(NodeOrToken::Token(token)) = next {
        match token.kind() {
            SyntaxKind::TOKEN_WHITESPACE if !token.text().contains('\n') => {}
            SyntaxKind::TOKEN_COMMENT => {
                at = usize::from(token.text_range().end());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str) -> Result<String, &'static str> {
        Flake::parse(text)
            .unwrap()
            .with_host("box", "hosts", Some(&Input::Vendored))
            .map(|edited| edited.text)
    }

    const BOX: &str = "bedplate.lib.host \"box\" ./hosts/box;";

    #[test]
    fn every_kind_of_parameter_reaches_the_input() {
        let with = |parameter: &str| {
            let text = format!("{{ outputs = {parameter}: {{ nixosConfigurations.a = 1; }}; }}");
            edited(&text).unwrap()
        };
        assert!(with("inputs").contains(&format!("box = inputs.{BOX}")));
        assert!(with("{ self, ... }@args").contains(&format!("box = args.{BOX}")));
        for (before, after) in [
            ("{ self, ... }", "{ self, bedplate, ... }:"),
            ("{ self }", "{ self, bedplate }:"),
            ("{ self, }", "{ self, bedplate, }:"),
            ("{ self }@args", "{ self, bedplate }@args:"),
            ("{ ... }", "{ bedplate, ... }:"),
            ("{ }", "{ bedplate }:"),
            ("{ bedplate, ... }", "{ bedplate, ... }:"),
        ] {
            let text = with(before);
            assert!(text.contains(after) && text.contains(&format!("box = {BOX}")), "{text}");
        }
    }

    #[test]
    fn computed_hosts_are_merged_with_the_new_one() {
        let with = |value: &str| {
            let text = format!("{{ outputs = inputs: {{ nixosConfigurations = {value}; }}; }}");
            edited(&text).unwrap()
        };
        let host = format!("// {{ box = inputs.{BOX} }};");
        assert!(with("f ./x").contains(&format!("= f ./x {host}")));
        assert!(with("a // b").contains(&format!("= a // b {host}")));
        assert!(with("with x; y").contains(&format!("= (with x; y) {host}")));
        assert!(with("let x = 1; in y").contains(&format!("= (let x = 1; in y) {host}")));
    }

    #[test]
    fn comments_stay_with_their_line() {
        let text = "{\n  inputs = {\n    a.url = \"x\"; # pinned\n    # the end\n  };\n  outputs = inputs: { };\n}\n";
        let expected =
            "    a.url = \"x\"; # pinned\n    bedplate.url = \"path:./bedplate\";\n    # the end\n";
        assert!(edited(text).unwrap().contains(expected), "{}", edited(text).unwrap());
        let tight = "{ outputs = inputs: { nixosConfigurations = { a = 1; # x\n}; }; }";
        assert!(
            edited(tight).unwrap().contains("a = 1; # x\nbox = "),
            "{}",
            edited(tight).unwrap()
        );
    }

    #[test]
    fn nothing_is_taken_away_and_a_hidden_name_is_left_to_its_owner() {
        let text = "{ inputs = { }; outputs = { self }: rec { nixosConfigurations = {}; }; }";
        let result = edited(text).unwrap();
        let mut rest = result.chars();
        assert!(text.chars().all(|wanted| rest.any(|found| found == wanted)), "{result}");
        let hidden = "{ outputs = inputs: let inputs = { }; in { nixosConfigurations.a = 1; }; }";
        assert!(edited(hidden).unwrap_err().contains("hides"));
    }
}
