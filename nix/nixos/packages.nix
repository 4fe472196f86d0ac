# Our programs, from this repository's Cargo.lock. Those that people start by hand, or that a unit
# starts, are wrapped with what they call; docs/nixos.md says what has been built of this.
{
  lib,
  rustPlatform,
  makeWrapper,
  pkg-config,
  cmake,
  apt,
  bash,
  btrfs-progs,
  coreutils,
  cryptsetup,
  debian-archive-keyring,
  dnsmasq,
  erofs-utils,
  git,
  glibc,
  iproute2,
  kmod,
  libvirt,
  mmdebstrap,
  nfs-utils,
  nix,
  openssh,
  OVMF,
  patchelf,
  qemu,
  restic,
  smartmontools,
  squashfsTools,
  systemd,
  util-linux,
  writeShellScriptBin,
  xorriso,
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
  # Where apt is not installed, nothing says which keys sign Debian. Releases of the keyring differ
  # in the name of its file.
  mmdebstrapWithKeys = writeShellScriptBin "mmdebstrap" ''
    for keyring in ${debian-archive-keyring}/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
      if [ -e "$keyring" ]; then
        exec ${mmdebstrap}/bin/mmdebstrap --keyring="$keyring" "$@"
      fi
    done
    echo 'bedplate: the package debian-archive-keyring holds no keyring where it is looked for' >&2
    exit 1
  '';
  wrapped = name: tools: {
    postInstall = ''
      wrapProgram "$out/bin/${name}" --prefix PATH : ${lib.makeBinPath tools}
    '';
  };
in
{
  bedplate-host = programs {
    name = "bedplate-host";
    crates = [ "bedplate-host-service" ];
    description = "Pools, bridges, VMs, NFS exports and backups of a Bedplate host";
    extra = wrapped "bedplate-host" (
      onMachine
      ++ [
        dnsmasq
        iproute2
        libvirt
        nfs-utils
        openssh # for restic's sftp
        qemu # qemu-img
        restic
        smartmontools
      ]
    );
  };

  bedplate-installer = programs {
    name = "bedplate-installer";
    crates = [ "bedplate-installer" ];
    description = "Installs a host from its host.toml";
    extra = wrapped "bedplate-installer" (
      onMachine
      ++ [
        git
        nix
      ]
    );
  };

  # The programs that go onto a medium stand unwrapped beside the one that puts them there.
  bedplate = programs {
    name = "bedplate";
    crates = [
      "bedplate-cli"
      "bedplate-initrd"
      "bedplate-installer"
      "bedplate-host-service"
    ];
    description = "Checks a host.toml and makes media and key sticks from it";
    extra.postInstall = ''
      mkdir -p "$out/libexec"
      mv "$out/bin" "$out/libexec/bedplate"
      cp -r ${../embedded} "$out/libexec/bedplate/embedded"
      # No subcommand starts a machine: the firmware is for whoever tries a medium in QEMU.
      mkdir -p "$out/share"
      ln -s ${OVMF.fd}/FV "$out/share/OVMF"
      makeWrapper "$out/libexec/bedplate/bedplate" "$out/bin/bedplate" \
        --prefix PATH : ${
          lib.makeBinPath (
            onMachine
            ++ [
              apt
              cryptsetup # veritysetup
              erofs-utils
              git
              glibc.bin # ldd
              mmdebstrapWithKeys
              openssh
              patchelf
              qemu
              squashfsTools
              xorriso
            ]
          )
        }
    '';
  };
}
