# snowfall takes a directory with a default.nix for a host. What builds this one is said in flake.nix
# (`systems.hosts.NAME.builder`), so nothing in here is read; configuration.nix is.
{ }
