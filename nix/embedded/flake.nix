{
  description = "Bedplate's embedded platform, vendored beside the hosts that use it";

  outputs = { self }: { lib = import ./lib.nix; };
}
