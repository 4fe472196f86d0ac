//! Adding to `flake.nix`: text is put in at places of the syntax tree, nothing is taken away.

use rnix::ast::{self, Expr};
use rnix::{SyntaxKind, SyntaxNode, TextRange};

use super::frameworks::Framework;
use super::hosts::{self, Hosts};
use super::insert::{self, Insertion};
use super::site::{Site, set_at};
use super::sources::Sources;
use super::tree::{bound, cast, node, position};
use super::{Flake, NAME};
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

/// The line among the outputs that is a host's.
pub(super) fn output(name: &str, directory: &str) -> String {
    let (attribute, call) = (literal::attribute(name), call(name, directory));
    format!("{NAME}.{attribute} = inputs.{call};")
}

pub(super) fn call(name: &str, directory: &str) -> String {
    let path = literal::path(&format!("{directory}/{name}"));
    format!("{PLATFORM}.lib.host {} {path}", literal::string(name))
}

/// One addition that is tried.
struct Trial<'a> {
    name: &'a str,
    directory: &'a str,
    lacking: Option<&'a Input>,
    sources: &'a Sources,
    before: &'a Hosts,
}

impl Flake {
    /// Adds the input that it lacks and, where hosts are not listed by directory, the host.
    /// `Err` says why the file is left alone.
    pub fn with_host(
        &self,
        name: &str,
        directory: &str,
        lacking: Option<&Input>,
    ) -> Result<Edited, String> {
        let sources = Sources::default();
        self.with_host_among(name, directory, lacking, &sources, &self.hosts(&sources))
    }

    /// The same, where its hosts are known.
    pub fn with_host_among(
        &self,
        name: &str,
        directory: &str,
        lacking: Option<&Input>,
        sources: &Sources,
        before: &Hosts,
    ) -> Result<Edited, String> {
        let trial = Trial { name, directory, lacking, sources, before };
        let mut why = None;
        for site in &before.sites {
            match self.tried(&trial, site) {
                Ok(edited) => return Ok(edited),
                Err(reason) => why = why.or(Some(reason)),
            }
        }
        Err(why.unwrap_or_else(|| "its outputs are not understood".to_owned()))
    }

    fn tried(&self, trial: &Trial<'_>, site: &Site) -> Result<Edited, String> {
        let top = self.top().ok_or("it is not an attribute set")?;
        let mut insertions = Vec::new();
        for line in trial.lacking.into_iter().flat_map(Input::lines) {
            insertions.push(insert::input(&top, &line)?);
        }
        match site {
            Site::Hand { why } => return Err(why.clone()),
            Site::Module => return Err("the hosts stand in a module of flake-parts".to_owned()),
            Site::Inherited { name, .. } => {
                let (line, column) = position(&self.text, usize::from(name.start()));
                return Err(format!("{NAME} is inherited (line {line}, column {column})"));
            }
            Site::Listed => insertions.extend(self.closed()?),
            Site::Into { set, after, prefix, builder } => {
                let set = set_at(&self.root, *set).ok_or("a set is not found again")?;
                let reach = self.reach(node(&set), trial.before, &mut insertions)?;
                let value = format!("{reach}{}", call(trial.name, trial.directory));
                let line = entry_of(prefix, trial.name, &value, *builder);
                let after = after.and_then(|after| pair_at(&self.root, after));
                insertions.push(match after {
                    Some(after) => insert::after(&after, &line),
                    None => insert::at_end(&set, &line)?,
                });
            }
            Site::Behind { expression, outputs } => {
                let expression = expression_at(&self.root, *expression);
                let expression = expression.ok_or("an expression is not found again")?;
                if is_marked(&expression) {
                    return Err("the hosts are merged by nixpkgs' modules".to_owned());
                }
                let reach = self.reach(node(&expression), trial.before, &mut insertions)?;
                let value = format!("{reach}{}", call(trial.name, trial.directory));
                let prefix = if *outputs { &[NAME.to_owned()][..] } else { &[] };
                behind(&expression, &entry_of(prefix, trial.name, &value, false), &mut insertions);
            }
        }
        let edited = self.insert(insertions)?;
        match site {
            Site::Listed | Site::Into { builder: true, .. } => Ok(edited),
            _ => trial.check(edited),
        }
    }

    fn insert(&self, mut insertions: Vec<Insertion>) -> Result<Edited, String> {
        insertions.sort_by_key(|insertion| insertion.at);
        let windows = self.text.contains("\r\n");
        let mut text = self.text.clone();
        for insertion in insertions.iter().rev() {
            let piece = &insertion.text;
            let piece = if windows { piece.replace('\n', "\r\n") } else { piece.clone() };
            text.insert_str(insertion.at, &piece);
        }
        if super::parsed(&text).is_err() {
            return Err("what would be added does not fit its syntax".to_owned());
        }
        let added = insertions.iter().map(|one| one.text.trim().to_owned()).collect();
        Ok(Edited { text, added })
    }

    /// Adds the input that it lacks and nothing else.
    pub fn with_input(&self, lacking: &Input) -> Result<Edited, String> {
        let top = self.top().ok_or("it is not an attribute set")?;
        let mut insertions = Vec::new();
        for line in lacking.lines() {
            insertions.push(insert::input(&top, &line)?);
        }
        if self.outputs().is_ok() {
            insertions.extend(self.closed()?);
        }
        self.insert(insertions)
    }

    /// Whether the flake calls this host as we write it: an addition that was cut off.
    pub fn calls(&self, name: &str, directory: &str) -> bool {
        self.text.contains(&call(name, directory))
    }

    /// A pattern that takes nothing it does not name has to name the new input, too.
    fn closed(&self) -> Result<Option<Insertion>, &'static str> {
        match self.outputs()?.param() {
            Some(ast::Param::Pattern(pattern))
                if pattern.ellipsis_token().is_none()
                    && !insert::names(&pattern).contains(PLATFORM) =>
            {
                insert::formal(&pattern).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What stands before `bedplate` at a place inside the outputs: `inputs.`, or nothing where
    /// the pattern names it.
    fn reach(
        &self,
        place: &SyntaxNode,
        hosts: &Hosts,
        insertions: &mut Vec<Insertion>,
    ) -> Result<String, String> {
        let outputs = self.outputs()?;
        let whole = match outputs.param() {
            None => return Err("its outputs are no function".to_owned()),
            Some(ast::Param::IdentParam(name)) => Some(node(&name).text().to_string()),
            Some(ast::Param::Pattern(pattern)) if insert::names(&pattern).contains(PLATFORM) => {
                None
            }
            Some(ast::Param::Pattern(pattern)) => {
                let bind = pattern.pat_bind().and_then(|bind| bind.ident());
                let open = bind.filter(|_| pattern.ellipsis_token().is_some());
                if open.is_none() {
                    insertions.push(insert::formal(&pattern)?);
                }
                open.map(|bind| node(&bind).text().to_string())
            }
        };
        let name = whole.as_deref().unwrap_or(PLATFORM);
        let parts = hosts.frameworks.iter().any(|one| matches!(one, Framework::Parts { .. }));
        if !hides(place, node(&outputs), name, parts)? {
            return Ok(whole.map(|name| format!("{name}.")).unwrap_or_default());
        }
        Err(format!(
            "a `let`, a `rec` set or a function hides `{name}`, which its outputs are called with"
        ))
    }
}

/// Whether a name means something else at a place than in the arguments of the outputs.
fn hides(
    place: &SyntaxNode,
    outputs: &SyntaxNode,
    name: &str,
    parts: bool,
) -> Result<bool, &'static str> {
    for around in place.ancestors() {
        if around == *outputs {
            return Ok(false);
        }
        let names = if let Some(binding) = cast::<ast::LetIn>(around.clone()) {
            bound(&binding)
        } else if let Some(set) = cast::<ast::AttrSet>(around.clone()) {
            if set.rec_token().is_some() { bound(&set) } else { Vec::new() }
        } else if let Some(lambda) = cast::<ast::Lambda>(around) {
            match lambda.param() {
                Some(ast::Param::IdentParam(param)) => vec![node(&param).text().to_string()],
                Some(ast::Param::Pattern(pattern)) => {
                    let bind = pattern.pat_bind().and_then(|bind| bind.ident());
                    let bind = bind.map(|bind| node(&bind).text().to_string());
                    // A module of flake-parts is given the same inputs.
                    let same = |found: &String| !(parts && found == "inputs");
                    insert::names(&pattern).into_iter().filter(same).chain(bind).collect()
                }
                None => Vec::new(),
            }
        } else {
            Vec::new()
        };
        if names.iter().any(|found| found == name) {
            return Ok(true);
        }
    }
    Err("the place is not inside its outputs")
}

impl Trial<'_> {
    /// Whether the flake with the addition has the hosts it had, and the new one.
    fn check(&self, edited: Edited) -> Result<Edited, String> {
        let after = hosts::of(&edited.text, self.sources, Some(self.name));
        let others = |hosts: &Hosts| -> Vec<String> {
            hosts.known.keys().filter(|name| *name != self.name).cloned().collect()
        };
        let wanted = (self.name.to_owned(), format!("{}/{}", self.directory, self.name));
        let kept =
            others(self.before) == others(&after) && after.doubts.len() <= self.before.doubts.len();
        let ours = after.called.as_ref() == Some(&wanted);
        if kept && ours {
            return Ok(edited);
        }
        Err("what would be added there does not come out as a host, or changes others".to_owned())
    }
}

/// `PREFIX.NAME = VALUE;`
fn entry_of(prefix: &[String], name: &str, value: &str, builder: bool) -> String {
    let parts = prefix.iter().map(String::as_str).chain([name]).map(literal::attribute);
    let path = parts.collect::<Vec<_>>().join(".");
    match builder {
        true => format!("{path}.builder = _: {value};"),
        false => format!("{path} = {value};"),
    }
}

fn behind(expression: &Expr, entry: &str, to: &mut Vec<Insertion>) {
    let range = node(expression).text_range();
    let (start, end) = (usize::from(range.start()), usize::from(range.end()));
    let bare = insert::binds_tighter(expression);
    if !bare {
        to.push(Insertion { at: start, text: "(".to_owned() });
    }
    let close = if bare { "" } else { ")" };
    to.push(Insertion { at: end, text: format!("{close} // {{ {entry} }}") });
}

/// Whether what stands there is no set but something that modules merge.
fn is_marked(expression: &Expr) -> bool {
    let mut found = super::tree::bare(expression);
    while let Expr::Apply(apply) = &found {
        match apply.lambda() {
            Some(function) => found = function,
            None => return false,
        }
    }
    let text = node(&found).text().to_string();
    let name = text.rsplit('.').next().unwrap_or_default();
    matches!(
        name,
        "mkMerge" | "mkIf" | "mkForce" | "mkDefault" | "mkOverride" | "mkBefore" | "mkAfter"
    )
}

fn pair_at(root: &SyntaxNode, range: TextRange) -> Option<SyntaxNode> {
    at_range(root, range).find(|found| found.kind() == SyntaxKind::NODE_ATTRPATH_VALUE)
}

fn expression_at(root: &SyntaxNode, range: TextRange) -> Option<Expr> {
    at_range(root, range).find_map(cast::<Expr>)
}

fn at_range(root: &SyntaxNode, range: TextRange) -> impl Iterator<Item = SyntaxNode> {
    let element = root.covering_element(range);
    let found = element.as_node().cloned().or_else(|| element.parent());
    let found = found.into_iter().flat_map(|found| found.ancestors().collect::<Vec<_>>());
    found.filter(move |found| found.text_range() == range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str) -> Result<String, String> {
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
