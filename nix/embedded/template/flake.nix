{
  description = "Machines installed by Bedplate";

  inputs.bedplate.url = "path:./bedplate";

  outputs = { self, bedplate }: {
    nixosConfigurations = bedplate.lib.hosts ./nix/hosts;
  };
}
