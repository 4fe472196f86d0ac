//! `flake.nix` as its syntax tree: how it comes to its hosts, and what its outputs are called with.

mod advice;
mod arity;
mod bindings;
mod data;
mod depth;
pub mod edit;
mod evaluate;
pub mod frameworks;
pub mod hosts;
mod insert;
pub mod known;
mod library;
pub mod listers;
mod operators;
mod own_call;
mod parts;
mod plain;
mod site;
pub mod sources;
mod tree;
mod value;
mod words;

use rnix::ast::{self, Expr, HasEntry as _};
use rnix::{Root, SyntaxNode};

use crate::error::Error;
use crate::input::InputState;
use crate::literal;
use crate::shipped::{INPUT, PLATFORM};
use hosts::Hosts;
use sources::Sources;
use tree::{children, entry, node, position};

/// The file.
pub(crate) const FILE: &str = "flake.nix";
/// The output that hosts are.
const NAME: &str = "nixosConfigurations";

/// A `flake.nix` without syntax errors.
pub struct Flake {
    text: String,
    root: SyntaxNode,
}

/// The expression in a text; where there is none, the offset and what is wrong there.
fn parsed(text: &str) -> Result<Option<Expr>, (usize, String)> {
    if let Some(offset) = depth::too_deep(text) {
        return Err((offset, "it is nested too deeply".to_owned()));
    }
    let parsed = Root::parse(text);
    if let Some(error) = parsed.errors().first() {
        return Err(tree::describe(error, text));
    }
    Ok(children::<Expr>(&parsed.syntax()).next())
}

impl Flake {
    /// Reads the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let root = match parsed(text) {
            Ok(Some(expression)) => node(&expression).ancestors().last(),
            Ok(None) => None,
            Err((offset, message)) => {
                let (line, column) = position(text, offset);
                return Err(Error::Syntax { line, column, message });
            }
        };
        let root = root.unwrap_or_else(|| Root::parse(text).syntax());
        Ok(Self { text: text.to_owned(), root })
    }

    /// Its hosts, as far as the sources say.
    pub fn hosts(&self, sources: &Sources) -> Hosts {
        hosts::of(&self.text, sources, None)
    }

    /// What its input of our name is.
    pub fn input(&self) -> InputState {
        let inputs = self.top().map(|top| insert::inputs_of(&top, PLATFORM)).unwrap_or_default();
        let address = literal::string(INPUT);
        if inputs.is_empty() {
            InputState::Absent
        } else if inputs.iter().any(|pair| node(pair).text().to_string().contains(&address)) {
            InputState::Vendored
        } else {
            InputState::Elsewhere
        }
    }

    /// Whether it has an input `nixpkgs`.
    pub fn has_nixpkgs(&self) -> bool {
        self.top().is_some_and(|top| !insert::inputs_of(&top, "nixpkgs").is_empty())
    }

    /// Whether it has outputs at all.
    pub fn has_outputs(&self) -> bool {
        let is = |pair: ast::AttrpathValue| {
            tree::attribute_path(&pair)
                .first()
                .is_some_and(|name| name.as_deref() == Some("outputs"))
        };
        self.top().is_some_and(|top| top.attrpath_values().any(is))
    }

    fn top(&self) -> Option<ast::AttrSet> {
        match children::<Expr>(&self.root).next()? {
            Expr::AttrSet(set) => Some(set),
            _ => None,
        }
    }

    /// The function `outputs`.
    fn outputs(&self) -> Result<ast::Lambda, &'static str> {
        let top = self.top().ok_or("it is not an attribute set")?;
        match entry(&top, "outputs").and_then(|found| found.value()).as_ref().map(tree::bare) {
            Some(Expr::Lambda(lambda)) => Ok(lambda),
            _ => Err("its outputs are no function"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(outputs: &str) -> Hosts {
        Flake::parse(&format!("{{ outputs = {outputs}; }}")).unwrap().hosts(&Sources::default())
    }

    #[test]
    fn frameworks_are_told_by_how_they_are_called() {
        let ours = Flake::parse(crate::shipped::FLAKE).unwrap().hosts(&Sources::default());
        assert_eq!(ours.lister.as_deref(), Some("nix/hosts"));
        let call = |prefix: &str| format!("inputs.blueprint {{ inherit inputs; {prefix} }}");
        for (prefix, directory) in [
            ("prefix = \"nix/\";", "nix/hosts"),
            ("prefix = ./nix;", "nix/hosts"),
            ("prefix = ./.;", "hosts"),
            ("prefix = null;", "hosts"),
            ("prefix = \"./a\" + \"/b\";", "a/b/hosts"),
            ("", "hosts"),
        ] {
            for around in [
                "CALL",
                "let x = CALL; in x // { checks = x.checks; }",
                "{ inherit (CALL) nixosConfigurations; }",
            ] {
                let outputs =
                    format!("inputs: {}", around.replace("CALL", &format!("({})", call(prefix))));
                assert_eq!(hosts(&outputs).lister.as_deref(), Some(directory), "{outputs}");
            }
        }
        let bound = "inputs: let prefix = \"nix\"; in inputs.blueprint { inherit inputs prefix; }";
        assert_eq!(hosts(bound).lister.as_deref(), Some("nix/hosts"));
        let unknown = hosts("inputs: inputs.blueprint { prefix = inputs.x; }");
        assert_eq!((unknown.lister, unknown.doubts.len()), (None, 1));
    }

    #[test]
    fn what_may_be_a_host_is_never_left_out() {
        for (outputs, name) in [
            (
                "i: if i.x then { nixosConfigurations.a = 1; } else { nixosConfigurations.b = 2; }",
                "a",
            ),
            ("i: { nixosConfigurations = i.lib.optionalAttrs i.x { a = 1; }; }", "a"),
            (
                "i: { nixosConfigurations = i.lib.genAttrs (if i.x then [ \"a\" ] else [ ]) (n: n); }",
                "a",
            ),
            (
                "i: { nixosConfigurations = i.lib.filterAttrs (n: v: v != null) { a = 1; b = i.x; }; }",
                "b",
            ),
            (
                "i: { nixosConfigurations = i.lib.filterAttrs (n: v: v.port != null) (builtins.fromJSON ''{ \"a\": { \"port\": 22 } }''); }",
                "a",
            ),
        ] {
            assert!(hosts(outputs).known.contains_key(name), "{outputs}");
        }
        for outputs in [
            "i: { nixosConfigurations.a = 1; } // i.x",
            "i: { nixosConfigurations = { a = 1; } // i.x; }",
            "i: i.x // { packages = { }; }",
            "i: { nixosConfigurations = builtins.mapAttrs i.f i.x; }",
            "i: { nixosConfigurations = i.lib.mapAttrs' i.f { a = 1; }; }",
            "i: { nixosConfigurations = (x: x) i.x; }",
            "i: { nixosConfigurations = with i; hosts; }",
            "i: { nixosConfigurations = builtins.listToAttrs (i.x ++ [ ]); }",
        ] {
            assert!(!hosts(outputs).are_known(), "{outputs}");
        }
        let over = hosts("i: i.x // { nixosConfigurations = { a = 1; }; }");
        assert!(over.are_known(), "the right side is all there is: {:?}", over.doubts);
    }

    #[test]
    fn t13_what_grows_without_end_is_doubted_soon() {
        let doubled = |start: &str, twice: &str| {
            let mut text = format!("inputs: let a0 = {start};\n");
            for n in 0..60 {
                text += &format!("a{} = {};\n", n + 1, twice.replace('X', &format!("a{n}")));
            }
            text
        };
        for outputs in [
            doubled("[ \"a\" ]", "X ++ X")
                + "in { nixosConfigurations = inputs.lib.genAttrs a60 (n: n); }",
            doubled("\"a\"", "X + X") + "in { nixosConfigurations.${a60} = 1; }",
            doubled("\"a\"", "\"${X}${X}\"") + "in { nixosConfigurations.${a60} = 1; }",
            doubled("\"a\"", "./. + (\"/${X}\" + X)") + "in { nixosConfigurations.${a60} = 1; }",
            doubled("[ [ ] ]", "builtins.concatMap (x: X) X")
                + "in { nixosConfigurations = inputs.lib.genAttrs a60 (n: n); }",
            "inputs: let f = x: f (x // { }); in { nixosConfigurations = f { }; }".to_owned(),
            "inputs: let x = x; in { nixosConfigurations = x // { }; }".to_owned(),
            "inputs: let f = x: f x + f x; in { nixosConfigurations.${f 1} = 1; }".to_owned(),
            "{ self, ... }: { inherit (self) nixosConfigurations; }".to_owned(),
        ] {
            assert!(!hosts(&outputs).doubts.is_empty(), "{outputs}");
        }
    }

    #[test]
    fn mistakes_have_a_line_and_a_column() {
        let error = Flake::parse("{\n  outputs = { ;\n}\n").err().unwrap().to_string();
        assert!(error.starts_with("flake.nix:2:15: "), "{error}");
        let open = Flake::parse("{\n").err().unwrap().to_string();
        assert!(open.starts_with("flake.nix:2:1: ") && open.contains("ends too early"), "{open}");
    }

    #[test]
    fn t17_a_host_is_found_under_a_quoted_name() {
        let found = hosts("_:\n { nixosConfigurations = { \"a\" = 1; \"${b}\" = 2; }; }");
        let place = found.known.get("a").and_then(|known| known.place.clone()).unwrap();
        assert_eq!((place.to_string(), found.known.len()), ("flake.nix:2:28".to_owned(), 1));
        assert_eq!(found.doubts.len(), 1, "what b is bound to is not known");
    }
}
