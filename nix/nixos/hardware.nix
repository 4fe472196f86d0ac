# What the installer found the machine to be (core/model/src/hardware.rs): the modules behind its disks, whatever
# boot.nix may not have thought of, and what nixos-generate-config gives real hardware. Network
# interfaces are found by udev, which needs no list.
{ config, lib, ... }:
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
  boot.initrd.availableKernelModules = found.kernel_modules.disks or [ ];
  hardware = {
    enableRedistributableFirmware = lib.mkIf (microcode != null) (lib.mkDefault true);
    cpu.intel.updateMicrocode = lib.mkIf (microcode == "intel") (lib.mkDefault true);
    cpu.amd.updateMicrocode = lib.mkIf (microcode == "amd") (lib.mkDefault true);
  };
  nixpkgs.hostPlatform = lib.mkDefault (found.platform or "x86_64-linux");
}
