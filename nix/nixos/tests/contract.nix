# What the module takes for granted of a nixpkgs: the types of the options it sets, and the packages its programs are
# built with. `NIXPKGS=DIR cargo xtask nixos-contract` writes ../contract.json by it; tests compare that with
# declarations.nix and with the arguments of the packages, where there is no nixpkgs.
{ nixpkgs }:
let
  lib = import (nixpkgs + "/lib");
  system = "x86_64-linux";
  pkgs = import nixpkgs { inherit system; };
  nixos = import (nixpkgs + "/nixos/lib/eval-config.nix") {
    inherit system;
    modules = [ ];
  };

  ofName = options: lib.listToAttrs (map (option: lib.nameValuePair option.name option) options);
  real = ofName (lib.optionAttrSetToDocList nixos.options);
  declared = lib.filter (option: !lib.elem "_module" option.loc) (
    lib.optionAttrSetToDocList
      (lib.evalModules {
        modules = [ ./declarations.nix ];
        specialArgs.platformIsGiven = false;
      }).options
  );
  # A set of free form is one option there, and the keys that we set are declared here.
  find =
    loc:
    let
      name = lib.concatStringsSep "." loc;
    in
    if loc == [ ] then
      null
    else if real ? ${name} then
      real.${name}
    else
      find (lib.init loc);

  arguments =
    file: lib.functionArgs (import file);
  programs = lib.foldl' (all: file: all // arguments file) { } [
    ../bedplate.nix
    ../bedplate-host.nix
    ../bedplate-installer.nix
    ../build.nix
  ];
  versionOf =
    name:
    let
      found = builtins.tryEval (pkgs.${name} or null);
    in
    if !found.success || found.value == null then
      null
    else
      # Some are functions, or sets of functions.
      found.value.version or "there";
in
{
  release = lib.trivial.release;
  options = lib.listToAttrs (
    map (
      option:
      let
        found = find option.loc;
      in
      lib.nameValuePair option.name (
        if found == null then
          null
        else
          {
            type = found.type or "unspecified";
            # As declarations.nix has it, where that reads otherwise.
            declared = if found.type or "" == option.type or "" then null else option.type or "";
          }
      )
    ) declared
  );
  packages = lib.mapAttrs (name: optional: {
    inherit optional;
    version = versionOf name;
  }) (removeAttrs programs [ "lib" "callPackage" ]);
}
