# host.toml as the module reads it: data from `fromTOML`, with the decoder's defaults.
#
# Mistakes are not looked for here. `bedplate-host render`, which runs while the system is built,
# decodes the same document with the whole decoder and fails with every mistake at once.
{ lib }:
document:
let
  identity = import ./identity.nix;
  defaults = builtins.fromTOML (builtins.readFile ./defaults.toml);
  told = builtins.fromTOML (builtins.readFile document);

  os = defaults.os // told.os or { };
  unlock = defaults.unlock // told.unlock or { };
  nfs = defaults.nfs // told.nfs or { };
  namedVms = lib.mapAttrs (_: vm: defaults.vm // vm) (told.vms or { });
  vms = builtins.attrValues namedVms;
  epochOfOsDisk = 0;
  derive = purpose: role: identity.derive told.host.id purpose role epochOfOsDisk;
  disk =
    role:
    told.disks.${role} or (throw "bedplate: ${toString document} has no [disks.${role}]");
  # As in the decoder: flash is what is named so, or an NVMe disk.
  media = role: (disk role).media or (if lib.hasPrefix "nvme-" (disk role).id then "ssd" else "hdd");
  bridge =
    value:
    let
      addresses = value.addresses or [ ];
      asksForLease = if value ? dhcp then value.dhcp else value ? nic && addresses == [ ];
    in
    {
      hasNic = value ? nic;
      hasLeases = (defaults.bridge // value).nat;
      # Whether the machine counts as online only once this bridge has its address.
      isAwaited = value ? nic && (asksForLease || addresses != [ ]);
    };

  read = {
    host = defaults.host // told.host;
    isExample = lib.hasPrefix "00000000-0000-4000-8000-" told.host.id;
    users = lib.mapAttrs (_: user: {
      sshKeys = user.ssh_keys or [ ];
      groups = user.groups or [ ];
    }) (told.host.users or { });
    os = {
      mapper = "bedplate-${os.disk}";
      luksUuid = derive "luks" os.disk;
      discard = media os.disk == "ssd";
      esp = derive "gpt-esp" os.disk;
      espMirror = if os ? esp_mirror then derive "gpt-esp" os.esp_mirror else null;
      inherit (os) subvolumes;
    };
    unlock = {
      inherit (unlock) keyfile;
      timeoutSeconds = unlock.timeout_seconds;
      volumeIds = map (stick: lib.toUpper stick.volume_id) unlock.sticks;
    };
    pools = builtins.attrNames (told.pools or { });
    # When each pool is scrubbed; one that never is is not in it.
    scrubs = lib.filterAttrs (_: schedule: schedule != "never") (
      lib.mapAttrs (_: pool: (defaults.pool // pool).scrub) (told.pools or { })
    );
    bridges = lib.mapAttrs (_: bridge) (told.network.bridges or { });
    hasExports = nfs.exports or [ ] != [ ];
    # As in the decoder: only where something is exported.
    hasNfs3 = nfs.v3 && nfs.exports or [ ] != [ ];
    hasTpm = builtins.any (vm: vm.tpm) vms;
    # Names of the guests that are to boot with Secure Boot.
    secureBootVms = builtins.attrNames (
      lib.filterAttrs (_: vm: vm.firmware == "uefi-secure-boot" && vm.state == "present") namedVms
    );
    # Vendor and product of every USB device that a guest gets, in four digits.
    usbDevices =
      let
        id = text: lib.toLower (lib.removePrefix "0x" text);
        present = lib.filter (vm: vm.state == "present") vms;
        devices = lib.concatMap (vm: vm.usb_devices or [ ]) present;
      in
      lib.unique (
        map (device: {
          vendor = id device.vendor_id;
          product = id device.product_id;
        }) devices
      );
    # When each task runs, by the name of its units; `never` is not in it.
    backups = lib.mapAttrs (
      _: told:
      let
        backup = defaults.backup // told;
      in
      lib.filterAttrs (_: schedule: schedule != "never") {
        backup = backup.schedule;
        inherit (backup) prune check drill;
        verify = backup.check_data;
      }
    ) (told.backups or { });
    notifies = told ? notify;
    # Who reads each secret: a user, and a group or none.
    secretReaders = lib.mapAttrs (_: secret: {
      inherit (defaults.secret // secret) owner;
      group = if secret ? group then secret.group else null;
    }) (told.secrets or { });
    hasSecrets = import ./secrets.nix { inherit lib; } told;
  };
in
if told.schema or null != 1 then
  throw "bedplate: ${toString document} is not of schema 1"
else if told.host.platform or null != "nixos" then
  throw "bedplate: ${toString document} does not say platform = \"nixos\", which is what this module builds"
else
  read
