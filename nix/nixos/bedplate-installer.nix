# Installs a host from its host.toml: what the medium of the embedded platform carries, for whoever has
# another live system.
{
  callPackage,
  git,
  nix,
}:
let
  inherit (callPackage ./build.nix { }) programs onMachine wrapped;
in
programs {
  name = "bedplate-installer";
  crates = [ "bedplate-installer" ];
  description = "Installs a host from its host.toml";
  extra = wrapped "bedplate-installer" (
    onMachine
    ++ [
      git
      nix
    ]
  );
}
