let
  description = builtins.fromJSON (builtins.readFile ./platform.json);
  system = "x86_64-linux";

  # A path that lies in the store already, known by its hash; it is never built.
  fixed = { name, path, hash }:
    let
      derivation' = derivation {
        inherit name system;
        builder = "/missing";
        outputHashMode = "recursive";
        outputHash = hash;
      };
    in
    if derivation'.outPath == path then
      derivation'
    else
      throw "platform.json says ${path}, its hash says ${derivation'.outPath}";

  tree = fixed description.tree;
  initrdModules = fixed description.initrdModules;
  runtime = fixed description.runtime;
  programs = fixed description.programs;
  initrdProgram = fixed description.initrdProgram;

  known = [ "schema" "host" "disks" "os" "pools" "unlock" "network" "vms" "nfs" "backups" "flake" "install" ];
  check = host:
    let
      unknown = builtins.filter (name: !(builtins.elem name known)) (builtins.attrNames host);
      warn = builtins.warn
        "host.toml: the embedded platform does not honour ${builtins.concatStringsSep ", " unknown}";
    in
    if host.host.platform != "embedded" then
      throw "host.toml: platform = \"${host.host.platform}\", this is the embedded platform"
    else if unknown == [ ] then
      host
    else
      warn host;
in
{
  toplevel = document:
    let
      host = check (builtins.fromTOML (builtins.readFile document));
    in
    derivation {
      name = "bedplate-system-${host.host.name}";
      inherit system tree initrdModules runtime programs initrdProgram;
      hostName = host.host.name;
      kernelVersion = description.kernelVersion;
      stateVersion = host.host.state_version or "";
      document = builtins.toFile "host.toml" (builtins.readFile document);
      builder = "${tree}/usr/bin/busybox";
      args = [ "sh" "-e" ./build.sh ];
    };
}
