{
  description = "Bedplate's own platform: a Debian tree in one store path";

  outputs = { self }: {
    lib = import ./hosts.nix;
  };
}
