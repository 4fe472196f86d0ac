# What the module makes of documents, with nixpkgs' `lib` and nothing else of it:
#
#   nix-instantiate --eval --strict nix/nixos/tests/evaluate.nix --arg lib 'import <nixpkgs/lib>'
#
# gives `[ ]`, or the names of the claims that do not hold.
{ lib }:
let
  identity = import ../identity.nix;
  vectors = builtins.fromJSON (builtins.readFile ../identity-vectors.json);

  # What nixpkgs would bring: names of packages, and nothing that is ever built.
  package = name: {
    type = "derivation";
    inherit name;
    outPath = "/package/${name}";
  };
  pkgs =
    lib.genAttrs [
      "btrfs-progs"
      "coreutils"
      "cryptsetup"
      "git"
      "nftables"
      "restic"
      "rsync"
      "util-linux"
    ] package
    // {
      runCommand =
        name: _: script:
        package name // { inherit script; };
      writeShellScript = name: text: package name // { inherit text; };
      callPackage = file: _: package (lib.removeSuffix ".nix" (baseNameOf file));
    };

  evaluate = evaluateWith { platformIsGiven = false; };
  evaluateWith =
    given: document: modules:
    (lib.evalModules {
      specialArgs = { inherit pkgs; } // given;
      modules = [
        ../module.nix
        ./declarations.nix
        { bedplate.document = document; }
      ]
      ++ modules;
    }).config;

  # The module sets nothing that is not declared here, or it could not be evaluated.
  declared = lib.optionAttrSetToDocList (lib.evalModules { modules = [ ./declarations.nix ]; specialArgs.platformIsGiven = false; }).options;
  # A set of submodules is listed by what is set inside.
  isListed = option: lib.hasInfix "`${option.name}" (builtins.readFile ../options.md);
  isOurs = option: !lib.elem "_module" option.loc;
  unlisted = lib.filter (option: isOurs option && !isListed option) declared;
  host = evaluate ./host.toml [ ];
  small = evaluate ./small.toml [ ];
  installed = evaluate ./installed/host.toml [ ];
  secrets = evaluate ./secrets.toml [ ];
  namesSecrets = text: import ../secrets.nix { inherit lib; } (builtins.fromTOML text);
  takesHostKey = config: config.systemd.services ? bedplate-host-key;
  sops = evaluate ./small.toml [
    {
      options.sops.age.sshKeyPaths = lib.mkOption { type = lib.types.listOf lib.types.path; };
      options.sops.gnupg.sshKeyPaths = lib.mkOption { type = lib.types.listOf lib.types.path; };
    }
  ];
  refused = document: !(builtins.tryEval (builtins.deepSeq (evaluate document [ ]).bedplate.host true)).success;

  luks = host.boot.initrd.luks.devices.bedplate-os;
  hostId = "3f0c7a52-5d0e-4b8e-9d5e-6b1f0c9a7d21";
  derive = purpose: role: identity.derive hostId purpose role 0;
  service = name: host.systemd.services.${name};
  poolUnits = [
    "bedplate-pool@bulk.service"
    "bedplate-pool@vmstore.service"
  ];

  # Units are written twice; what the embedded platform's say stands in snapshots of tests.
  snapshot =
    test:
    builtins.readFile (
      ../../../host-service/src/etc/snapshots + "/bedplate_host_service__etc__tests__${test}.snap"
    );
  settings =
    text:
    let
      pairs = map (builtins.match "([A-Za-z]+)=(.*)") (lib.splitString "\n" text);
    in
    lib.groupBy' (sum: pair: sum ++ [ (lib.last pair) ]) [ ] builtins.head (
      lib.filter (pair: pair != null) pairs
    );
  embedded =
    file:
    let
      toplevel = snapshot "the_toplevel_of_the_profile";
      after = lib.last (lib.splitString "== etc/systemd/system/${file}\n" toplevel);
    in
    settings (builtins.head (lib.splitString "\n== " after));
  embeddedHostKey = settings (
    snapshot "a_prepared_key_comes_before_one_is_made_where_the_repository_has_secrets"
  );
  embeddedVmTend = settings (
    snapshot "a_usb_device_of_a_guest_is_looked_after_when_it_is_plugged_in"
  );
  # Debian's ssh server is a unit of another name.
  onNixos = unit: if unit == "ssh.service" then "sshd.service" else unit;
  words = text: map onNixos (lib.splitString " " text);
  # What is another path, another number or another form on NixOS.
  differs = [
    "ExecStart"
    "ExecStopPost"
    "TimeoutStartSec"
    "Environment"
  ];
  agrees = unit: file: agreesWith unit (embedded file);
  agreesWith =
    unit: theirs:
    let
      ours =
        lib.mapAttrs (_: value: [ (if value == true then "yes" else toString value) ]) unit.serviceConfig
        // lib.mapAttrs (_: value: [ value ]) unit.unitConfig
        // { Description = [ unit.description ]; };
      order = {
        After = unit.after;
        Before = unit.before;
        Wants = unit.wants;
      };
      called = value: lib.last (lib.splitString "bin/bedplate-host " value);
      afterwards = attributes: map called (attributes.ExecStopPost or [ ]);
    in
    removeAttrs theirs (differs ++ builtins.attrNames order) == removeAttrs ours differs
    && lib.all (
      key:
      lib.sort lib.lessThan order.${key}
      == lib.sort lib.lessThan (lib.concatMap words (theirs.${key} or [ ]))
    ) (builtins.attrNames order)
    && called (builtins.head theirs.ExecStart) == called (builtins.head ours.ExecStart)
    && afterwards theirs == afterwards ours;

  holdsAll = list: lib.all (one: lib.elem one list);

  claims = {
    "identities are those of the RFC's UUIDv5" = lib.all (
      vector: identity.derive vector.host vector.purpose vector.name vector.epoch == vector.uuid
    ) vectors;
    "a character that no name has is refused" =
      !(builtins.tryEval (identity.derive hostId "luks" "os disk" 0)).success;
    "the OS disk is opened by its derived UUID" =
      luks.device == "/dev/disk/by-uuid/${derive "luks" "os"}";
    "two sticks are one name for stage 1" =
      luks.keyFile == "/bedplate/keyfile:/dev/bedplate-stick"
      && lib.all (id: lib.hasInfix ''ENV{ID_FS_UUID}=="${id}"'' host.boot.initrd.services.udev.rules) [
        "1A2B-3C4D"
        "5E6F-7A8B"
      ];
    "one stick is known by its volume id" =
      small.boot.initrd.luks.devices.bedplate-os.keyFile == "/bedplate/keyfile:UUID=1A2B-3C4D"
      && small.boot.initrd.services.udev.rules == "";
    "stage 1 asks when no stick comes" = luks.keyFileTimeout == 45 && host.boot.initrd.systemd.enable;
    "flash gets discards, a rotating disk does not" =
      luks.allowDiscards && !small.boot.initrd.luks.devices.bedplate-os.allowDiscards;
    "the ESP and its mirror are known by their partitions" =
      host.fileSystems."/boot".device == "/dev/disk/by-partuuid/${derive "gpt-esp" "os"}"
      && host.fileSystems."/boot-mirror".device == "/dev/disk/by-partuuid/${derive "gpt-esp" "vm1"}"
      && lib.elem "nofail" host.fileSystems."/boot".options
      && !(small.fileSystems ? "/boot-mirror");
    "a mirrored ESP is copied, and one that is alone is not" =
      lib.hasInfix "generation record --mirror" host.boot.loader.systemd-boot.extraInstallCommands
      && lib.hasInfix "generation record" small.boot.loader.systemd-boot.extraInstallCommands
      && !(lib.hasInfix "--mirror" small.boot.loader.systemd-boot.extraInstallCommands);
    "the copy of the ESP is mounted from the disk that carries it now" =
      builtins.attrNames host.systemd.generators == [ "bedplate-boot-mirror" ]
      && host.systemd.generators.bedplate-boot-mirror.text == ''
        exec /package/bedplate-host/bin/bedplate-host generation mirror-unit "$1"
      ''
      && small.systemd.generators == { };
    "a system for another OS disk or host.id is refused before it is switched to" =
      small.system.preSwitchChecks.bedplate == ''
        /package/bedplate-host/bin/bedplate-host generation fits "$1"
      '';
    "T45: a rename on the ESP frees nothing before it is written" =
      lib.elem "dirsync" host.fileSystems."/boot".options
      && lib.elem "dirsync" host.fileSystems."/boot-mirror".options
      && lib.elem "errors=continue" host.fileSystems."/boot".options;
    "subvolumes are mounted from the opened disk" =
      host.fileSystems."/var/log".options == [ "subvol=log" ]
      && small.fileSystems."/nix".device == "/dev/mapper/bedplate-os";
    "no pool stands in fstab" =
      builtins.attrNames host.fileSystems == [
        "/"
        "/boot"
        "/boot-mirror"
        "/nix"
        "/var/log"
      ];
    "every pool is wanted at boot" = host.systemd.targets.multi-user.wants == poolUnits;
    "disks of pools are looked after when one comes or goes, and from time to time" =
      host.systemd.timers.bedplate-pool-tend.timerConfig.OnUnitInactiveSec == "10min"
      && lib.hasInfix "start bedplate-pool-tend.service" host.services.udev.extraRules
      && (service "bedplate-pool-tend").after == poolUnits;
    "a USB device of a guest is looked after when it is plugged in, and none where no guest gets one" =
      lib.hasInfix ''ATTR{idVendor}=="1a86", ATTR{idProduct}=="7523", RUN'' host.services.udev.extraRules
      && lib.hasInfix "start bedplate-vm-tend.service" host.services.udev.extraRules
      && agreesWith (service "bedplate-vm-tend") embeddedVmTend
      && !(small.systemd.services ? bedplate-vm-tend)
      && !(lib.hasInfix "vm-tend" small.services.udev.extraRules);
    "what uses a pool comes after it" =
      holdsAll (service "bedplate-pool@").before [
        "libvirtd.service"
        "nfs-server.service"
      ]
      && holdsAll (service "bedplate-converge").after poolUnits
      && (service "bedplate-pool@").serviceConfig.TimeoutStartSec == 1545;
    "units say what the embedded platform's say" =
      agrees (service "bedplate-pool@") "bedplate-pool@.service"
      && agrees (service "bedplate-pool-tend") "bedplate-pool-tend.service"
      && agrees (service "bedplate-converge") "bedplate-converge.service"
      && agrees (service "bedplate-scrub-bulk") "bedplate-scrub-bulk.service"
      && agrees (service "bedplate-backup-apps") "bedplate-backup-apps.service"
      && agrees (service "bedplate-verify-apps") "bedplate-verify-apps.service"
      && agrees (service "bedplate-drill-apps") "bedplate-drill-apps.service";
    "a prepared ssh key is taken as on the embedded platform" =
      takesHostKey secrets
      && agreesWith secrets.systemd.services.bedplate-host-key embeddedHostKey
      && secrets.systemd.services.bedplate-host-key.serviceConfig.TimeoutStartSec
      == builtins.head embeddedHostKey.TimeoutStartSec;
    "a prepared ssh key comes before sshd, before one is made and before secrets are opened, and once" =
      takesHostKey secrets
      && holdsAll secrets.systemd.services.bedplate-host-key.before [
        "sshd-keygen.service"
        "sshd.service"
        "bedplate-converge.service"
      ]
      && secrets.systemd.services.bedplate-host-key.wantedBy == [ "multi-user.target" ]
      && secrets.systemd.services.bedplate-host-key.unitConfig.ConditionPathExists or null
      == "!/etc/ssh/ssh_host_ed25519_key";
    "a prepared ssh key is taken wherever one secret is the repository's, and nowhere else" =
      lib.all namesSecrets [
        ''backups.a.password = { sops = "secrets.yaml", key = "a" }''
        ''backups.a.credentials = { age = "a.age" }''
        ''notify.token = { age = "a.age" }''
        ''secrets.a = { sops = "secrets.yaml", key = "a" }''
      ]
      && !(namesSecrets ''backups.a.password = { stick = "bedplate/a" }'')
      && !(namesSecrets ''notify.token = { file = "/etc/token" }'')
      && takesHostKey secrets
      && !(takesHostKey host)
      && !(takesHostKey small);
    "secrets are opened once there is a key" =
      lib.elem "sshd-keygen.service" secrets.systemd.services.bedplate-converge.after
      && !(lib.elem "sshd-keygen.service" (service "bedplate-converge").after);
    "what is told of at once is a failure, where somebody is told" =
      (service "bedplate-drill-apps").onFailure == [ "bedplate-notify.service" ]
      && (service "bedplate-converge").onFailure == [ "bedplate-notify.service" ]
      && small.systemd.services.bedplate-converge.onFailure == [ ];
    "each task of a backup has its own schedule, and none where it says never" =
      host.systemd.timers.bedplate-verify-media.timerConfig.OnCalendar == "monthly"
      && host.systemd.timers.bedplate-check-apps.timerConfig.OnCalendar == "Sun 04:00"
      && !(host.systemd.timers ? bedplate-prune-apps);
    "each pool is scrubbed by its own schedule" =
      host.systemd.timers.bedplate-scrub-bulk.timerConfig.OnCalendar == "monthly"
      && !(host.systemd.timers ? bedplate-scrub-vmstore);
    "a backup has a service and a timer" =
      (service "bedplate-backup-apps").serviceConfig.ExecStart
      == "/package/bedplate-host/bin/bedplate-host backup run apps"
      && host.systemd.timers.bedplate-backup-apps.timerConfig.OnCalendar == "02:30"
      && host.systemd.timers.bedplate-backup-media.timerConfig.OnCalendar == "daily";
    "somebody is told where [notify] says so" =
      host.systemd.timers ? bedplate-notify && !(small.systemd.services ? bedplate-notify);
    "bridges are rendered by bedplate-host" =
      lib.hasSuffix "/systemd/network/10-bedplate-br0-port.network"
        host.environment.etc."systemd/network/10-bedplate-br0-port.network".source
      && !(host.environment.etc ? "systemd/network/10-bedplate-lab0-port.network")
      && host.environment.etc ? "systemd/network/10-bedplate-lab0.netdev";
    "the firewall lets NFS in where something is exported" =
      host.networking.firewall.allowedTCPPorts == [ 2049 ]
      && host.services.nfs.server.enable
      && small.networking.firewall.allowedTCPPorts == [ ]
      && !small.services.nfs.server.enable;
    "NFS 3 is served at ports that are known, where it is asked for and nowhere else" =
      let
        ports = [
          2049
          111
          32803
          20048
          32765
        ];
      in
      secrets.networking.firewall.allowedTCPPorts == ports
      && secrets.networking.firewall.allowedUDPPorts == ports
      && secrets.services.nfs.settings.nfsd.vers3
      && secrets.services.nfs.server.mountdPort == 20048
      && secrets.services.nfs.server.statdPort == 32765
      && secrets.services.nfs.server.lockdPort == 32803
      && host.networking.firewall.allowedUDPPorts == [ ]
      && !host.services.nfs.settings.nfsd.vers3
      && small.services.nfs.settings == { };
    "a guest with a TPM brings the program for it" =
      host.virtualisation.libvirtd.qemu.swtpm.enable
      && !small.virtualisation.libvirtd.qemu.swtpm.enable;
    "only clients of exports come through it" =
      (service "bedplate-firewall").serviceConfig.ExecStart
      == "/package/nftables/bin/nft -f /etc/bedplate/firewall.nft"
      && lib.hasSuffix "/bedplate/firewall.nft" host.environment.etc."bedplate/firewall.nft".source
      && lib.elem "nfs-server.service" (service "bedplate-firewall").before;
    "another host.toml reloads the firewall, and neither restarts it nor the NFS server" =
      let
        unit = config: removeAttrs config.systemd.services.bedplate-firewall [ "reloadTriggers" ];
      in
      unit small == unit host
      && (service "bedplate-firewall").reloadTriggers != [ ]
      && (service "bedplate-firewall").restartTriggers == [ ]
      && (service "bedplate-firewall").serviceConfig.ExecReload
      == (service "bedplate-firewall").serviceConfig.ExecStart;
    "a ruleset of the owner that flushes ours is followed by ours" =
      (service "bedplate-firewall").after == [ "nftables.service" ]
      && (service "bedplate-firewall").partOf == [ "nftables.service" ]
      && (service "bedplate-firewall").unitConfig.ReloadPropagatedFrom == "nftables.service";
    "a switch to another host.toml starts converge, and does not wait for it" =
      !(service "bedplate-converge").restartIfChanged
      && (service "bedplate-converge").restartTriggers == [ ]
      && (service "bedplate-converge-again").restartTriggers == [ host.bedplate.storedDocument ]
      && (service "bedplate-converge-again").serviceConfig.ExecStart
      == "/package/systemd/bin/systemctl --no-block restart bedplate-converge.service";
    "a group that NixOS does not have is refused with its name" =
      let
        none = { lib, ... }: { users.groups = lib.mkForce { wheel = { }; }; };
        failed = lib.filter (one: !one.assertion) (evaluate ./host.toml [ none ]).assertions;
      in
      lib.any (one: lib.hasInfix "no group `kvm`" one.message) failed
      && lib.any (one: lib.hasInfix "no group `libvirtd`" one.message) failed
      && builtins.length failed == 2;
    "a secret that nobody there could read is refused, and firewalld without the ports of NFS" =
      let
        secret = lib.filter (one: !one.assertion) (evaluate ./reader.toml [ { users.users.root = { }; } ]).assertions;
        firewalld =
          { lib, ... }:
          {
            options.services.firewalld.enable = lib.mkEnableOption "firewalld";
            config.services.firewalld.enable = true;
            config.networking.firewall.enable = false;
          };
        closed = lib.filter (one: !one.assertion) (evaluate ./host.toml [ firewalld ]).assertions;
      in
      map (one: lib.hasInfix "no user `libvirt-qemu`" one.message) secret == [
        true
        false
      ]
      && lib.hasInfix "no group `libvirt`" (lib.last secret).message
      && map (one: lib.hasInfix "firewalld is on" one.message) closed == [ true ];
    "modules of another kernel do not keep stage 1 from being made" =
      installed.boot.initrd.allowMissingModules && !small.boot.initrd.allowMissingModules;
    "packages that were made elsewhere keep their platform" =
      let
        theirs = [ { nixpkgs.hostPlatform = "aarch64-linux"; } ];
      in
      (evaluateWith { platformIsGiven = true; } ./small.toml theirs).nixpkgs.hostPlatform == "aarch64-linux";
    "another boot loader, and how ssh lets people in, are the owner's to choose" =
      let
        theirs = evaluate ./small.toml [
          {
            boot.loader.systemd-boot.enable = false;
            services.openssh.settings.PasswordAuthentication = true;
          }
        ];
      in
      !theirs.boot.loader.systemd-boot.enable
      && theirs.services.openssh.settings.PasswordAuthentication
      && host.boot.loader.systemd-boot.enable
      && !host.services.openssh.settings.PasswordAuthentication;
    "lanzaboote signs both partitions, and a loader that keeps no copy is warned of" =
      let
        off.boot.loader.systemd-boot.enable = false;
        lanzaboote =
          { lib, ... }:
          {
            options.boot.lanzaboote = {
              enable = lib.mkEnableOption "lanzaboote";
              extraEfiSysMountPoints = lib.mkOption { type = lib.types.listOf lib.types.str; };
            };
            config.boot.lanzaboote.enable = true;
          };
        signed = document: evaluate document [ off lanzaboote ];
        warned = config: lib.any (lib.hasInfix "nothing copies /boot") config.warnings;
      in
      (signed ./host.toml).boot.lanzaboote.extraEfiSysMountPoints == [ "/boot-mirror" ]
      && (signed ./small.toml).boot.lanzaboote.extraEfiSysMountPoints == [ ]
      && !warned (signed ./host.toml)
      && warned (evaluate ./host.toml [ off ])
      && !warned host
      && !warned (evaluate ./small.toml [ off ]);
    "guests with Secure Boot are refused with the reason" =
      let
        failed = lib.filter (one: !one.assertion) (evaluate ./secure-boot.toml [ ]).assertions;
      in
      map (one: lib.hasInfix "vms.win.firmware" one.message) failed == [ true ]
      && lib.all (one: one.assertion) host.assertions;
    "guests are started by bedplate-host, and shut down" =
      host.virtualisation.libvirtd.onBoot == "ignore"
      && host.virtualisation.libvirtd.onShutdown == "shutdown";
    "Nix has git for the repository in /etc/nixos" = lib.any (one: one.name == "git") small.environment.systemPackages;
    "mail finds sendmail" = lib.elem "/run/wrappers" (service "bedplate-notify").path;
    "a machine without a bridge to wait for is online with any NIC, and soon" =
      !host.systemd.network.wait-online.anyInterface
      && !(host.systemd.services ? systemd-networkd-wait-online)
      && small.systemd.network.wait-online.anyInterface
      && small.systemd.network.wait-online.timeout == 30
      && small.systemd.services.systemd-networkd-wait-online.serviceConfig.SuccessExitStatus == 1;
    "NFS is not served without its firewall" =
      (service "bedplate-firewall").requiredBy == [ "nfs-server.service" ]
      && (service "bedplate-firewall").wantedBy == [ "multi-user.target" ];
    "guests behind the host may ask it for leases and names, and nobody else may" =
      builtins.attrNames host.networking.firewall.interfaces == [ "lab0" ]
      && host.networking.firewall.interfaces.lab0.allowedTCPPorts == [ 53 ]
      && host.networking.firewall.interfaces.lab0.allowedUDPPorts == [
        53
        67
      ]
      && small.networking.firewall.interfaces == { };
    "what the installer found is what stage 1 is made with" =
      holdsAll installed.boot.initrd.availableKernelModules [
        "mpt3sas"
        "nvme"
      ]
      && !(lib.elem "mpt3sas" small.boot.initrd.availableKernelModules)
      && !(lib.elem "igb" installed.boot.initrd.availableKernelModules);
    "a processor gets its maker's microcode, and none where nothing was found" =
      installed.hardware.cpu.intel.updateMicrocode
      && !installed.hardware.cpu.amd.updateMicrocode
      && installed.hardware.enableRedistributableFirmware
      && !small.hardware.enableRedistributableFirmware
      && !small.hardware.cpu.intel.updateMicrocode;
    "hardware.json is taken from beside the document, and none is none" =
      installed.bedplate.hardware == ./installed/hardware.json && small.bedplate.hardware == null;
    "what is no hardware.json is refused" =
      let
        other = evaluate ./small.toml [ { bedplate.hardware = ../identity-vectors.json; } ];
      in
      !(builtins.tryEval other.nixpkgs.hostPlatform).success;
    "accounts have the keys of host.toml, and the groups that NixOS has" =
      host.users.users.admin.extraGroups == [
        "wheel"
        "libvirtd"
        "kvm"
      ]
      && host.users.users.admin.isNormalUser
      && !host.users.users.root.isNormalUser
      && builtins.length host.users.users.root.openssh.authorizedKeys.keys == 1;
    "what host.toml leaves out has the decoder's defaults" =
      small.time.timeZone == "UTC"
      && small.i18n.defaultLocale == "C.UTF-8"
      && small.boot.initrd.luks.devices.bedplate-os.keyFileTimeout == 30;
    "options.md names every option" = unlisted == [ ];
    "sops has the host's key where it is imported" =
      sops.sops.age.sshKeyPaths == [ "/etc/ssh/ssh_host_ed25519_key" ] && !(host ? sops);
    "an example's id is warned of" = small.warnings != [ ] && host.warnings == [ ];
    "a document of the other platform is refused" = refused ../../../profiles/hypervisor/host.toml;
  };
in
builtins.attrNames (lib.filterAttrs (_: holds: !holds) claims)
