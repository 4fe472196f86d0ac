//! Where a flake calls `nixosSystem` itself, its hosts are given arguments of their owner's. A host of
//! ours can be, too, in the same call.

use crate::change::Left;
use crate::flake::Flake;
use crate::flake::frameworks::Framework;
use crate::host::FLAKE_FILE;
use crate::literal;
use crate::read::RepositoryFacts;
use crate::shipped::PLATFORM;

/// What gives the new host what the others are given: the owner's own call, or the framework's.
pub(crate) fn of(facts: &RepositoryFacts, flake: &Flake, name: &str, listed: bool) -> Option<Left> {
    if listed { by_blueprint(facts, name) } else { in_own_call(facts, flake, name) }
}

fn by_blueprint(facts: &RepositoryFacts, name: &str) -> Option<Left> {
    let is = |one: &Framework| matches!(one, Framework::Blueprint { directory } if *directory == facts.hosts);
    facts.found.frameworks.iter().find(|one| is(one))?;
    let why = format!(
        "blueprint takes it before configuration.nix; without it blueprint builds {name} itself, and its \
         modules get its arguments (`inputs`, `flake`)"
    );
    let line = format!(
        "in configuration.nix, and remove default.nix: {{ inputs, ... }}: {{ imports = [ \
         inputs.{PLATFORM}.nixosModules.default ]; {PLATFORM}.document = ./host.toml; }}"
    );
    let file = format!("{}/{name}/default.nix", facts.hosts);
    Some(Left::Offer { file, why, lines: vec![line] })
}

fn in_own_call(facts: &RepositoryFacts, flake: &Flake, name: &str) -> Option<Left> {
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
