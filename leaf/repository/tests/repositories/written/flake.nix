{
  description = "Homelab: hosts are written out";

  inputs = {
    # Stands for nixpkgs, which tests cannot have.
    nixpkgs.url = "path:./stand-in"; # follows nobody
  };

  outputs = { self, nixpkgs, ... }: {
    nixosConfigurations = {
      oracle = nixpkgs.lib.nixosSystem {
        modules = [ ./hosts/oracle/configuration.nix ];
      };
    };

    devShells = { };
  };
}
