{
  description = "Lists hosts as blueprint does: default.nix is called, configuration.nix is a module";

  outputs = { self }: {
    __functor =
      _:
      { inputs, prefix }:
      let
        directory = "${inputs.self}/${prefix}hosts";
        called = { class, value }: assert class == "nixos"; value;
        load =
          hostName: _:
          let
            host = "${directory}/${hostName}";
          in
          if builtins.pathExists "${host}/default.nix" then
            called (import "${host}/default.nix" { inherit inputs hostName; flake = inputs.self; })
          else
            inputs.nixpkgs.lib.nixosSystem { modules = [ "${host}/configuration.nix" ]; };
      in
      {
        nixosConfigurations = builtins.mapAttrs load (builtins.readDir directory);
      };
  };
}
