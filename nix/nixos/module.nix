# The NixOS module: a machine as its host.toml says. docs/nixos.md is for those who use it;
# options.md lists every option that is set here.
#
# What the machine does must be what host-service/src/etc renders for the embedded platform.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  cfg = config.bedplate;
  # host.toml names groups as Debian does.
  onNixos =
    group:
    {
      sudo = "wheel";
      libvirt = "libvirtd";
    }
    .${group} or group;

  # Who keeps the copy of the ESP: NixOS's systemd-boot, through the command that boot.nix gives it, or lanzaboote.
  writesMirror =
    boot: boot.loader.systemd-boot.enable || (boot ? lanzaboote && boot.lanzaboote.enable);
in
{
  imports = [
    ./boot.nix
    ./hardware.nix
    ./network.nix
    ./units.nix
  ];

  options.bedplate = {
    document = lib.mkOption {
      type = lib.types.path;
      description = "The `host.toml` of this machine.";
    };
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./bedplate-host.nix { };
      defaultText = lib.literalMD "`bedplate-host` of this flake, built with the host's nixpkgs";
      description = "The package with `bin/bedplate-host`.";
    };
    hardware = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default =
        let
          beside = builtins.dirOf cfg.document + "/hardware.json";
        in
        if builtins.pathExists beside then beside else null;
      defaultText = lib.literalMD "`hardware.json` beside `bedplate.document`, where the installer left one";
      description = "What the machine was found to be: kernel modules, microcode, platform.";
    };
    host = lib.mkOption {
      type = lib.types.raw;
      internal = true;
      readOnly = true;
      description = "What `bedplate.document` says, with its defaults.";
    };
    storedDocument = lib.mkOption {
      type = lib.types.path;
      internal = true;
      readOnly = true;
      description = "`bedplate.document` as a store path of its own.";
    };
  };

  config = lib.mkMerge [
    {
      bedplate.host = import ./document.nix { inherit lib; } cfg.document;
      # Not the path inside the flake: that changes with every file of the repository.
      bedplate.storedDocument = builtins.path {
        path = cfg.document;
        name = "host.toml";
      };

      # QEMU's firmware descriptors in nixpkgs name no variables with enrolled keys, and libvirt picks
      # firmware by them: the guest could not be defined (seen in 26.11 pre-release, OVMF 202605).
      assertions = map (name: {
        assertion = false;
        message =
          "bedplate: vms.${name}.firmware = \"uefi-secure-boot\" cannot be had on NixOS: nixpkgs has no UEFI variables "
          + "with Microsoft's keys for libvirt to give a guest. Write \"uefi\", or use the embedded platform.";
      }) cfg.host.secureBootVms
      # NixOS leaves out a group that there is none of, and says so where nobody looks.
      ++ lib.concatLists (
        lib.mapAttrsToList (
          name: user:
          map (group: {
            assertion = config.users.groups ? ${group};
            message =
              "bedplate: host.users.${name}.groups: NixOS has no group `${group}` on this machine; declare it "
              + "(`users.groups.${group} = { };`), or leave it out.";
          }) (map onNixos user.groups)
        ) cfg.host.users
      )
      # Nobody could read it, and nothing would say so before converge does.
      ++ lib.mapAttrsToList (name: reader: {
        assertion = config.users.users ? ${reader.owner};
        message =
          "bedplate: secrets.${name}.owner: NixOS has no user `${reader.owner}` on this machine; QEMU's is "
          + "`qemu-libvirtd` here.";
      }) cfg.host.secretReaders
      ++ lib.mapAttrsToList (name: reader: {
        assertion = reader.group == null || config.users.groups ? ${reader.group};
        message = "bedplate: secrets.${name}.group: NixOS has no group `${reader.group}` on this machine.";
      }) cfg.host.secretReaders
      ++ lib.optional (cfg.host.hasExports && options.services ? firewalld) {
        assertion = !config.services.firewalld.enable || config.networking.firewall.enable;
        message =
          "bedplate: firewalld is on and networking.firewall is off: nothing opens the ports of NFS. Turn "
          + "networking.firewall on, which hands its ports to firewalld (`networking.firewall.backend`).";
      };

      warnings = lib.optional cfg.host.isExample (
        "bedplate: host.id of ${cfg.host.host.name} marks a profile's example; two machines with it "
        + "would take each other's disks for their own. `bedplate personalize` writes a fresh one."
      )
      ++ lib.optional (cfg.host.os.espMirror != null && !(writesMirror config.boot)) (
        "bedplate: os.esp_mirror: systemd-boot is off, and nothing copies /boot to /boot-mirror. Have the boot "
        + "loader of your choice install to both."
      );

      environment.etc."bedplate/host.toml".source = cfg.storedDocument;
      environment.systemPackages = [
        cfg.package
        pkgs.btrfs-progs
        pkgs.cryptsetup
        # The flake in /etc/nixos is a git repository, and Nix calls git for it.
        pkgs.git
        pkgs.nftables
        pkgs.restic
      ];

      system.stateVersion = cfg.host.host.state_version;
      time.timeZone = cfg.host.host.timezone;
      i18n.defaultLocale = cfg.host.host.locale;
      # The repository in /etc/nixos is a flake.
      nix.settings.experimental-features = [
        "nix-command"
        "flakes"
      ];

      users.users = lib.mapAttrs (
        name: user:
        {
          openssh.authorizedKeys.keys = user.sshKeys;
        }
        // lib.optionalAttrs (name != "root") {
          isNormalUser = true;
          extraGroups = map onNixos user.groups;
        }
      ) cfg.host.users;

      virtualisation.libvirtd.enable = lib.mkDefault true;
      # Guests are started by bedplate-host, in their order and as host.toml defines them by then. They are
      # shut down, not saved: what is saved comes back with the definition of before.
      virtualisation.libvirtd.onBoot = lib.mkDefault "ignore";
      virtualisation.libvirtd.onShutdown = lib.mkDefault "shutdown";
      # A guest's TPM is a program; libvirt refuses the guest without it.
      virtualisation.libvirtd.qemu.swtpm.enable = lib.mkIf cfg.host.hasTpm (lib.mkDefault true);
      # libvirtd's module asserts it.
      security.polkit.enable = lib.mkIf config.virtualisation.libvirtd.enable (lib.mkDefault true);
      services.nfs.server = {
        enable = lib.mkDefault cfg.host.hasExports;
      }
      // lib.mapAttrs (_: lib.mkDefault) (import ./nfs-ports.nix);
      services.nfs.settings = lib.mkIf cfg.host.hasExports {
        nfsd.vers3 = lib.mkDefault cfg.host.hasNfs3;
      };
    }

    # The host's ssh key is its recipient. Only where the owner imports sops-nix.
    (lib.optionalAttrs (options ? sops) {
      sops.age.sshKeyPaths = lib.mkDefault [ "/etc/ssh/ssh_host_ed25519_key" ];
      sops.gnupg.sshKeyPaths = lib.mkDefault [ ];
    })

    # Signed by lanzaboote where the owner imports it, which writes both partitions itself.
    (lib.optionalAttrs (options.boot ? lanzaboote.extraEfiSysMountPoints) {
      boot.lanzaboote.extraEfiSysMountPoints = lib.optional (
        cfg.host.os.espMirror != null
      ) "/boot-mirror";
    })
  ];
}
