//! Who else lists a directory: what is written there, they see too.

use std::collections::BTreeSet;

use rnix::ast::{self, BinOpKind, Expr, InterpolPart};

use super::hosts::Place;
use super::sources::{Sources, normal, split};
use super::tree::{bare, cast, node, plain_string, position};

/// Functions that list a directory and nothing below it.
const FLAT: [&str; 2] = ["readDir", "packagesFromDirectoryRecursive"];
/// Functions that list everything below a directory.
const DEEP: [&str; 8] = [
    "listFilesRecursive",
    "import-tree",
    "rakeLeaves",
    "flattenTree",
    "load",
    "findModules",
    "readDirRecursive",
    "fromDirectory",
];

/// Where the sources list the directory itself, or everything in one that holds it.
pub fn of(sources: &Sources, directory: &str) -> Vec<Place> {
    let mut found = BTreeSet::new();
    for (file, text) in &sources.files {
        let Some(text) = text.as_deref().filter(|text| speaks_of_listing(text)) else { continue };
        let Ok(Some(root)) = super::parsed(text) else { continue };
        for apply in node(&root).descendants().filter_map(cast::<ast::Apply>) {
            if lists(&apply, split(file).0, directory) {
                let offset = usize::from(node(&apply).text_range().start());
                let (line, column) = position(text, offset);
                found.insert((file.clone(), line, column));
            }
        }
    }
    found.into_iter().map(|(file, line, column)| Place { file, line, column }).collect()
}

/// Whether a text may list anything at all.
pub fn speaks_of_listing(text: &str) -> bool {
    FLAT.iter().chain(&DEEP).any(|name| text.contains(name))
}

fn lists(apply: &ast::Apply, around: &str, directory: &str) -> bool {
    let Some(function) = apply.lambda() else { return false };
    let text = node(&bare(&function)).text().to_string();
    let name = text.rsplit('.').next().unwrap_or_default().trim();
    let argument = apply.argument().and_then(|argument| path_of(&argument, around));
    let Some(path) = argument else { return false };
    let within =
        path.is_empty() || directory.strip_prefix(&path).is_some_and(|rest| rest.starts_with('/'));
    FLAT.contains(&name) && path == directory
        || DEEP.contains(&name) && (path == directory || within)
}

/// The directory that an expression names, as far as it is written out.
fn path_of(expression: &Expr, around: &str) -> Option<String> {
    match bare(expression) {
        Expr::PathRel(path) => {
            let mut text = String::new();
            for part in path.parts() {
                match part {
                    InterpolPart::Literal(piece) => {
                        text.push_str(&node_text(&piece));
                    }
                    InterpolPart::Interpolation(_) => return None,
                }
            }
            normal(&format!("{around}/{text}"))
        }
        Expr::Str(text) => {
            if let Some(plain) = plain_string(&text) {
                return normal(&format!("{around}/{plain}"));
            }
            // "${./x}/y" and "${self}/y".
            let whole = node(&text).text().to_string();
            let inner = whole.trim_matches('"').strip_prefix("${")?;
            let (base, rest) = inner.split_once('}')?;
            if rest.contains("${") {
                return None;
            }
            match base.trim() {
                "self" | "inputs.self" | "self.outPath" => normal(rest),
                path if path.starts_with('.') => normal(&format!("{around}/{path}/{rest}")),
                _ => None,
            }
        }
        Expr::BinOp(sum) if sum.operator() == Some(BinOpKind::Add) => {
            let left = match sum.lhs()? {
                Expr::Ident(name) if node(&name).text() == "self" => String::new(),
                other => path_of(&other, around)?,
            };
            let Expr::Str(text) = sum.rhs()? else { return None };
            normal(&format!("{left}/{}", plain_string(&text)?))
        }
        Expr::AttrSet(set) => {
            // `load { src = ./x; }`
            let value = ["src", "directory", "path", "root"]
                .into_iter()
                .find_map(|name| super::tree::entry(&set, name))?;
            path_of(&value.value()?, around)
        }
        _ => None,
    }
}

fn node_text(piece: &ast::PathContent) -> String {
    use rnix::ast::AstToken as _;
    piece.syntax().text().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(file: &str, text: &str, directory: &str) -> Vec<String> {
        let mut sources = Sources::default();
        sources.files.insert(file.to_owned(), Some(text.to_owned()));
        of(&sources, directory).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn those_who_list_a_directory_are_found_however_they_write_it() {
        for text in [
            "builtins.readDir ./hosts",
            "readDir (./. + \"/hosts\")",
            "f (lib.filesystem.listFilesRecursive ./hosts)",
            "inputs.import-tree ./.",
            "readDir \"${self}/hosts\"",
            "haumea.lib.load { src = ./hosts; }",
        ] {
            assert_eq!(places("flake.nix", text, "hosts").len(), 1, "{text}");
        }
        assert_eq!(
            places("hosts/default.nix", "{ }:\n  readDir ./.", "hosts"),
            ["hosts/default.nix:2:3"]
        );
    }

    #[test]
    fn those_who_list_another_are_not() {
        for text in ["readDir ./modules", "readDir ./.", "readDir ./hosts/${x}", "import ./hosts"] {
            assert_eq!(places("flake.nix", text, "hosts"), Vec::<String>::new(), "{text}");
        }
    }
}
