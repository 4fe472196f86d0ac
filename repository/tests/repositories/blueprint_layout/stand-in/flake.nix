{
  description = "Stands for nixpkgs: a system is the list of its modules";

  outputs = { self }: {
    lib.nixosSystem = { modules, ... }: { config.modules = map import modules; };
  };
}
