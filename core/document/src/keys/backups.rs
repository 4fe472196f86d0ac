//! Backups, and what comes back from them.

use super::{AGE, Absent::*, Block, Form::*, KEY, Place::*, SOPS, Value, block, key, one_of};
use crate::{addresses, rules};

pub(super) const BACKUP: Block = block("backups.<name>", &[
    key("repository", Text(addresses::restic), Required, Backups, "\"/mnt/vmstore/backups/apps\"", "restic repository: a directory inside a pool, or `rest:https://…`, `sftp:user@host:/path`, `s3:https://host/bucket`."),
    key("paths", Texts(rules::absolute_path), Required, Backups, "[\"/mnt/bulk/apps-vm\"]", "Directories to back up, inside pools."),
    key("schedule", Text(rules::calendar), Default(Value::Text("daily")), Toplevel, "\"daily\"", "systemd calendar expression."),
    key("keep", Table(&KEEP), Derived("all defaults"), Inside, "{ daily = 7, weekly = 4, monthly = 6 }", "Snapshots kept."),
    key("password", Table(&PASSWORD), Required, Inside, "{ stick = \"bedplate/restic-apps\" }", "Where the repository's password comes from."),
    key("credentials", Table(&CREDENTIALS), Derived("none"), Inside, "{ stick = \"bedplate/rest-apps\" }", "What the repository's server wants besides: `name:password` of a rest-server, `id:secret` of S3, a private ssh key for `sftp:`."),
    key("host_key", Text(rules::ssh_key), Derived("none"), Service, "\"ssh-ed25519 AAAA…\"", "Public ssh key of the machine that an `sftp:` repository is on. Required with `sftp:`."),
    key("prune", Text(rules::calendar), Default(Value::Text("weekly")), Toplevel, "\"weekly\"", "When data that no snapshot holds is deleted: a calendar expression, or `never`."),
    key("check", Text(rules::calendar), Default(Value::Text("weekly")), Toplevel, "\"weekly\"", "When the repository's structure is checked, or `never`."),
    key("check_data", Text(rules::calendar), Default(Value::Text("monthly")), Toplevel, "\"monthly\"", "When all of its data is read and checked, or `never`."),
    key("drill", Text(rules::calendar), Default(Value::Text("monthly")), Toplevel, "\"monthly\"", "When it is restored beside the data and compared with what was backed up, or `never`."),
    key("stale_after_hours", Integer(1, 10_000), Derived("from the schedule: about two of its periods"), Backups, "50", "Age from which the newest backup is too old."),
]);

pub(super) const KEEP: Block = block("backups.<name>.keep", &[
    key("daily", Integer(0, 10_000), Default(Value::Integer(7)), Service, "7", "Daily snapshots."),
    key("weekly", Integer(0, 10_000), Default(Value::Integer(4)), Service, "4", "Weekly snapshots."),
    key("monthly", Integer(0, 10_000), Default(Value::Integer(6)), Service, "6", "Monthly snapshots."),
]);

pub(super) const PASSWORD: Block = one_of("backups.<name>.password", &["stick", "prompt", "sops", "age"], &[
    key("stick", Text(rules::relative_path), Derived("none"), Plan, "\"bedplate/restic-apps\"", "Path on the first stick; generated at install when absent."),
    key("prompt", Text(rules::relative_path), Derived("none"), Plan, "\"bedplate/restic-apps\"", "Path on the key sticks. When no stick has it, somebody is asked: by `bedplate key create`, or by the installer at its console. For a repository that exists already."),
    key("sops", Text(rules::sops_file), Derived("none"), Secrets, "\"secrets.yaml\"", SOPS),
    key("key", Text(rules::sops_key), Derived("none"), Service, "\"restic/apps\"", KEY),
    key("age", Text(rules::relative_path), Derived("none"), Secrets, "\"restic-apps.age\"", AGE),
    key("file", Text(rules::lost_with_the_machine), Derived("none"), Only, "\"/var/lib/bedplate/password\"", "Always refused: a file on the machine is lost with the machine."),
]);

pub(super) const CREDENTIALS: Block = one_of("backups.<name>.credentials", &["stick", "prompt", "sops", "age"], &[
    key("stick", Text(rules::relative_path), Derived("none"), Service, "\"bedplate/rest-apps\"", "Path on the key sticks; put there by hand."),
    key("prompt", Text(rules::relative_path), Derived("none"), Plan, "\"bedplate/s3-apps\"", "Path on the key sticks. When no stick has it, somebody is asked: by `bedplate key create`, or by the installer at its console. For what fits on a line."),
    key("sops", Text(rules::sops_file), Derived("none"), Secrets, "\"secrets.yaml\"", SOPS),
    key("key", Text(rules::sops_key), Derived("none"), Service, "\"restic/rest\"", KEY),
    key("age", Text(rules::relative_path), Derived("none"), Secrets, "\"rest-apps.age\"", AGE),
]);

pub(super) const RESTORE: Block = block("restore", &[
    key("backups", Texts(rules::role), Required, Restores, "[\"apps\"]", "Names of backups; all their paths come back at the first boot, each only where nothing is."),
    key("snapshot", Text(rules::snapshot), Default(Value::Text("latest")), Service, "\"4bba301e\"", "The snapshot, only with a single backup; the newest of this host otherwise."),
]);
