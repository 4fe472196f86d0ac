# What runs on an installed machine. Nothing that only a workstation needs stands here: a host never pays
# for it.
{
  callPackage,
  dnsmasq,
  iproute2,
  libvirt,
  nfs-utils,
  nftables,
  openssh,
  qemu,
  restic,
  smartmontools,
}:
let
  inherit (callPackage ./build.nix { }) programs onMachine wrapped;
in
programs {
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
      nftables
      openssh # for restic's sftp
      qemu # qemu-img
      restic
      smartmontools
    ]
  );
}
