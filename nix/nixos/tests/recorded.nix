# What NixOS makes of the documents here, for tests where there is no nixpkgs: crypttab, fstab and the units that the
# module writes or changes, each with its PATH. `NIXPKGS=DIR cargo xtask nixos-contract` writes ../recorded.json by it.
{ nixpkgs }:
let
  lib = import (nixpkgs + "/lib");
  platform = import ../lib.nix { nixpkgs = { inherit lib; }; };
  evaluate =
    document:
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = "x86_64-linux";
      modules = [ (platform.platformModule document) ];
    }).config;

  # Hashes change with every nixpkgs and say nothing.
  unhashed =
    text:
    let
      parts = builtins.split "/nix/store/[0-9a-z]{32}-" (builtins.unsafeDiscardStringContext text);
    in
    lib.concatMapStrings (part: if lib.isString part then part else "/nix/store/-") parts;
  lines = text: lib.filter (line: line != "") (lib.splitString "\n" (unhashed text));

  # Units of ours, and those of others that what we set changes.
  isOurs =
    name:
    lib.hasPrefix "bedplate-" name
    || lib.elem name [
      "libvirt-guests.service"
      "nfs-server.service"
      "systemd-networkd-wait-online.service"
    ];
  # What is written by `writeText` holds its text, and is not built for it.
  content = file: if file.text or null != null then file.text else file.source.text;

  record =
    document:
    let
      config = evaluate document;
      units = lib.filterAttrs (name: unit: isOurs name && unit.enable) config.systemd.units;
    in
    {
      failed = map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
      crypttab = lines (content config.boot.initrd.systemd.contents."/etc/crypttab");
      fstab = lines (content config.environment.etc.fstab);
      udev = lines config.boot.initrd.services.udev.rules;
      units = lib.mapAttrs (_: unit: lines unit.text) units;
      requiredBy = lib.filterAttrs (_: by: by != [ ]) (lib.mapAttrs (_: unit: unit.requiredBy) units);
      wantedAtBoot = lib.filter (lib.hasPrefix "bedplate-") config.systemd.targets.multi-user.wants;
      generators = lib.attrNames (
        lib.filterAttrs (name: _: lib.hasPrefix "bedplate-" name) config.systemd.generators
      );
      preSwitchChecks = lib.mapAttrs (_: lines) config.system.preSwitchChecks;
      networkFiles = lib.filter (lib.hasPrefix "systemd/network/10-bedplate") (
        lib.attrNames config.environment.etc
      );
    };
  documents = {
    guests = ./guests.toml;
    host = ./host.toml;
    installed = ./installed/host.toml;
    mirror = ./mirror.toml;
    secrets = ./secrets.toml;
    small = ./small.toml;
  };

  # What it was made of, by SHA-256 without lines of comments: a test sees when it wants to be made anew.
  digest =
    file:
    let
      isCode = line: builtins.match "[[:space:]]*#.*" line == null;
    in
    builtins.hashString "sha256" (
      lib.concatStringsSep "\n" (lib.filter isCode (lib.splitString "\n" (builtins.readFile file)))
    );
  packages = [
    "bedplate.nix"
    "bedplate-host.nix"
    "bedplate-installer.nix"
    "build.nix"
  ];
  ofModule = lib.filter (name: lib.hasSuffix ".nix" name && !lib.elem name packages) (
    lib.attrNames (builtins.readDir ../.)
  );
in
{
  release = lib.trivial.release;
  madeOf =
    lib.genAttrs (ofModule ++ [ "defaults.toml" ]) (name: digest (../. + "/${name}"))
    // lib.mapAttrs' (name: file: lib.nameValuePair "tests/${name}" (digest file)) documents;
  documents = lib.mapAttrs (_: record) documents;
}
