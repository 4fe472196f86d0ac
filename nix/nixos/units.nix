# The units of bedplate-host: pools, converge, backups, messages. They say what
# host-service/src/system/units.rs says for the embedded platform; change both.
{ config, lib, ... }:
let
  cfg = config.bedplate;
  inherit (cfg) host;
  command = arguments: "${cfg.package}/bin/bedplate-host ${arguments}";
  poolUnits = map (name: "bedplate-pool@${name}.service") host.pools;

  pool = {
    "bedplate-pool@" = {
      description = "Bedplate pool %i";
      after = [
        "systemd-udevd.service"
        "local-fs.target"
      ];
      # What uses a pool comes after it: nothing is ever served from an empty mount point.
      before = [
        "libvirtd.service"
        "libvirt-guests.service"
        "nfs-server.service"
        "bedplate-converge.service"
      ];
      # Device nodes are made without udev, which at boot answers each only after all else.
      environment.DM_DISABLE_UDEV = "1";
      # A switch leaves mounted pools alone.
      restartIfChanged = false;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = command "pool open %i";
        TimeoutStartSec = host.unlock.timeoutSeconds + 300;
        LimitCORE = 0;
        StandardOutput = "journal+console";
        StandardError = "journal+console";
      };
    };
  };

  converge = {
    bedplate-converge = {
      description = "Bedplate: make the machine agree with host.toml";
      wantedBy = [ "multi-user.target" ];
      wants = [
        "network-online.target"
        "libvirtd.service"
        "nfs-server.service"
      ];
      after = [
        "network-online.target"
        "libvirtd.service"
        "nfs-server.service"
      ]
      ++ poolUnits;
      # A switch to another host.toml is carried out at once.
      restartTriggers = [ cfg.storedDocument ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = command "converge";
        TimeoutStartSec = "infinity";
        LimitCORE = 0;
      };
    };
  };

  notify = lib.optionalAttrs host.notifies {
    bedplate-notify = {
      description = "Bedplate: tell of pools that are not whole";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ] ++ poolUnits;
      serviceConfig = {
        Type = "oneshot";
        ExecStart = command "notify";
        TimeoutStartSec = 120;
        LimitCORE = 0;
      };
    };
  };

  backups = lib.mapAttrs' (name: _: {
    name = "bedplate-backup-${name}";
    value = {
      description = "Bedplate backup ${name}";
      after = [ "bedplate-converge.service" ];
      # A switch does not cut off a backup that runs.
      restartIfChanged = false;
      serviceConfig = {
        Type = "oneshot";
        ExecStart = command "backup run ${name}";
        Nice = 10;
        IOSchedulingClass = "idle";
        TimeoutStartSec = "infinity";
        LimitCORE = 0;
      };
    };
  }) host.backups;

  backupTimers = lib.mapAttrs' (name: backup: {
    name = "bedplate-backup-${name}";
    value = {
      description = "Bedplate backup ${name}, by schedule";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = backup.schedule;
        Persistent = true;
        RandomizedDelaySec = "10min";
      };
    };
  }) host.backups;

  # Disks die while the machine runs, too; and what could not be told is told later.
  notifyTimer = lib.optionalAttrs host.notifies {
    bedplate-notify = {
      description = "Bedplate: look at the pools";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "10min";
        OnUnitInactiveSec = "10min";
      };
    };
  };
in
{
  systemd.services = pool // converge // notify // backups;
  systemd.timers = backupTimers // notifyTimer;
  # Instances of the template.
  systemd.targets.multi-user.wants = poolUnits;
}
