# Names, bridges, ssh and the firewall. The bridges' files are rendered by bedplate-host, whose
# `converge` compares them with what it finds: there is one text of them, on both platforms.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.bedplate;

  # Building this decodes host.toml: its mistakes stop the build of the system, all at once.
  rendered = pkgs.runCommand "bedplate-rendered-${cfg.host.host.name}" { } ''
    ${cfg.package}/bin/bedplate-host --host-file ${cfg.storedDocument} render "$out"
    for file in ${lib.escapeShellArgs files}; do
      test -f "$out/$file" || { echo "bedplate-host rendered no $file" >&2; exit 1; }
    done
  '';
  filesOf =
    name: bridge:
    map (suffix: "systemd/network/10-bedplate-${name}${suffix}") (
      [
        ".link"
        ".netdev"
        ".network"
      ]
      ++ lib.optional bridge.hasNic "-port.network"
    );
  files =
    lib.concatLists (lib.mapAttrsToList filesOf cfg.host.bridges)
    # NICs that no bridge has taken.
    ++ [ "systemd/network/80-bedplate-other.network" ];
  isAwaited = lib.any (bridge: bridge.isAwaited) (builtins.attrValues cfg.host.bridges);
  # One text for every host.toml: what it loads may change while the unit stays as it is.
  loadRules = "${pkgs.nftables}/bin/nft -f /etc/${rules}";
  rules = "bedplate/firewall.nft";
  # rpcbind's, and those that the module gives NFS's helpers.
  portsOfNfs3 = [ 111 ] ++ builtins.attrValues (import ./nfs-ports.nix);
in
{
  networking = {
    hostName = cfg.host.host.name;
    useNetworkd = true;
    # Would ask for a lease on the bridge's port too.
    useDHCP = false;
    # NFS 4 needs no other port. Who comes through is for bedplate-firewall to say.
    firewall.allowedTCPPorts = lib.mkIf cfg.host.hasExports (
      [ 2049 ] ++ lib.optionals cfg.host.hasNfs3 portsOfNfs3
    );
    firewall.allowedUDPPorts = lib.mkIf cfg.host.hasNfs3 ([ 2049 ] ++ portsOfNfs3);
    # Guests behind the host ask it for leases and names.
    firewall.interfaces = lib.mapAttrs (_: _: {
      allowedTCPPorts = [ 53 ];
      allowedUDPPorts = [
        53
        67
      ];
    }) (lib.filterAttrs (_: bridge: bridge.hasLeases) cfg.host.bridges);
  };
  # Its chain is beside those of NixOS, whichever program makes them: what it drops is dropped.
  systemd.services.bedplate-firewall = {
    description = "Bedplate: who reaches the ports of NFS";
    wantedBy = [ "multi-user.target" ];
    # NFS is not served where these rules did not load: 2049 is open to every interface then.
    requiredBy = [ "nfs-server.service" ];
    wants = [ "network-pre.target" ];
    # A ruleset of NixOS or of the owner flushes ours when it is loaded, and again whenever it is loaded
    # anew: ours comes after it each time.
    after = [ "nftables.service" ];
    partOf = [ "nftables.service" ];
    unitConfig.ReloadPropagatedFrom = "nftables.service";
    before = [
      "network-pre.target"
      "nfs-server.service"
    ];
    # Other rules are loaded in the place of those that stand, and nothing is stopped for it: a restart
    # would restart the NFS server.
    reloadTriggers = [ rendered ];
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
      ExecStart = loadRules;
      ExecReload = loadRules;
    };
  };
  # Where no bridge of host.toml has to have an address, any NIC that gets one is enough, and a machine
  # whose cable is out is not kept waiting: nothing of its own wants the network then.
  systemd.network.wait-online = lib.mkIf (!isAwaited) {
    anyInterface = lib.mkDefault true;
    timeout = lib.mkDefault 30;
  };
  systemd.services.systemd-networkd-wait-online = lib.mkIf (!isAwaited) {
    serviceConfig.SuccessExitStatus = 1;
  };
  services.resolved.enable = lib.mkDefault true;
  environment.etc = lib.genAttrs (files ++ [ rules ]) (file: {
    source = "${rendered}/${file}";
  });

  services.openssh = {
    enable = true;
    settings = {
      PasswordAuthentication = lib.mkDefault false;
      KbdInteractiveAuthentication = lib.mkDefault false;
      PermitRootLogin = lib.mkDefault "prohibit-password";
    };
  };
}
