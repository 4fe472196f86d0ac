{
  description = "Bedplate: one host.toml becomes a running home server";

  # Not locked here: whoever uses the module lets this follow their own nixpkgs (docs/nixos.md).
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
      # Each by itself: a host that wants one pays for no other.
      programs = pkgs: {
        bedplate = pkgs.callPackage ./nix/nixos/bedplate.nix { };
        bedplate-host = pkgs.callPackage ./nix/nixos/bedplate-host.nix { };
        bedplate-installer = pkgs.callPackage ./nix/nixos/bedplate-installer.nix { };
      };
      ours = programs pkgs;
    in
    {
      nixosModules.default = ./nix/nixos/module.nix;
      lib = import ./nix/nixos/lib.nix { inherit nixpkgs; };
      overlays.default = final: _: programs final;

      packages.${system} = ours // {
        default = ours.bedplate;
      };
      apps.${system}.default = {
        type = "app";
        program = "${ours.bedplate}/bin/bedplate";
        meta.description = "Checks a host.toml and makes media and key sticks from it";
      };
      devShells.${system}.default = pkgs.mkShell {
        inputsFrom = [ ours.bedplate-host ];
        packages = [
          pkgs.cargo
          pkgs.clippy
          pkgs.rustc
          pkgs.rustfmt
        ];
      };
      # `bedplate init --platform nixos` writes the same with the address of this repository in it.
      templates.default = {
        path = ./nix/nixos/template;
        description = "A flake for machines that Bedplate installs, on NixOS";
      };

      checks.${system} = import ./nix/nixos/tests {
        inherit (nixpkgs) lib;
        inherit nixpkgs pkgs;
      };
    };
}
