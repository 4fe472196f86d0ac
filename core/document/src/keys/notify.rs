//! Who is told, and from when on.

use super::{AGE, Absent::*, Block, Form::*, KEY, Place::*, SOPS, Value, block, key, one_of, words};
use crate::{addresses, rules};
use bedplate_model::host::{REMIND_HOURS, Receiver};

pub(crate) const RECEIVERS: [(&str, Receiver); 2] = [("ntfy", Receiver::Ntfy), ("webhook", Receiver::Webhook)];

pub(super) const NOTIFY: Block = block("notify", &[
    key("url", Text(addresses::download), Derived("none"), Service, "\"https://ntfy.sh/my-hypervisor\"", "Address that messages are posted to: a topic of ntfy or a webhook. It can be read by everybody on the machine. One of `url`, `mail` is required."),
    key("receiver", Choice(&words(RECEIVERS)), Default(Value::Text("ntfy")), Service, "\"webhook\"", "What the address takes: `ntfy`, text with headers, or `webhook`, a JSON object."),
    key("mail", Text(addresses::mail), Derived("none"), Nowhere, "\"me@example.org\"", "Address that mail is sent to, through the machine's `sendmail`."),
    key("remind_hours", Integer(0, 1000), Default(Value::Integer(REMIND_HOURS)), Service, "24", "After how many hours a condition that lasts is told again, 0 for never."),
    key("ping", Text(addresses::download), Derived("none"), Service, "\"https://hc-ping.com/3f0c7a52\"", "Address that is fetched every time all was looked at and told; a service there tells of silence."),
    key("token", Table(&TOKEN), Derived("none"), Inside, "{ file = \"/var/lib/bedplate/notify-token\" }", "Where the token stands that the address wants, sent as `Authorization: Bearer`."),
]);

pub(super) const TOKEN: Block = one_of("notify.token", &["file", "sops", "age"], &[
    key("file", Text(rules::secret_file), Derived("none"), Service, "\"/var/lib/bedplate/notify-token\"", "A file on the machine that only root can read; outside the Nix store."),
    key("sops", Text(rules::sops_file), Derived("none"), Secrets, "\"secrets.yaml\"", SOPS),
    key("key", Text(rules::sops_key), Derived("none"), Service, "\"notify\"", KEY),
    key("age", Text(rules::relative_path), Derived("none"), Secrets, "\"notify.age\"", AGE),
]);

pub(super) const HEALTH: Block = block("health", &[
    key("fill", Integer(50, 99), Default(Value::Integer(90)), Service, "90", "How full a pool may be, in percent of what it can hold, data or metadata."),
    key("smart", Boolean, Default(Value::Boolean(true)), Service, "true", "Whether the disks are asked how they are (SMART), where they answer."),
    key("sectors", Integer(0, 1_000_000), Default(Value::Integer(0)), Service, "8", "How many sectors of a disk may have been replaced or be unreadable before it is told of."),
    key("worn", Integer(1, 255), Default(Value::Integer(90)), Service, "90", "From when on a disk is told of, in percent of what it was made to have written to it."),
    key("celsius", Integer(30, 120), Default(Value::Integer(60)), Service, "60", "From when on a disk is told of, in degrees Celsius."),
]);
