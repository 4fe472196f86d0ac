# What people use on their workstation. `bedplate iso` wants mmdebstrap and Debian's keyring, which nixpkgs
# does not have (seen in 26.11 pre-release, 2026-07-14): they are taken where an overlay brings them, and all
# else works without.
{
  lib,
  callPackage,
  apt,
  cryptsetup,
  erofs-utils,
  git,
  glibc,
  openssh,
  OVMF,
  patchelf,
  qemu,
  squashfsTools,
  writeShellScriptBin,
  xorriso,
  debian-archive-keyring ? null,
  mmdebstrap ? null,
}:
let
  inherit (callPackage ./build.nix { }) programs onMachine;

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
  bootstrap = lib.optional (mmdebstrap != null && debian-archive-keyring != null) mmdebstrapWithKeys;
in
# The programs that go onto a medium stand unwrapped beside the one that puts them there.
programs {
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
            openssh
            patchelf
            qemu
            squashfsTools
            xorriso
          ]
          ++ bootstrap
        )
      }
  '';
}
