# The units of bedplate-host: pools, a prepared ssh key, converge, backups, messages. They say what
# host-service/src/etc/units.rs says for the embedded platform; change both.
{ config, lib, ... }:
let
  cfg = config.bedplate;
  inherit (cfg) host;
  command = arguments: "${cfg.package}/bin/bedplate-host ${arguments}";
  poolUnits = map (name: "bedplate-pool@${name}.service") host.pools;
  # Whoever is to be told is told at once when a unit of ours fails.
  onFailure = lib.optional host.notifies "bedplate-notify.service";

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
      inherit onFailure;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = command "pool open %i";
        # However it ended, what a passphrase was typed for is over.
        ExecStopPost = "-${command "pool settled %i"}";
        # A large pool of hard disks may take many minutes to be mounted.
        TimeoutStartSec = host.unlock.timeoutSeconds + 1500;
        LimitCORE = 0;
        StandardOutput = "journal+console";
        StandardError = "journal+console";
      };
    };
  };

  # It brings disks up to date that were away, for hours. A stop does not wait for that: it goes on at
  # the next start.
  tend = lib.optionalAttrs (host.pools != [ ]) {
    bedplate-pool-tend = {
      description = "Bedplate: look after the disks of pools";
      after = poolUnits;
      restartIfChanged = false;
      inherit onFailure;
      serviceConfig = {
        Type = "oneshot";
        ExecStart = command "pool tend";
        TimeoutStartSec = "infinity";
        TimeoutStopSec = 15;
        LimitCORE = 0;
      };
    };
  };

  # Whoever changes things just then is waited for. What fails is tried again, and is told as anything
  # else that is not as host.toml says.
  vmTend = lib.optionalAttrs (host.usbDevices != [ ]) {
    bedplate-vm-tend = {
      description = "Bedplate: USB devices of guests";
      after = [ "libvirtd.service" ] ++ poolUnits;
      restartIfChanged = false;
      unitConfig.StartLimitIntervalSec = "0";
      serviceConfig = {
        Type = "oneshot";
        ExecStart = command "vm tend";
        Restart = "on-failure";
        RestartSec = 60;
        TimeoutStartSec = "infinity";
        LimitCORE = 0;
      };
    };
  };
  # At once when one that a guest gets is plugged in, again or for the first time.
  plugRules = lib.concatMapStrings (device: ''
    ACTION=="add", SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", ATTR{idVendor}=="${device.vendor}", ATTR{idProduct}=="${device.product}", RUN+="${start "bedplate-vm-tend.service"}"
  '') host.usbDevices;
  # As a rule of udev says it.
  start = unit: "/run/current-system/systemd/bin/systemctl --no-block start ${unit}";

  # A key that was made in advance comes before one is made here. Should nobody type its passphrase,
  # one is made all the same: the machine must be reachable.
  hostKey = lib.optionalAttrs host.hasSecrets {
    bedplate-host-key = {
      description = "Bedplate: the host's ssh key from the key stick";
      wantedBy = [ "multi-user.target" ];
      unitConfig.ConditionPathExists = "!/etc/ssh/ssh_host_ed25519_key";
      after = [
        "systemd-udevd.service"
        "local-fs.target"
      ];
      # nixpkgs of before sshd-keygen.service makes the key where sshd.service starts. Logins wait
      # because they would take the consoles at which the passphrase is asked for.
      before = [
        "sshd-keygen.service"
        "sshd.service"
        "systemd-user-sessions.service"
        "bedplate-converge.service"
      ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = command "host-key take";
        TimeoutStartSec = "20min";
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
      # It may restore, or back up for the first time, for hours: nothing waits for it.
      after = [
        "multi-user.target"
        "network-online.target"
        "libvirtd.service"
        "nfs-server.service"
      ]
      ++ poolUnits
      # The key that opens the secrets may be one that is made here.
      ++ lib.optional host.hasSecrets "sshd-keygen.service";
      # It may take hours, and a switch waits for what it restarts: the unit below starts it anew.
      restartIfChanged = false;
      inherit onFailure;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = command "converge";
        TimeoutStartSec = "infinity";
        LimitCORE = 0;
      };
    };
    # A switch to another host.toml is carried out at once, and the switch does not wait for it.
    bedplate-converge-again = {
      description = "Bedplate: carry out another host.toml";
      wantedBy = [ "multi-user.target" ];
      restartTriggers = [ cfg.storedDocument ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${config.systemd.package}/bin/systemctl --no-block restart bedplate-converge.service";
      };
    };
  };

  notify = lib.optionalAttrs host.notifies {
    bedplate-notify = {
      description = "Bedplate: tell whom host.toml names";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ] ++ poolUnits;
      # sendmail is a wrapper of NixOS: it stands in no package.
      path = [ "/run/wrappers" ];
      serviceConfig = {
        Type = "oneshot";
        ExecStart = command "notify";
        TimeoutStartSec = 900;
        LimitCORE = 0;
      };
    };
  };

  # What is done with a backup by schedule: for people, and what bedplate-host is told.
  backupTasks = {
    backup = {
      title = "backup";
      command = "backup run";
    };
    prune = {
      title = "prune of the backup";
      command = "backup prune";
    };
    check = {
      title = "check of the backup";
      command = "backup check";
    };
    verify = {
      title = "check of all data of the backup";
      command = "backup check --read-data";
    };
    drill = {
      title = "drill of the backup";
      command = "backup drill";
    };
  };
  # `unit` makes one of each task of each backup.
  forEachTask =
    unit:
    lib.listToAttrs (
      lib.concatLists (
        lib.mapAttrsToList (
          name: schedules:
          lib.mapAttrsToList (task: schedule: {
            name = "bedplate-${task}-${name}";
            value = unit name backupTasks.${task} schedule;
          }) schedules
        ) host.backups
      )
    );

  # What takes hours, and lets everything else go first.
  forHours = words: {
    Type = "oneshot";
    ExecStart = command words;
    Nice = 10;
    IOSchedulingClass = "idle";
    TimeoutStartSec = "infinity";
    LimitCORE = 0;
  };

  bySchedule = title: schedule: delay: {
    description = "${title}, by schedule";
    wantedBy = [ "timers.target" ];
    timerConfig = {
      OnCalendar = schedule;
      Persistent = true;
      RandomizedDelaySec = delay;
    };
  };

  backups = forEachTask (
    name: task: _: {
      description = "Bedplate ${task.title} ${name}";
      after = [ "bedplate-converge.service" ];
      # A switch does not cut off a backup that runs.
      restartIfChanged = false;
      inherit onFailure;
      serviceConfig = forHours "${task.command} ${name}"
      # Killed while guests are held, it cannot let them go itself.
      // lib.optionalAttrs (task == backupTasks.backup) {
        ExecStopPost = "-${command "backup let-go"}";
      };
    }
  );

  backupTimers = forEachTask (
    name: task: schedule:
    bySchedule "Bedplate ${task.title} ${name}" schedule "10min"
  );

  # Disks come back while the machine runs, too; what could not be done is tried again.
  tendTimer = lib.optionalAttrs (host.pools != [ ]) {
    bedplate-pool-tend = {
      description = "Bedplate: look after the disks of pools";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "1min";
        OnUnitInactiveSec = "10min";
      };
    };
  };
  # Everything is read, and repaired where one copy is wrong.
  forEachScrub =
    unit:
    lib.mapAttrs' (name: schedule: lib.nameValuePair "bedplate-scrub-${name}" (unit name schedule)) host.scrubs;

  scrubs = forEachScrub (
    name: _: {
      description = "Bedplate scrub of the pool ${name}";
      after = [ "bedplate-pool@${name}.service" ];
      restartIfChanged = false;
      inherit onFailure;
      serviceConfig = forHours "pool scrub ${name}";
    }
  );

  scrubTimers = forEachScrub (
    name: schedule:
    bySchedule "Bedplate scrub of the pool ${name}" schedule "1h"
  );

  # Disks die while the machine runs, too; and what could not be told is told later.
  notifyTimer = lib.optionalAttrs host.notifies {
    bedplate-notify = {
      description = "Bedplate: look at everything";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "10min";
        OnUnitInactiveSec = "10min";
      };
    };
  };
in
{
  systemd.services = pool // tend // vmTend // hostKey // converge // notify // backups // scrubs;
  systemd.timers = backupTimers // scrubTimers // notifyTimer // tendTimer;
  # At once when a disk that may be a member comes or goes.
  services.udev.extraRules = lib.mkMerge [
    (lib.mkIf (host.pools != [ ]) ''
      ACTION=="add|remove", SUBSYSTEM=="block", ENV{ID_FS_TYPE}=="crypto_LUKS", RUN+="${start "bedplate-pool-tend.service"}"
    '')
    (lib.mkIf (host.usbDevices != [ ]) plugRules)
  ];
  # Instances of the template.
  systemd.targets.multi-user.wants = poolUnits;
}
