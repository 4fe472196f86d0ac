//! `flake.nix` as its syntax tree: how it comes to its hosts, and what its outputs are called with.

mod depth;
pub mod edit;
pub mod known;
mod tree;

use rnix::SyntaxKind::NODE_PATH_REL;
use rnix::ast::{self, Expr, HasEntry as _};
use rnix::{Root, SyntaxNode};

use crate::error::Error;
use crate::input::InputState;
use crate::literal;
use crate::shipped::{INPUT, PLATFORM};
use tree::{attribute_path, called, children, entry, node, operands, position, relative_path};

/// How a flake comes to `nixosConfigurations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// By our own lister: a directory is a host.
    Ours {
        /// The directory of hosts.
        directory: String,
    },
    /// By blueprint, which lists `hosts` below its prefix.
    Blueprint {
        /// The directory of hosts.
        directory: String,
    },
    /// Written out, host by host; also when there is none yet.
    Written,
    /// By an expression, such as a lister of its owner's.
    Computed {
        /// The directory that is named in it.
        directory: Option<String>,
    },
    /// In a way that is not understood.
    Unknown {
        /// What is not.
        why: &'static str,
    },
}

/// A `flake.nix` without syntax errors.
pub struct Flake {
    text: String,
    root: SyntaxNode,
}

impl Flake {
    /// Reads the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if let Some(offset) = depth::too_deep(text) {
            let (line, column) = position(text, offset);
            let message = "it is nested too deeply".to_owned();
            return Err(Error::Syntax { line, column, message });
        }
        let parsed = Root::parse(text);
        if let Some(error) = parsed.errors().first() {
            let (offset, message) = tree::describe(error, text);
            let (line, column) = position(text, offset);
            return Err(Error::Syntax { line, column, message });
        }
        Ok(Self { text: text.to_owned(), root: parsed.syntax() })
    }

    /// How it comes to its hosts.
    pub fn layout(&self) -> Layout {
        match self.outputs() {
            Ok(outputs) => outputs.layout(),
            Err(why) => Layout::Unknown { why },
        }
    }

    /// What its input of our name is.
    pub fn input(&self) -> InputState {
        let inputs = self.top().map(|top| edit::inputs_of(&top, PLATFORM)).unwrap_or_default();
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
        self.top().is_some_and(|top| !edit::inputs_of(&top, "nixpkgs").is_empty())
    }

    /// Where the flake writes a host of that name out: line and column.
    pub fn place_of(&self, name: &str) -> Option<(usize, usize)> {
        let found = self.outputs().ok()?.written().into_iter().find(|(host, _)| host == name)?.1;
        Some(position(&self.text, found))
    }

    fn top(&self) -> Option<ast::AttrSet> {
        match children::<Expr>(&self.root).next()? {
            Expr::AttrSet(set) => Some(set),
            _ => None,
        }
    }

    fn outputs(&self) -> Result<Outputs, &'static str> {
        let top = self.top().ok_or("it is not an attribute set")?;
        let value = entry(&top, "outputs").and_then(|found| found.value());
        let Some(Expr::Lambda(lambda)) = value else { return Err("its outputs are no function") };
        let parameter = lambda.param().ok_or("its outputs are no function")?;
        let body = lambda.body().ok_or("its outputs are no function")?;
        let (mut bodies, mut bound) = (Vec::new(), Vec::new());
        operands(body, &mut bodies, &mut bound);
        Ok(Outputs { parameter, bodies, bound })
    }
}

/// The function `outputs`.
struct Outputs {
    parameter: ast::Param,
    /// What its result is merged from.
    bodies: Vec<Expr>,
    /// Names that are bound between the parameter and the result.
    bound: Vec<String>,
}

/// `nixosConfigurations` in a result.
enum Configurations {
    /// `nixosConfigurations = VALUE;`
    Value(Expr),
    /// `nixosConfigurations.NAME = …;`
    Dotted(ast::AttrpathValue),
}

const NAME: &str = "nixosConfigurations";

impl Outputs {
    fn layout(&self) -> Layout {
        if let Some(directory) = self.bodies.iter().find_map(blueprint) {
            return Layout::Blueprint { directory };
        }
        let sets = self.sets();
        if sets.iter().any(inherits) {
            return Layout::Unknown { why: "it inherits nixosConfigurations from elsewhere" };
        }
        let found = self.found();
        match found.as_slice() {
            [] if self.bodies.len() == 1 && sets.len() == 1 => Layout::Written,
            [] => Layout::Unknown { why: "nixosConfigurations stands nowhere in its outputs" },
            [Configurations::Value(Expr::AttrSet(_))] => Layout::Written,
            [Configurations::Value(value)] => computed(value),
            all if all.iter().all(|one| matches!(one, Configurations::Dotted(_))) => {
                Layout::Written
            }
            _ => Layout::Unknown { why: "nixosConfigurations stands in several places" },
        }
    }

    fn sets(&self) -> Vec<ast::AttrSet> {
        let set = |body: &Expr| match body {
            Expr::AttrSet(set) => Some(set.clone()),
            _ => None,
        };
        self.bodies.iter().filter_map(set).collect()
    }

    fn found(&self) -> Vec<Configurations> {
        let mut found = Vec::new();
        for pair in self.sets().iter().flat_map(|set| set.attrpath_values()) {
            match (attribute_path(&pair).as_slice(), pair.value()) {
                ([Some(name)], Some(value)) if name == NAME => {
                    found.push(Configurations::Value(value))
                }
                ([Some(name), _, ..], _) if name == NAME => {
                    found.push(Configurations::Dotted(pair))
                }
                _ => {}
            }
        }
        found
    }

    /// Names and offsets of the hosts that are written out.
    fn written(&self) -> Vec<(String, usize)> {
        let mut hosts = Vec::new();
        for found in self.found() {
            let (pairs, at): (Vec<_>, _) = match found {
                Configurations::Value(Expr::AttrSet(set)) => (set.attrpath_values().collect(), 0),
                Configurations::Value(_) => continue,
                Configurations::Dotted(pair) => (vec![pair], 1),
            };
            for pair in pairs {
                let name = attribute_path(&pair).get(at).cloned().flatten();
                let offset = usize::from(node(&pair).text_range().start());
                hosts.extend(name.map(|name| (name, offset)));
            }
        }
        hosts
    }
}

fn inherits(set: &ast::AttrSet) -> bool {
    let attributes = set.inherits().flat_map(|inherit| inherit.attrs().collect::<Vec<_>>());
    attributes
        .into_iter()
        .any(|attribute| tree::attribute_name(&attribute).as_deref() == Some(NAME))
}

/// The directory of hosts when an expression calls blueprint.
fn blueprint(expression: &Expr) -> Option<String> {
    let Expr::Apply(apply) = expression else { return None };
    if called(apply)?.last()? != "blueprint" {
        return None;
    }
    let Some(Expr::AttrSet(arguments)) = apply.argument() else { return None };
    let prefix = match entry(&arguments, "prefix").map(|prefix| prefix.value()) {
        None => String::new(),
        Some(Some(Expr::Str(text))) => tree::plain_string(&text)?,
        Some(Some(Expr::PathRel(path))) => relative_path(node(&path))?,
        Some(_) => return None,
    };
    let prefix = prefix.trim_start_matches("./").trim_matches('/');
    let separator = if prefix.is_empty() || prefix == "." { "" } else { "/" };
    Some(format!("{}{separator}hosts", prefix.trim_matches('.')))
}

fn computed(value: &Expr) -> Layout {
    let paths = node(value).descendants().filter(|found| found.kind() == NODE_PATH_REL);
    let directory = paths
        .filter_map(|path| relative_path(&path))
        .find(|path| !path.is_empty() && !path.ends_with(".nix"));
    if let (Expr::Apply(apply), Some(directory)) = (value, &directory) {
        let name = called(apply).unwrap_or_default();
        if name.ends_with(&["bedplate".into(), "lib".into(), "hosts".into()]) {
            return Layout::Ours { directory: directory.clone() };
        }
    }
    Layout::Computed { directory }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(outputs: &str) -> Layout {
        Flake::parse(&format!("{{ outputs = {outputs}; }}")).unwrap().layout()
    }

    #[test]
    fn layouts_are_told_apart() {
        let ours = Layout::Ours { directory: "nix/hosts".into() };
        assert_eq!(Flake::parse(crate::shipped::FLAKE).unwrap().layout(), ours);
        let blueprint = |directory: &str| Layout::Blueprint { directory: directory.into() };
        let call =
            |prefix: &str| format!("inputs: inputs.blueprint {{ inherit inputs; {prefix} }}");
        assert_eq!(layout(&call("prefix = \"nix/\";")), blueprint("nix/hosts"));
        assert_eq!(layout(&call("prefix = ./nix;")), blueprint("nix/hosts"));
        assert_eq!(layout(&call("")), blueprint("hosts"));
        assert_eq!(layout("{ self, ... }: { nixosConfigurations = { a = 1; }; }"), Layout::Written);
        assert_eq!(layout("{ ... }: { nixosConfigurations.a = 1; }"), Layout::Written);
        assert_eq!(layout("{ ... }: { packages = { }; }"), Layout::Written);
        let lister =
            "{ ... }: let f = x: x; in { nixosConfigurations = f (builtins.readDir ./h); }";
        assert_eq!(layout(lister), Layout::Computed { directory: Some("h".into()) });
        for path in ["./h/${n}/x.nix", "./h/host-${n}.nix"] {
            let listed = format!("{{ ... }}: {{ nixosConfigurations = f (n: import {path}); }}");
            assert_eq!(layout(&listed), Layout::Computed { directory: Some("h".into()) });
        }
    }

    #[test]
    fn what_is_not_understood_is_said_so() {
        for outputs in [
            "inputs: inputs.parts.lib.mkFlake { } { }",
            "{ ... }: let nixosConfigurations = { }; in { inherit nixosConfigurations; }",
            "import ./outputs.nix",
            "inputs: inputs.blueprint { prefix = dir; }",
            "{ ... }: { nixosConfigurations = { }; } // { nixosConfigurations.b = 1; }",
        ] {
            assert!(matches!(layout(outputs), Layout::Unknown { .. }), "{outputs}");
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
        let text = "{\n outputs = _: { nixosConfigurations = { \"a\" = 1; \"${b}\" = 2; }; }; }";
        let flake = Flake::parse(text).unwrap();
        assert_eq!(flake.place_of("a"), Some((2, 41)));
        assert_eq!((flake.place_of("b"), flake.place_of("${b}")), (None, None));
    }
}
