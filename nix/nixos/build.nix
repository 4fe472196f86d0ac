# Builds programs of this repository's workspace, from its Cargo.lock. Those that people start by hand, or
# that a unit starts, are wrapped with what they call; docs/nixos.md says what has been built of this.
{
  lib,
  rustPlatform,
  makeWrapper,
  pkg-config,
  cmake,
  bash,
  btrfs-progs,
  coreutils,
  cryptsetup,
  kmod,
  systemd,
  util-linux,
}:
let
  workspace = builtins.fromTOML (builtins.readFile ../../Cargo.toml);

  # Without docs: a changed page builds no program anew. What programs carry of the directories
  # beside their crates is held by `cli/tests/source.rs`.
  source = lib.fileset.toSource {
    root = ../..;
    fileset = lib.fileset.unions (
      [
        ../../Cargo.toml
        ../../Cargo.lock
        ../../nix/blueprint
        ../../nix/snowfall
        ../../nix/embedded
        ../../nix/host
        ../../nix/nixos/template
        ../../profiles
      ]
      ++ map (member: ../.. + "/${member}") workspace.workspace.members
    );
  };

  programs =
    {
      name,
      crates,
      description,
      extra ? { },
    }:
    rustPlatform.buildRustPackage (
      {
        pname = name;
        inherit (workspace.workspace.package) version;
        src = source;
        cargoLock.lockFile = ../../Cargo.lock;
        cargoBuildFlags = lib.concatMap (crate: [
          "-p"
          crate
        ]) crates;
        nativeBuildInputs = [
          makeWrapper
          pkg-config
          # For aws-lc, where it has no prebuilt answer.
          cmake
          rustPlatform.bindgenHook
        ];
        dontUseCmakeConfigure = true;
        buildInputs = [
          cryptsetup
          util-linux
        ];
        # The tests want other people's tools, documents of the whole repository, and in part
        # virtual machines: `cargo xtask test` runs them.
        doCheck = false;
        meta = {
          inherit description;
          license = [
            lib.licenses.mit
            lib.licenses.asl20
          ];
          mainProgram = name;
          platforms = [ "x86_64-linux" ];
        };
      }
      // extra
    );

  onMachine = [
    bash
    btrfs-progs
    coreutils
    kmod
    systemd
    util-linux
  ];
  wrapped = name: tools: {
    postInstall = ''
      wrapProgram "$out/bin/${name}" --prefix PATH : ${lib.makeBinPath tools}
    '';
  };
in
{
  inherit programs onMachine wrapped;
}
