//! Repositories as other people lay them out, with invented names: what adding the host `box` does.

/// What comes of adding a host.
pub enum Comes {
    /// Directory of hosts, and what is added to `flake.nix` for the host; nothing where it is listed.
    Adds(&'static str, &'static str),
    /// Directory of hosts, and what is printed for its owner to add.
    Prints(&'static str, &'static str),
    /// What is said, and nothing is written.
    Refuses(&'static str),
}
use Comes::{Adds, Prints, Refuses};

/// A repository.
pub struct Layout {
    /// Its name, for people.
    pub name: &'static str,
    /// What stands in `flake.nix` besides the input nixpkgs.
    pub flake: &'static str,
    /// Its other files. One without text is an empty module.
    pub files: &'static [(&'static str, &'static str)],
    /// What comes of adding `box`.
    pub comes: Comes,
    /// Hosts that it has, and how that is told.
    pub taken: &'static [(&'static str, &'static str)],
}

const CALL: &str = "bedplate.lib.host \"box\"";

/// The part of every expectation that names the call.
pub fn whole(text: &str) -> String {
    text.replace("CALL", CALL)
}

const fn layout(
    name: &'static str,
    flake: &'static str,
    files: &'static [(&'static str, &'static str)],
    comes: Comes,
    taken: &'static [(&'static str, &'static str)],
) -> Layout {
    Layout { name, flake, files, comes, taken }
}

const HOSTS: &[(&str, &str)] = &[("hosts/loft/default.nix", ""), ("hosts/shed/default.nix", "")];
const MACHINES: &[(&str, &str)] =
    &[("machines/loft/default.nix", ""), ("machines/shed/default.nix", "")];
const BLUEPRINT: &[(&str, &str)] = &[("infra/hosts/loft/configuration.nix", "")];
const THERE: &str = "the flake has a host";

/// Hosts that are written out, whatever stands around them.
pub const WRITTEN: &[Layout] = &[
    layout(
        "in a let within",
        "outputs = { nixpkgs, ... }@inputs: { nixosConfigurations = let make = x: x; in { loft = make [ ./machines/loft ]; shed = make [ ./machines/shed ]; }; };",
        MACHINES,
        Adds("machines", "box = inputs.CALL ./machines/box;"),
        &[("loft", "flake.nix:3:84: "), ("shed", THERE)],
    ),
    layout(
        "bound in a let and inherited",
        "outputs = inputs: let nixosConfigurations = { loft = 1; }; in { inherit nixosConfigurations; };",
        HOSTS,
        Adds("hosts", "box = inputs.CALL ./hosts/box;"),
        &[("loft", "flake.nix:3:49: ")],
    ),
    layout(
        "a host that is inherited",
        "outputs = inputs: let loft = 1; in { nixosConfigurations = { inherit loft; inherit (inputs.x) shed; }; };",
        &[("hosts/one/default.nix", "")],
        Adds("hosts", "box = inputs.CALL ./hosts/box;"),
        &[("loft", THERE), ("shed", THERE)],
    ),
    layout(
        "recursive, and closed arguments",
        "outputs = { self, nixpkgs }: rec { nixosConfigurations = rec { loft = 1; shed = loft; }; };",
        HOSTS,
        Adds("hosts", "box = CALL ./hosts/box;"),
        &[("loft", THERE), ("shed", THERE)],
    ),
    layout(
        "with",
        "outputs = inputs: with inputs.nixpkgs.lib; { nixosConfigurations = with builtins; { loft = nixosSystem { }; }; };",
        HOSTS,
        Adds("hosts", "box = inputs.CALL ./hosts/box;"),
        &[("loft", THERE)],
    ),
    layout(
        "merged, and perhaps",
        "outputs = inputs: { nixosConfigurations = { loft = 1; } // (if inputs ? x then { shed = 1; } else { }); };",
        HOSTS,
        Adds("hosts", "// { box = inputs.CALL ./hosts/box; }"),
        &[("loft", THERE), ("shed", THERE)],
    ),
    layout(
        "names in quotes",
        "outputs = inputs: { \"nixosConfigurations\".\"loft\" = 1; nixosConfigurations.${\"sh\" + \"ed\"} = 2; };",
        HOSTS,
        Adds("hosts", "nixosConfigurations.box = inputs.CALL ./hosts/box;"),
        &[("loft", THERE), ("shed", THERE)],
    ),
    layout(
        "a name that is computed",
        "outputs = inputs: let name = \"loft\"; in { nixosConfigurations.${name} = 1; };",
        &[("configuration.nix", "")],
        Adds("nix/hosts", "nixosConfigurations.box = inputs.CALL ./nix/hosts/box;"),
        &[("loft", THERE)],
    ),
    layout(
        "a name that nobody here knows",
        "outputs = inputs: { nixosConfigurations.${inputs.x.name} = 1; };",
        HOSTS,
        Refuses("flake.nix:3:43: whether the flake has a host box already cannot be known"),
        &[("loft", "hosts/loft is there already")],
    ),
    layout(
        "the right of two sets",
        "outputs = inputs: { nixosConfigurations.old = 1; } // { nixosConfigurations = { loft = 1; }; };",
        HOSTS,
        Adds("hosts", "box = inputs.CALL ./hosts/box;"),
        &[("loft", THERE)],
    ),
    layout(
        "inside a call of flake-utils",
        "outputs = inputs: inputs.flake-utils.lib.eachDefaultSystemPassThrough (system: { nixosConfigurations = { loft = 1; }; });",
        HOSTS,
        Adds("hosts", "box = inputs.CALL ./hosts/box;"),
        &[("loft", THERE)],
    ),
    layout(
        "beside a call of flake-utils",
        "outputs = { self, flake-utils, ... }: { nixosConfigurations.loft = 1; } // flake-utils.lib.eachDefaultSystem (system: { packages.x = 1; });",
        HOSTS,
        Adds("hosts", "nixosConfigurations.box = CALL ./hosts/box;"),
        &[("loft", THERE)],
    ),
    layout(
        "inside a function of its own",
        "outputs = inputs: let make = hosts: { nixosConfigurations = builtins.mapAttrs (name: host: [ host ]) hosts; }; in make { loft = 1; };",
        HOSTS,
        Adds("hosts", "// { box = inputs.CALL ./hosts/box; }"),
        &[("loft", THERE)],
    ),
    layout(
        "inherited from what is imported",
        "outputs = inputs: let all = import ./outputs.nix inputs; in { inherit (all) nixosConfigurations; };",
        &[
            ("outputs.nix", "inputs: {\n  nixosConfigurations.loft = 1;\n}\n"),
            ("hosts/loft/default.nix", ""),
        ],
        Prints(
            "hosts",
            "take nixosConfigurations out of the `inherit` at 3:79, and write beside it: nixosConfigurations = { box = inputs.CALL ./hosts/box; } // all.nixosConfigurations;",
        ),
        &[("loft", "outputs.nix:2:23: the flake has a host loft")],
    ),
    layout(
        "imported outputs",
        "outputs = inputs: import ./outputs.nix { inherit inputs; };",
        &[("outputs.nix", "{ inputs }: { nixosConfigurations = { loft = 1; }; }")],
        Prints(
            "nix/hosts",
            "let theirs = …; in theirs // { nixosConfigurations = { box = inputs.CALL ./nix/hosts/box; } // theirs.nixosConfigurations or { }; }",
        ),
        &[("loft", "outputs.nix:1:39: the flake has a host loft")],
    ),
    layout(
        "an import that does not parse",
        "outputs = inputs: { nixosConfigurations = import ./hosts inputs; };",
        &[("hosts/default.nix", "inputs: {\n  loft = ;\n}")],
        Refuses("hosts/default.nix:2:10: "),
        &[],
    ),
    layout(
        "a name that its let hides",
        "outputs = inputs: let inputs = { }; in { nixosConfigurations.loft = 1; };",
        HOSTS,
        Prints("hosts", "let theirs = …; in theirs //"),
        &[("loft", THERE)],
    ),
    layout(
        "nothing yet",
        "outputs = { ... }@inputs: { };",
        &[],
        Adds("nix/hosts", "nixosConfigurations.box ="),
        &[],
    ),
    layout("no outputs", "description = \"x\";", &[], Refuses("flake.nix has no outputs"), &[]),
    layout(
        "no Nix",
        "outputs = \"x\"; a b = 1;",
        &[],
        Refuses("flake.nix:3:20: a name is not expected here, but `=`"),
        &[],
    ),
];

/// Hosts that come out of functions.
pub const COMPUTED: &[Layout] = &[
    layout(
        "names as an argument",
        "outputs = { nixpkgs, ... }@inputs: { nixosConfigurations = builtins.mapAttrs (name: more: nixpkgs.lib.nixosSystem { modules = [ ./profiles/base ./machines/${name} ] ++ more; }) { loft = [ ]; shed = [ ./profiles/nas ]; }; };",
        &[
            ("machines/loft/default.nix", ""),
            ("machines/shed/default.nix", ""),
            ("profiles/base/default.nix", ""),
            ("profiles/nas/default.nix", ""),
        ],
        Adds("machines", "// { box = inputs.CALL ./machines/box; }"),
        &[("shed", THERE)],
    ),
    layout(
        "names in a list",
        "outputs = inputs: let inherit (inputs.nixpkgs) lib; in { nixosConfigurations = lib.genAttrs ([ \"loft\" ] ++ [ \"shed\" ]) (name: ./hosts/${name}); };",
        HOSTS,
        Adds("hosts", "// { box = inputs.CALL ./hosts/box; }"),
        &[("loft", THERE), ("shed", THERE)],
    ),
    layout(
        "pairs",
        "outputs = inputs: with inputs.nixpkgs; { nixosConfigurations = builtins.listToAttrs (map (name: lib.nameValuePair name 1) [ \"loft\" ] ++ [ { name = \"shed\"; value = 2; } ]); };",
        HOSTS,
        Adds("hosts", "// { box = inputs.CALL ./hosts/box; }"),
        &[("loft", THERE), ("shed", THERE)],
    ),
    layout(
        "two libraries in one",
        "outputs = { nixpkgs, home-manager, ... }@inputs: let lib = nixpkgs.lib // home-manager.lib; in { nixosConfigurations = lib.mapAttrs (name: host: host) { loft = 1; }; };",
        HOSTS,
        Adds("hosts", "// { box = inputs.CALL ./hosts/box; }"),
        &[("loft", THERE)],
    ),
    layout(
        "a lister, and one of modules before it",
        "outputs = { nixpkgs, ... }@inputs: { nixosConfigurations = builtins.mapAttrs (name: _: nixpkgs.lib.nixosSystem { modules = map (file: ./modules + \"/${file}\") (builtins.attrNames (builtins.readDir ./modules)) ++ [ (./hosts + \"/${name}\") ]; }) (builtins.readDir ./hosts); };",
        &[("hosts/loft/default.nix", ""), ("modules/ssh.nix", "")],
        Adds("hosts", "// { box = inputs.CALL ./hosts/box; }"),
        &[("loft", "hosts/loft is there already")],
    ),
    layout(
        "a file for each host",
        "outputs = inputs: { nixosConfigurations = inputs.nixpkgs.lib.mapAttrs' (file: _: { name = inputs.nixpkgs.lib.removeSuffix \".nix\" file; value = ./machines/${file}; }) (builtins.readDir ./machines); };",
        &[("machines/loft.nix", "")],
        Adds("machines", "// { box = inputs.CALL ./machines/box; }"),
        &[("loft", "machines/loft.nix is there already")],
    ),
    layout(
        "a directory for each system",
        "outputs = inputs: let inherit (inputs.nixpkgs) lib; of = system: map (name: lib.nameValuePair name ./hosts/${system}/${name}) (builtins.attrNames (builtins.readDir (./hosts + \"/${system}\"))); in { nixosConfigurations = builtins.listToAttrs (builtins.concatMap of (builtins.attrNames (builtins.readDir ./hosts))); };",
        &[("hosts/x86_64-linux/loft/default.nix", ""), ("hosts/aarch64-linux/pi/default.nix", "")],
        Adds("hosts/x86_64-linux", "// { box = inputs.CALL ./hosts/x86_64-linux/box; }"),
        &[("pi", "hosts/aarch64-linux/pi is there already")],
    ),
    layout(
        "a directory of other systems alone",
        "outputs = inputs: { nixosConfigurations.pi = ./hosts/aarch64-linux/pi; };",
        &[("hosts/aarch64-linux/pi/default.nix", "")],
        Refuses("where this repository keeps its hosts is not sure: hosts/aarch64-linux;"),
        &[],
    ),
    layout(
        "imported, with paths of its own",
        "outputs = inputs: { nixosConfigurations = import ./machines { inherit inputs; }; };",
        &[
            ("machines/default.nix", "{ inputs }: { loft = ./loft; }"),
            ("machines/loft/default.nix", ""),
        ],
        Adds("machines", "// { box = inputs.CALL ./machines/box; }"),
        &[("loft", "machines/default.nix:1:15: ")],
    ),
    layout(
        "a library that is extended",
        "outputs = inputs: let lib = inputs.nixpkgs.lib.extend (final: prev: { mine = import ./lib final; }); in { nixosConfigurations = lib.mine.hosts ./hosts; };",
        &[
            (
                "lib/default.nix",
                "lib: { hosts = dir: lib.filterAttrs (_: host: host != null) (lib.mapAttrs' (name: kind: if kind == \"directory\" && builtins.pathExists \"${toString dir}/${name}/default.nix\" then lib.nameValuePair name (lib.nixosSystem { }) else lib.nameValuePair \"\" null) (builtins.readDir dir)); }",
            ),
            ("hosts/loft/default.nix", ""),
            ("hosts/readme.txt", "hosts\n"),
        ],
        Adds("hosts", "// { box = inputs.CALL ./hosts/box; }"),
        &[("loft", "hosts/loft is there already")],
    ),
    layout(
        "names in a file of data",
        "outputs = inputs: { nixosConfigurations = builtins.mapAttrs (name: _: ./hosts/${name}) ((builtins.fromJSON (builtins.readFile ./hosts.json)).hosts // (inputs.nixpkgs.lib.importTOML ./more.toml).hosts); };",
        &[
            ("hosts.json", "{ \"hosts\": { \"loft\": {}, \"shed\": 1 } }\n"),
            ("more.toml", "[hosts.barn]\nx = 1\n"),
            ("hosts/loft/default.nix", ""),
        ],
        Adds("hosts", "// { box = inputs.CALL ./hosts/box; }"),
        &[
            ("loft", "flake.nix:3:23: the flake has a host loft"),
            ("shed", "the flake has a host shed"),
            ("barn", "the flake has a host barn"),
        ],
    ),
    layout(
        "a lister from elsewhere",
        "outputs = inputs: { nixosConfigurations = inputs.mine.lib.hosts ./hosts; };",
        HOSTS,
        Refuses(
            "flake.nix:3:45: whether the flake has a host box already cannot be known: what the call of `mine.lib.hosts` returns",
        ),
        &[("loft", "hosts/loft is there already")],
    ),
    layout(
        "a mkFlake of its own",
        "outputs = inputs: let lib = import ./lib inputs; in lib.mkFlake { hosts.loft = { }; };",
        &[
            (
                "lib/default.nix",
                "inputs: { mkFlake = { hosts }: { nixosConfigurations = builtins.mapAttrs (name: _: ../hosts/${name}) hosts; }; }",
            ),
            ("hosts/loft/default.nix", ""),
        ],
        Prints("hosts", "} // theirs.nixosConfigurations or { }; }"),
        &[("loft", THERE)],
    ),
    layout(
        "a mkFlake from elsewhere",
        "outputs = inputs: inputs.mine.lib.mkFlake { src = ./.; };",
        HOSTS,
        Refuses("} // theirs.nixosConfigurations or { }; }"),
        &[("shed", "hosts/shed is there already")],
    ),
    layout(
        "files of hosts where it is not clear that hosts live",
        "outputs = inputs: { nixosConfigurations.loft = ./nixos/loft.nix; };",
        &[("nixos/loft.nix", "")],
        Refuses("is not sure: nixos;"),
        &[],
    ),
    layout(
        "a directory of modules with a host's name in it",
        "outputs = inputs: { nixosConfigurations.loft = [ ./modules/loft ./overlays/loft.nix ]; };",
        &[("modules/loft/default.nix", ""), ("overlays/loft.nix", "")],
        Adds("nix/hosts", "nixosConfigurations.box = inputs.CALL ./nix/hosts/box;"),
        &[("loft", THERE)],
    ),
    layout(
        "two directories that may be the one",
        "outputs = inputs: { nixosConfigurations = { }; };",
        &[("hosts/loft/default.nix", ""), ("machines/shed/default.nix", "")],
        Refuses("is not sure: hosts, machines;"),
        &[],
    ),
    layout(
        "hosts further down, and files of their names elsewhere",
        "outputs = inputs: { nixosConfigurations.loft = [ ./system/hosts/loft ./modules/loft.nix ]; };",
        &[
            ("system/hosts/loft/default.nix", ""),
            ("modules/loft.nix", ""),
            ("home/loft/default.nix", ""),
        ],
        Adds("system/hosts", "nixosConfigurations.box = inputs.CALL ./system/hosts/box;"),
        &[("loft", THERE)],
    ),
];

/// Hosts that a framework makes.
pub const FRAMEWORKS: &[Layout] = &[
    layout(
        "blueprint in a let, extended",
        "outputs = inputs: let tree = inputs.blueprint { inherit inputs; prefix = \"infra/\"; }; in tree // { checks = builtins.mapAttrs (_: all: all) tree.checks; };",
        BLUEPRINT,
        Adds("infra/hosts", ""),
        &[("loft", "infra/hosts/loft is there already")],
    ),
    layout(
        "blueprint that inherits its prefix",
        "outputs = { blueprint, ... }@inputs: let prefix = ./infra; in blueprint { inherit inputs prefix; };",
        BLUEPRINT,
        Adds("infra/hosts", ""),
        &[],
    ),
    layout(
        "blueprint behind a function and under another name",
        "inputs.bp.url = \"github:numtide/blueprint\"; outputs = inputs: let make = prefix: inputs.bp { inherit inputs prefix; }; in { inherit (make \"infra\") nixosConfigurations; };",
        BLUEPRINT,
        Adds("infra/hosts", ""),
        &[],
    ),
    layout(
        "blueprint with a prefix from elsewhere",
        "outputs = inputs: inputs.blueprint { inherit inputs; prefix = inputs.x.prefix; };",
        BLUEPRINT,
        Refuses("flake.nix:3:21: the prefix of blueprint is not understood"),
        &[],
    ),
    layout(
        "flake-parts",
        "outputs = inputs: inputs.flake-parts.lib.mkFlake { inherit inputs; } { systems = [ ]; flake.nixosConfigurations.loft = 1; };",
        HOSTS,
        Adds("hosts", "flake.nixosConfigurations.box = inputs.CALL ./hosts/box;"),
        &[("loft", THERE)],
    ),
    layout(
        "flake-parts with a module that is a function",
        "outputs = { flake-parts, ... }@inputs: flake-parts.lib.mkFlake { inherit inputs; } ({ inputs, ... }: { imports = [ ./parts.nix ]; flake = { lib = { }; }; });",
        &[
            ("parts.nix", "{ flake.nixosConfigurations = { loft = 1; }; }"),
            ("hosts/loft/default.nix", ""),
        ],
        Adds("hosts", "nixosConfigurations.box = inputs.CALL ./hosts/box;"),
        &[("loft", "parts.nix:1:33: ")],
    ),
    layout(
        "flake-parts with import-tree",
        "outputs = inputs: inputs.flake-parts.lib.mkFlake { inherit inputs; } (inputs.import-tree ./parts);",
        &[("parts/a/loft.nix", "{ flake.nixosConfigurations.loft = 1; }")],
        Prints(
            "nix/hosts",
            "flake.nixosConfigurations.box = inputs.CALL (inputs.self + \"/nix/hosts/box\");",
        ),
        &[("loft", "parts/a/loft.nix:1:29: ")],
    ),
    layout(
        "easy-hosts",
        "outputs = inputs: inputs.flake-parts.lib.mkFlake { inherit inputs; } { imports = [ inputs.easy-hosts.flakeModule ]; easy-hosts = { autoConstruct = true; path = ./hosts; hosts.shed = { }; }; };",
        &[("hosts/x86_64-nixos/loft/default.nix", "")],
        Adds("nix/hosts", "flake.nixosConfigurations.box = inputs.CALL ./nix/hosts/box;"),
        &[("loft", "hosts/x86_64-nixos/loft is there already"), ("shed", THERE)],
    ),
    layout(
        "nixos-unified",
        "outputs = inputs: inputs.flake-parts.lib.mkFlake { inherit inputs; } { imports = [ inputs.nixos-unified.flakeModules.autoWire ]; };",
        &[("configurations/nixos/loft.nix", "")],
        Adds("nix/hosts", "flake.nixosConfigurations.box = inputs.CALL ./nix/hosts/box;"),
        &[("loft", "configurations/nixos/loft is there already")],
    ),
    layout(
        "clan",
        "outputs = { self, clan-core, ... }@inputs: let clan = clan-core.lib.clan { inherit self; inventory.machines.shed = { }; }; in { inherit (clan.config) nixosConfigurations clanInternals; };",
        &[("machines/loft/configuration.nix", "")],
        Prints(
            "nix/hosts",
            "nixosConfigurations = { box = inputs.CALL ./nix/hosts/box; } // clan.config.nixosConfigurations;",
        ),
        &[("loft", "machines/loft is there already"), ("shed", THERE)],
    ),
    layout(
        "snowfall",
        "outputs = inputs: inputs.snowfall-lib.mkFlake { inherit inputs; src = ./.; };",
        &[("systems/x86_64-linux/loft/default.nix", "")],
        Adds(
            "systems/x86_64-linux",
            "systems.hosts.box.builder = _: inputs.CALL ./systems/x86_64-linux/box;",
        ),
        &[("loft", "systems/x86_64-linux/loft is there already")],
    ),
    layout(
        "snowfall with a library and a root",
        "outputs = inputs: let lib = inputs.snowfall-lib.mkLib { inherit inputs; src = ./.; snowfall.root = ./nix; }; in lib.mkFlake { systems = { hosts = { loft.modules = [ ]; }; }; };",
        &[
            ("nix/systems/x86_64-linux/loft/default.nix", ""),
            ("nix/systems/aarch64-linux/pi/default.nix", ""),
        ],
        Adds(
            "nix/systems/x86_64-linux",
            "box.builder = _: inputs.CALL ./nix/systems/x86_64-linux/box;",
        ),
        &[("pi", "nix/systems/aarch64-linux/pi is there already")],
    ),
    layout(
        "flake-utils-plus",
        "inputs.fup.url = \"github:gytis-ivaskevicius/flake-utils-plus\"; outputs = inputs: inputs.fup.lib.mkFlake { inherit inputs; inherit (inputs) self; hosts = { loft.modules = [ ]; }; };",
        HOSTS,
        Adds("hosts", "box.builder = _: inputs.CALL ./hosts/box;"),
        &[("loft", THERE)],
    ),
];
