{
  description = "Bedplate: one host.toml becomes a running home server";

  # Not locked here: whoever uses the module lets this follow their own nixpkgs (docs/nixos.md).
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
      programs = pkgs.callPackage ./nix/nixos/packages.nix { };
    in
    {
      nixosModules.default = ./nix/nixos/module.nix;
      lib = import ./nix/nixos/lib.nix { inherit nixpkgs; };

      packages.${system} = {
        inherit (programs) bedplate bedplate-host bedplate-installer;
        default = programs.bedplate;
      };

      checks.${system} = import ./nix/nixos/tests {
        inherit (nixpkgs) lib;
        inherit nixpkgs pkgs;
      };
    };
}
