# The flake's checks.
{
  lib,
  nixpkgs,
  pkgs,
}:
let
  failed = import ./evaluate.nix { inherit lib; };
  platform = import ../lib.nix { inherit nixpkgs; };
  # The whole of NixOS is evaluated, and nothing of it is built.
  toplevel =
    (nixpkgs.lib.nixosSystem {
      modules = [ (platform.platformModule ./host.toml) ];
    }).config.system.build.toplevel;
in
{
  claims =
    if failed == [ ] then
      pkgs.writeText "bedplate-claims" "all hold\n"
    else
      throw "these claims on the module do not hold: ${lib.concatStringsSep "; " failed}";
  toplevel = pkgs.writeText "bedplate-toplevel" (
    builtins.unsafeDiscardStringContext toplevel.drvPath
  );
}
