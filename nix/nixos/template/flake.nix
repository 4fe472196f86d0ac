{
  description = "Machines installed by Bedplate";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
  inputs.bedplate.url = "@bedplate@";
  inputs.bedplate.inputs.nixpkgs.follows = "nixpkgs";

  outputs = { self, nixpkgs, bedplate }: {
    nixosConfigurations = bedplate.lib.hosts ./nix/hosts;
  };
}
