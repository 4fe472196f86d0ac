# What the installer found the machine to be (core/model/src/hardware.rs): the modules behind its disks, whatever
# boot.nix may not have thought of, and what nixos-generate-config gives real hardware. Network
# interfaces are found by udev, which needs no list.
{
  config,
  lib,
  options,
  ...
}:
let
  inherit (config.bedplate) hardware;
  read = builtins.fromJSON (builtins.readFile hardware);
  found =
    if hardware == null then
      { }
    else if read.schema or null != 1 then
      throw "bedplate: ${toString hardware} is not of schema 1"
    else
      read;
  microcode = found.microcode or null;
in
{
  boot.initrd = {
    availableKernelModules = found.kernel_modules.disks or [ ];
  }
  # They were found under Debian's kernel: one that this kernel has built in, or calls otherwise, is no
  # reason to have no stage 1. Only where nixpkgs knows the option.
  // lib.optionalAttrs (options.boot.initrd ? allowMissingModules) {
    allowMissingModules = lib.mkIf (hardware != null) (lib.mkDefault true);
  };
  hardware = {
    enableRedistributableFirmware = lib.mkIf (microcode != null) (lib.mkDefault true);
    cpu.intel.updateMicrocode = lib.mkIf (microcode == "intel") (lib.mkDefault true);
    cpu.amd.updateMicrocode = lib.mkIf (microcode == "amd") (lib.mkDefault true);
  };
  # Whoever hands over packages that are made already (read-only.nix of nixpkgs) has said it.
  nixpkgs = lib.optionalAttrs (!(options.nixpkgs.hostPlatform.readOnly or false)) {
    hostPlatform = lib.mkDefault (found.platform or "x86_64-linux");
  };
}
