# Systems of NixOS to be built where there is a cache of it: `NIXPKGS=DIR cargo xtask nixos-proof` does.
{ nixpkgs }:
let
  lib = import (nixpkgs + "/lib");
  platform = import ../lib.nix { nixpkgs = { inherit lib; }; };
in
lib.mapAttrs
  (
    _: document:
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = "x86_64-linux";
      modules = [ (platform.platformModule document) ];
    }).config.system.build.toplevel
  )
  {
    host = ./host.toml;
    installed = ./installed/host.toml;
    mirror = ./mirror.toml;
    small = ./small.toml;
  }
