{
  description = "Our machines";

  # The embedded platform, vendored: nothing is fetched to build these hosts.
  inputs.bedplate.url = "path:./bedplate";

  # One host per directory.
  outputs = { self, bedplate }: { nixosConfigurations = bedplate.lib.hosts ./nix/hosts; };
}
