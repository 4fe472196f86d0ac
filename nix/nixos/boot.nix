# Boot loader, stage 1 and the file systems of the OS disk. Pools stand in no fstab: systemd waits
# for every member of a btrfs file system that does, and a lost disk would hang the boot.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.bedplate;
  program = "${cfg.package}/bin/bedplate-host";
  inherit (cfg.host) os unlock;

  # systemd reads a keyfile from one device. Every stick carries the same keyfile, so several get
  # one name, which whichever is plugged in answers to.
  severalSticks = builtins.length unlock.volumeIds > 1;
  anyStick = "bedplate-stick";
  stick = if severalSticks then "/dev/${anyStick}" else "UUID=${builtins.head unlock.volumeIds}";

  esp = guid: {
    device = "/dev/disk/by-partuuid/${guid}";
    fsType = "vfat";
    options = [
      "umask=0077"
      "nodev"
      "nosuid"
      "noexec"
      # A rename writes where the new file lies before it frees the old one: a power cut leaves one of
      # them. systemd-boot's installer flushes only when it has written everything.
      "dirsync"
      # What a cut left, a name that points at free clusters, can be replaced: without it the kernel makes
      # the volume read-only then.
      "errors=continue"
      # The machine boots with either ESP gone, and does not wait long for it.
      "nofail"
      "x-systemd.device-timeout=15s"
    ];
  };
in
{
  boot.initrd = {
    # The scripted stage 1 knows no keyfile on a device that is to be mounted.
    systemd.enable = true;
    luks.devices.${os.mapper} = {
      device = "/dev/disk/by-uuid/${os.luksUuid}";
      keyFile = "/${unlock.keyfile}:${stick}";
      # Without it nothing asks for the passphrase when the stick is missing.
      keyFileTimeout = unlock.timeoutSeconds;
      allowDiscards = os.discard;
    };
    supportedFilesystems = [
      "btrfs"
      "vfat"
    ];
    availableKernelModules = [
      # Disks that a home server boots from, and those of a virtual machine.
      "nvme"
      "ahci"
      "sd_mod"
      "virtio_pci"
      "virtio_blk"
      "virtio_scsi"
      # The key stick, and a keyboard for the passphrase.
      "xhci_pci"
      "ehci_pci"
      "usb_storage"
      "uas"
      "usbhid"
    ];
    services.udev.rules = lib.mkIf severalSticks (
      lib.concatMapStrings (volumeId: ''
        SUBSYSTEM=="block", ENV{ID_FS_TYPE}=="vfat", ENV{ID_FS_UUID}=="${volumeId}", SYMLINK+="${anyStick}"
      '') unlock.volumeIds
    );
  };

  fileSystems =
    lib.mapAttrs' (subvolume: mountPoint: {
      name = mountPoint;
      value = {
        device = "/dev/mapper/${os.mapper}";
        fsType = "btrfs";
        options = [ "subvol=${subvolume}" ];
      };
    }) os.subvolumes
    // {
      "/boot" = esp os.esp;
    }
    // lib.optionalAttrs (os.espMirror != null) { "/boot-mirror" = esp os.espMirror; };

  # The disk with the copy of the ESP may have been replaced; which one carries it now is known on the machine
  # only. A generator says it at every boot before units are loaded, and at every reload.
  systemd.generators = lib.optionalAttrs (os.espMirror != null) {
    bedplate-boot-mirror = pkgs.writeShellScript "bedplate-boot-mirror" ''
      exec ${program} generation mirror-unit "$1"
    '';
  };

  # Stage 1 of a system for another OS disk or host.id waits for its volume without an end.
  system.preSwitchChecks.bedplate = ''
    ${program} generation fits "$1"
  '';

  boot.loader = {
    efi.efiSysMountPoint = "/boot";
    efi.canTouchEfiVariables = lib.mkDefault true;
    systemd-boot = {
      # Another loader is the owner's to choose; it has to keep the copy of the ESP itself then.
      enable = lib.mkDefault true;
      # Whoever edits the command line is root on disks that the stick has opened.
      editor = lib.mkDefault false;
      configurationLimit = lib.mkDefault 10;
      # Notes what was written, by content, and looks whether the disk has it; a copy of the ESP is made
      # file by file, what entries name before them. It fails when the copy is not mounted.
      extraInstallCommands = ''
        ${program} generation record ${
          lib.optionalString (os.espMirror != null) "--mirror"
        } || exit 1
      '';
    };
  };
}
