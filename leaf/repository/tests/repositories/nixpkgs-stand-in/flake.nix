{
  description = "Stands for nixpkgs where hosts of NixOS are added: modules are called, nothing they import is";

  outputs = { self }: {
    lib = {
      genAttrs =
        names: value:
        builtins.listToAttrs (
          map (name: {
            inherit name;
            value = value name;
          }) names
        );
      nixosSystem =
        {
          modules,
          specialArgs ? { },
        }:
        let
          called =
            module:
            let
              read = if builtins.isPath module || builtins.isString module then import module else module;
            in
            if builtins.isFunction read then read (specialArgs // { inherit config; }) else read;
          all = map called modules;
          imported = builtins.concatMap (module: module.imports or [ ]) all;
          documents = builtins.filter (module: module ? bedplate) imported;
          config = {
            modules = all;
            bedplate.host = builtins.fromTOML (builtins.readFile (builtins.head documents).bedplate.document);
            # The module of NixOS that a host is given.
            imports = map baseNameOf (builtins.concatMap (module: module.imports) documents);
            failed = builtins.filter (one: !one.assertion) (
              builtins.concatMap (module: module.assertions or [ ]) all
            );
          };
        in
        {
          inherit config;
        };
    };
  };
}
