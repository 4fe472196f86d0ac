{ bedplate, ... }: {
  imports = [ (bedplate.platformModule ./host.toml) ];
}
