//! Where a flake calls `nixosSystem` itself, its hosts are given arguments of their owner's. A host of
//! ours can be, too, in the same call.

use crate::change::Left;
use crate::flake::Flake;
use crate::host::FLAKE_FILE;
use crate::literal;
use crate::read::RepositoryFacts;
use crate::shipped::PLATFORM;

/// The call that gives the new host what the others are given.
pub(crate) fn of(facts: &RepositoryFacts, flake: &Flake, name: &str) -> Option<Left> {
    let call = flake.own_call()?;
    let (reach, _) = flake.reached();
    let document = literal::path(&format!("{}/{name}/host.toml", facts.hosts));
    let arguments = match call.arguments {
        Some(arguments) => format!("specialArgs = {arguments}; "),
        None => String::new(),
    };
    let why = format!(
        "it calls nixosSystem itself ({}:{}), and that can give {name} the arguments of its other hosts",
        call.line, call.column
    );
    let line = format!(
        "{} = {} {{ {arguments}modules = [ {reach}{PLATFORM}.nixosModules.default {{ {PLATFORM}.document = {document}; }} ]; }};",
        literal::attribute(name),
        call.function
    );
    Some(Left::Offer { file: FLAKE_FILE.to_owned(), why, lines: vec![line] })
}
