{
  description = "Stands for nixpkgs: a system is the list of what its modules say";

  outputs = { self }: {
    lib.nixosSystem = { modules, ... }: { config.modules = map (module: import module { }) modules; };
  };
}
