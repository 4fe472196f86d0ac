//! Whether a flake knows a host, asked before a disk is written to for it.

use bedplate_model::host::Platform;

use super::sources::Sources;
use super::{Flake, edit};

/// A longer flake is not looked at: it may be somebody else's.
const LIMIT: usize = 1 << 20;

/// A host that is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    /// Its name.
    pub name: &'a str,
    /// The directory of hosts.
    pub hosts: &'a str,
    /// What builds its system.
    pub platform: Platform,
}

impl Sought<'_> {
    /// Why no system could be built for the host from the `flake.nix` with this text, and what to
    /// do; none where it may well be one of its hosts, or where that is not understood.
    pub fn missing(&self, text: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= LIMIT)?;
        let flake = Flake::parse(text).ok()?;
        flake.lacks(self.name).then(|| {
            let name = self.name;
            format!(
                "its flake.nix writes its hosts out and {name} is none of them, so no system \
                 could be built for it; {}, and commit",
                self.what_to_do()
            )
        })
    }

    fn what_to_do(&self) -> String {
        let Self { name, hosts, platform } = self;
        let more = match platform {
            Platform::Embedded => "",
            Platform::Nixos => " --platform nixos",
        };
        format!(
            "run `bedplate host add {name}{more}`, or where {hosts}/{name} is there already, write \
             `{}` into its outputs",
            edit::output(name, hosts)
        )
    }
}

impl Flake {
    /// Whether the flake has no host of that name for certain: its hosts are written out, each by
    /// its name.
    pub fn lacks(&self, name: &str) -> bool {
        let hosts = self.hosts(&Sources::default());
        hosts.are_known() && hosts.lister.is_none() && !hosts.known.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Input;
    use crate::shipped;

    fn lacks(outputs: &str) -> bool {
        Flake::parse(&format!("{{ outputs = {outputs}; }}")).unwrap().lacks("attic")
    }

    #[test]
    fn a_flake_that_writes_its_hosts_out_lacks_those_that_are_not_there() {
        for outputs in [
            "{ ... }: { nixosConfigurations = { oracle = 1; }; }",
            "{ ... }: { nixosConfigurations.oracle = 1; nixosConfigurations.\"b\" = 2; }",
            "{ ... }: let a = 1; in { nixosConfigurations = { inherit a; }; }",
            "{ ... }: { packages.x.attic = 1; }",
            "{ ... }: { nixosConfigurations = { oracle.attic = 1; }; } // { packages = { }; }",
        ] {
            assert!(lacks(outputs), "{outputs}");
        }
    }

    #[test]
    fn one_that_may_know_the_host_lacks_nothing() {
        for outputs in [
            "{ ... }: { nixosConfigurations = { \"attic\" = 1; }; }",
            "{ ... }: { nixosConfigurations.attic = 1; nixosConfigurations.b = 2; }",
            "{ ... }: let attic = 1; in { nixosConfigurations = { inherit attic; }; }",
            "{ ... }: { nixosConfigurations = { inherit (import ./x) attic; }; }",
            "{ ... }: { nixosConfigurations = { ${n} = 1; }; }",
            "{ ... }: { nixosConfigurations.${n} = 1; }",
            "{ ... }: { nixosConfigurations.b = 1; ${n} = 2; }",
            "{ ... }: { nixosConfigurations = { b = 1; }; } // import ./more.nix",
            "{ ... }: { nixosConfigurations = { b = 1; } // f ./hosts; }",
            "{ ... }: { nixosConfigurations = f ./hosts; }",
            "{ ... }: { inherit (f ./hosts) nixosConfigurations; }",
            "inputs: inputs.blueprint { inherit inputs; }",
            "inputs: inputs.parts.lib.mkFlake { } { }",
        ] {
            assert!(!lacks(outputs), "{outputs}");
        }
        assert!(!Flake::parse(shipped::FLAKE).unwrap().lacks("attic"));
    }

    #[test]
    fn what_to_do_is_said_and_a_host_that_was_added_is_known() {
        let before = "{ outputs = { ... }: { nixosConfigurations = { b = 1; }; }; }";
        let sought = Sought { name: "attic", hosts: "nix/hosts", platform: Platform::Embedded };
        let said = sought.missing(before.as_bytes()).unwrap();
        let line =
            "nixosConfigurations.attic = inputs.bedplate.lib.host \"attic\" ./nix/hosts/attic;";
        assert!(said.contains("bedplate host add attic") && said.contains(line), "{said}");
        let nixos = Sought { platform: Platform::Nixos, ..sought };
        let told = nixos.missing(before.as_bytes()).unwrap();
        assert!(told.contains("`bedplate host add attic --platform nixos`"), "{told}");
        let flake = Flake::parse(before).unwrap();
        let after = flake.with_host("attic", "nix/hosts", Some(&Input::Vendored)).unwrap();
        assert_eq!(sought.missing(after.text.as_bytes()), None);
        let long = format!("{before}{}", " ".repeat(LIMIT));
        for text in [&b"{ outputs = ; }"[..], b"\xff", long.as_bytes()] {
            assert_eq!(sought.missing(text), None);
        }
    }
}
