# The options that the module sets, declared with the types of nixpkgs as options.md cites them.
# A stand-in for nixpkgs: with its `lib` alone the module can be evaluated and its values looked
# at. It builds nothing, and a name that is wrong in both places is not found here.
{ lib, platformIsGiven, ... }:
let
  inherit (lib) mkOption types;
  option = type: mkOption { inherit type; };
  optional =
    type: default:
    mkOption { inherit type default; };
  flag = optional types.bool false;
  texts = optional (types.listOf types.str) [ ];
  named = options: mkOption {
    type = types.attrsOf (types.submodule { inherit options; });
    default = { };
  };
  scalar = types.oneOf [
    types.bool
    types.int
    types.str
  ];
  unit = {
    description = optional types.singleLineStr "";
    wantedBy = texts;
  };
in
{
  options = {
    assertions = optional (types.listOf types.unspecified) [ ];
    warnings = texts;

    boot.initrd = {
      systemd.enable = flag;
      allowMissingModules = flag;
      supportedFilesystems = optional (types.coercedTo (types.listOf types.str) (
        names: lib.genAttrs names (_: true)
      ) (types.attrsOf types.bool)) { };
      availableKernelModules = texts;
      services.udev.rules = optional types.lines "";
      luks.devices = named {
        device = option types.str;
        keyFile = optional (types.nullOr types.str) null;
        keyFileTimeout = optional (types.nullOr types.int) null;
        allowDiscards = flag;
      };
    };
    boot.loader = {
      efi.canTouchEfiVariables = flag;
      efi.efiSysMountPoint = optional types.str "/boot";
      systemd-boot = {
        enable = flag;
        editor = optional types.bool true;
        configurationLimit = optional (types.nullOr types.int) null;
        extraInstallCommands = optional types.lines "";
      };
    };
    fileSystems = named {
      device = optional (types.nullOr types.str) null;
      fsType = optional types.str "auto";
      options = optional (types.nonEmptyListOf types.str) [ "defaults" ];
    };

    environment.etc = named { source = option types.path; };
    environment.systemPackages = optional (types.listOf types.package) [ ];
    hardware = {
      enableRedistributableFirmware = flag;
      cpu.intel.updateMicrocode = flag;
      cpu.amd.updateMicrocode = flag;
    };
    i18n.defaultLocale = optional types.str "en_US.UTF-8";
    time.timeZone = optional (types.nullOr types.str) null;
    nix.settings = optional (types.attrsOf types.anything) { };
    # As read-only.nix of nixpkgs has it, where the packages are made already.
    nixpkgs.hostPlatform = mkOption {
      type = types.str;
      readOnly = platformIsGiven;
    };
    system.stateVersion = option types.str;
    system.preSwitchChecks = optional (types.attrsOf types.str) { };

    networking = {
      hostName = optional types.str "nixos";
      useNetworkd = flag;
      useDHCP = optional types.bool true;
      firewall.enable = optional types.bool true;
      firewall.allowedTCPPorts = optional (types.listOf types.port) [ ];
      firewall.allowedUDPPorts = optional (types.listOf types.port) [ ];
      firewall.interfaces = named {
        allowedTCPPorts = optional (types.listOf types.port) [ ];
        allowedUDPPorts = optional (types.listOf types.port) [ ];
      };
    };
    security.polkit.enable = flag;
    services = {
      resolved.enable = flag;
      udev.extraRules = optional types.lines "";
      nfs.server.enable = flag;
      nfs.server.mountdPort = optional (types.nullOr types.int) null;
      nfs.server.statdPort = optional (types.nullOr types.int) null;
      nfs.server.lockdPort = optional (types.nullOr types.int) null;
      # `pkgs.formats.ini`: sections of atoms.
      nfs.settings = optional (types.attrsOf (types.attrsOf (types.oneOf [
        types.bool
        types.int
        types.str
      ]))) { };
      openssh = {
        enable = flag;
        settings = {
          PasswordAuthentication = optional (types.nullOr types.bool) true;
          KbdInteractiveAuthentication = optional (types.nullOr types.bool) true;
          PermitRootLogin = optional (types.nullOr (types.enum [
            "yes"
            "without-password"
            "prohibit-password"
            "forced-commands-only"
            "no"
          ])) "prohibit-password";
        };
      };
    };
    virtualisation.libvirtd = {
      enable = flag;
      onBoot = optional (types.enum [
        "start"
        "ignore"
      ]) "start";
      onShutdown = optional (types.enum [
        "shutdown"
        "suspend"
      ]) "suspend";
      qemu.swtpm.enable = flag;
    };

    systemd = {
      generators = optional (types.attrsOf types.path) { };
      network.wait-online.anyInterface = flag;
      network.wait-online.timeout = optional types.int 120;
      services = named (
        unit
        // {
          requiredBy = texts;
          wants = texts;
          after = texts;
          before = texts;
          partOf = texts;
          path = optional (types.listOf types.unspecified) [ ];
          reloadTriggers = optional (types.listOf types.unspecified) [ ];
          environment = optional (types.attrsOf types.str) { };
          unitConfig = optional (types.attrsOf scalar) { };
          onFailure = texts;
          restartIfChanged = optional types.bool true;
          restartTriggers = optional (types.listOf types.unspecified) [ ];
          serviceConfig = optional (types.attrsOf scalar) { };
        }
      );
      timers = named (unit // { timerConfig = optional (types.attrsOf scalar) { }; });
      targets = named { wants = texts; };
    };
    users.groups = optional (types.attrsOf types.anything) {
      kvm = { };
      libvirtd = { };
      wheel = { };
    };
    systemd.package = optional types.package (
      {
        type = "derivation";
        name = "systemd";
        outPath = "/package/systemd";
      }
    );
    users.users = named {
      isNormalUser = flag;
      extraGroups = texts;
      openssh.authorizedKeys.keys = texts;
    };
  };
}
