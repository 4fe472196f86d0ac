# What a flake with hosts calls. The names are those of the embedded platform's `lib.nix`, so that
# flake.nix and configuration.nix read the same on both platforms.
{ nixpkgs }:
let
  # `imports = [ (bedplate.platformModule ./host.toml) ];` in a host's configuration.nix.
  platformModule = document: {
    imports = [ ./module.nix ];
    bedplate.document = document;
  };

  isNamed =
    name:
    { config, ... }:
    {
      assertions = [
        {
          assertion = config.bedplate.host.host.name == name;
          message = "${name}/host.toml names the host `${config.bedplate.host.host.name}`; directory and name must agree";
        }
      ];
    };

  # One host, for a flake that writes its hosts out.
  host =
    name: directory:
    nixpkgs.lib.nixosSystem {
      # An argument that `imports` depends on can be no other.
      specialArgs.bedplate = { inherit platformModule; };
      modules = [
        (directory + "/configuration.nix")
        (isNamed name)
      ];
    };
in
{
  inherit platformModule host;

  # Every directory with a configuration.nix, as `nixosConfigurations`.
  hosts =
    directory:
    let
      entries = builtins.readDir directory;
      isHost =
        name:
        entries.${name} == "directory"
        && builtins.pathExists (directory + "/${name}/configuration.nix");
    in
    nixpkgs.lib.genAttrs (builtins.filter isHost (builtins.attrNames entries)) (
      name: host name (directory + "/${name}")
    );
}
