//! What a person writes where a flake is left alone. Nothing that is advised takes a host away.

use rnix::ast;

use super::edit::call;
use super::hosts::Hosts;
use super::insert;
use super::site::Site;
use super::tree::{node, position};
use super::{Flake, NAME};
use crate::input::Input;
use crate::literal;
use crate::shipped::PLATFORM;

impl Flake {
    /// The lines that a person adds, each with where it goes.
    pub fn by_hand(
        &self,
        name: &str,
        directory: &str,
        lacking: Option<&Input>,
        hosts: &Hosts,
    ) -> Vec<String> {
        let lines = lacking.into_iter().flat_map(Input::lines);
        let mut lines: Vec<String> = lines.map(|line| format!("inputs.{line}")).collect();
        let attribute = literal::attribute(name);
        let (reach, asked) = self.reached();
        let site = hosts.sites.last();
        lines.extend(asked.filter(|_| site != Some(&Site::Module)));
        let value = format!("{reach}{}", call(name, directory));
        lines.push(match site {
            Some(Site::Module) => {
                let path = literal::string(&format!("/{directory}/{name}"));
                let name = literal::string(name);
                format!(
                    "in a module of flake-parts, whose arguments have `inputs`: \
                     flake.{NAME}.{attribute} = inputs.{PLATFORM}.lib.host {name} (inputs.self + {path});"
                )
            }
            Some(Site::Inherited { name, from }) => {
                let (line, column) = self.position(usize::from(name.start()));
                let from = if from.contains(char::is_whitespace) { format!("({from})") } else { from.clone() };
                let from = shown(&from);
                format!(
                    "outputs: take {NAME} out of the `inherit` at {line}:{column}, and write beside it: \
                     {NAME} = {{ {attribute} = {value}; }} // {from}.{NAME};"
                )
            }
            _ => {
                let seen = hosts.seen.as_ref();
                let seen = seen.map(|place| format!(" ({NAME} is first named at {place})"));
                // What is no function here is called with the same.
                let (around, theirs) = match self.outputs() {
                    Ok(_) => ("", "…"),
                    Err(_) => ("inputs: ", "(…) inputs"),
                };
                format!(
                    "outputs, around all that they are{}: {around}let theirs = {theirs}; in theirs // \
                     {{ {NAME} = {{ {attribute} = {value}; }} // theirs.{NAME} or {{ }}; }}",
                    seen.unwrap_or_default()
                )
            }
        });
        lines
    }

    /// What stands before `bedplate` in the outputs, and what to do for it first.
    pub(crate) fn reached(&self) -> (String, Option<String>) {
        let parameter = self.outputs().ok().and_then(|outputs| outputs.param());
        match parameter {
            Some(ast::Param::IdentParam(name)) => (format!("{}.", node(&name).text()), None),
            Some(ast::Param::Pattern(pattern)) if insert::names(&pattern).contains(PLATFORM) => {
                (String::new(), None)
            }
            Some(ast::Param::Pattern(pattern)) => {
                let bind = pattern.pat_bind().and_then(|bind| bind.ident());
                match bind.filter(|_| pattern.ellipsis_token().is_some()) {
                    Some(bind) => (format!("{}.", node(&bind).text()), None),
                    None => (
                        String::new(),
                        Some(format!("outputs: name `{PLATFORM}` among their arguments")),
                    ),
                }
            }
            None => ("inputs.".to_owned(), None),
        }
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        position(&self.text, offset)
    }
}

/// Text of the file as it may stand on a terminal.
fn shown(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .escape_debug()
        .to_string()
        .replace("\\\"", "\"")
}
