# Everything about this host stands in host.toml.
{ bedplate, ... }:
{ imports = [ (bedplate.platformModule ./host.toml) ]; }
