{
  description = "Homelab: a directory is a host";

  # Stands for nixpkgs, which tests cannot have.
  inputs.nixpkgs.url = "path:./stand-in";

  outputs = inputs@{ self, nixpkgs, ... }:
    let
      hosts = builtins.readDir ./machines;
    in
    {
      nixosConfigurations = builtins.mapAttrs (
        name: _: nixpkgs.lib.nixosSystem { modules = [ ./machines/${name}/configuration.nix ]; }
      ) hosts;
    };
}
