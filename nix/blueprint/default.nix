# blueprint takes a host's default.nix before its configuration.nix, and uses its value as it is.
{ inputs, hostName, ... }:
{
  class = "nixos";
  value = inputs.bedplate.lib.host hostName ./.;
}
