# Turns a directory of hosts into `nixosConfigurations` of the embedded platform.
let
  platform =
    if builtins.pathExists ./platform.json then
      builtins.fromJSON (builtins.readFile ./platform.json)
    else
      throw "bedplate/platform.json is not there, so nothing can be built: it comes from the medium (`bedplate init --medium FILE`, `bedplate host add --medium FILE`)";

  # A path that is supplied by the medium and never built: its store path follows from name and
  # hash. Where the medium was not copied into the store, Nix says that `/missing` does not exist.
  supplied =
    { name, path, hash }:
    let
      output = derivation {
        inherit name;
        system = "x86_64-linux";
        builder = "/missing";
        outputHashMode = "recursive";
        outputHash = hash;
      };
    in
    assert output.outPath == path || throw "platform.json: ${name} is at ${output.outPath}, not at ${path}";
    output;

  # What a configuration.nix of the embedded platform is called with.
  bedplate.platformModule = document: { bedplate.document = document; };

  known = [ "imports" ];

  host =
    name: directory:
    let
      configuration = import (directory + "/configuration.nix") { inherit bedplate; };
      documents = builtins.filter (module: module ? bedplate) (configuration.imports or [ ]);
      document =
        if builtins.length documents == 1 then
          (builtins.head documents).bedplate.document
        else
          throw "host ${name}: configuration.nix must import bedplate.platformModule exactly once";
      settings = builtins.fromTOML (builtins.readFile document);
      ignored =
        builtins.attrNames (removeAttrs configuration known)
        ++ (if builtins.length (configuration.imports or [ ]) > 1 then [ "imports" ] else [ ]);
      warned = builtins.foldl' (
        value: option:
        builtins.trace "warning: host ${name}: the embedded platform cannot honour `${option}` of configuration.nix" value
      );
      toplevel = derivation {
        name = "bedplate-system-${settings.host.name}";
        system = "x86_64-linux";
        builder = "${supplied platform.programs}/bin/bedplate-host";
        args = [ "system" ];
        document = builtins.path { path = document; name = "host.toml"; };
        tree = supplied platform.tree;
        programs = supplied platform.programs;
        runtime = supplied platform.runtime;
        initrdModules = supplied platform.initrdModules;
        initrdProgram = supplied platform.initrdProgram;
        kernelVersion = platform.kernelVersion;
      };
    in
    if settings.host.name != name then
      throw "host ${name}: its host.toml names the host `${settings.host.name}`; both must agree"
    else if settings.host.platform or "nixos" != "embedded" then
      throw "host ${name}: platform = \"embedded\" is what this flake builds"
    else
      {
        config.system.build.toplevel = warned toplevel ignored;
        # The document as Nix reads it; known without a medium.
        config.bedplate = settings;
        # Flakes ask a system for its platform before they build it.
        pkgs.system = "x86_64-linux";
      };
in
{
  # One host, for a flake that writes its hosts out.
  inherit host;

  hosts =
    directory:
    let
      entries = builtins.readDir directory;
      isHost =
        name:
        entries.${name} == "directory"
        && builtins.pathExists (directory + "/${name}/configuration.nix");
      names = builtins.filter isHost (builtins.attrNames entries);
    in
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = host name (directory + "/${name}");
      }) names
    );
}
