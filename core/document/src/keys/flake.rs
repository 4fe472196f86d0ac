//! The repository that the host is enrolled into, and its secrets.

use super::{AGE, Absent::*, Block, Form::*, KEY, Place::*, SOPS, Value, block, key, one_of};
use crate::{addresses, rules, source};

pub(super) const SECRET: Block = one_of("secrets.<name>", &["sops", "age"], &[
    key("sops", Text(rules::sops_file), Derived("none"), Secrets, "\"secrets.yaml\"", SOPS),
    key("key", Text(rules::sops_key), Derived("none"), Service, "\"wireguard/private\"", KEY),
    key("age", Text(rules::relative_path), Derived("none"), Toplevel, "\"wireguard.age\"", AGE),
    key("owner", Text(rules::user), Default(Value::Text("root")), Service, "\"libvirt-qemu\"", "The user who may read the file, and nobody else: mode 0400."),
    key("group", Text(rules::user), Derived("none"), Service, "\"kvm\"", "A group that may read it too: mode 0440."),
]);

pub(super) const FLAKE: Block = block("flake", &[
    key("remote", Text(addresses::remote), Derived("none"), Plan, "\"git@git.example.org:me/infra.git\"", "`origin` of the clone left in /etc/nixos."),
    key("hosts", Text(rules::repository_path), Default(Value::Text("nix/hosts")), Plan, "\"nix/hosts\"", "Directory of the hosts inside the repository."),
    key("source", Table(&SOURCE), Derived("comes with the medium"), Inside, "", "Where the installer takes the repository from, before it writes to any disk."),
    key("push", Table(&PUSH), Derived("nothing is pushed"), Inside, "", "How the installer pushes its commit, to the branch `bedplate/<name>` of the remote."),
]);

pub(super) const SOURCE: Block = one_of("flake.source", &["volume", "ssh", "https"], &[
    key("branch", Text(source::branch), Default(Value::Text("main")), Plan, "\"main\"", "The branch that is cloned."),
    key("volume", Table(&VOLUME), Derived("none"), Inside, "{ label = \"INFRA\" }", "A volume of the machine, such as a second stick."),
    key("ssh", Table(&SSH), Derived("none"), Inside, "", "A repository behind an ssh server."),
    key("https", Table(&HTTPS), Derived("none"), Inside, "", "A repository behind an https server, which everybody may read."),
]);

pub(super) const VOLUME: Block = block("flake.source.volume", &[
    key("label", Text(source::volume_label), Required, Plan, "\"INFRA\"", "Label of the file system. One volume must have it, and only one; it is mounted read-only."),
    key("path", Text(rules::relative_path), Derived("the volume itself"), Installer, "\"infra.bundle\"", "A git repository or a git bundle on the volume."),
]);

pub(super) const SSH: Block = block("flake.source.ssh", &[
    key("url", Text(addresses::git_over_ssh), Required, Plan, "\"git@git.example.org:me/infra.git\"", "`user@host:path` or `ssh://user@host/path`."),
    key("key", Table(&DEPLOY_KEY), Required, Inside, "{ stick = \"bedplate/deploy-key\" }", "Where the private ssh key is that may read it."),
    key("host_key", Text(rules::ssh_key), Required, Plan, "\"ssh-ed25519 AAAA…\"", "The only host key that the server may show: kind and key, as in a `.pub` file."),
]);

pub(super) const DEPLOY_KEY: Block = one_of("flake.source.ssh.key", &["stick"], &[
    key("stick", Text(rules::relative_path), Required, Plan, "\"bedplate/deploy-key\"", "Path on a key stick; it is never generated."),
]);

pub(super) const HTTPS: Block = block("flake.source.https", &[
    key("url", Text(addresses::git_over_https), Required, Plan, "\"https://git.example.org/me/infra.git\"", "`https://` address without a name or password."),
    key("pinned_key", Text(source::pinned_key), Required, Installer, "\"sha256//<base64>\"", "The only public key that the server may show, as curl pins it."),
    key("certificate", Text(source::certificate), Derived("the public authorities"), Installer, "\"\"\"-----BEGIN CERTIFICATE-----…\"\"\"", "The one certificate, as PEM, that is trusted to sign the server's, or the server's own."),
]);

pub(super) const PUSH: Block = block("flake.push", &[
    key("key", Table(&PUSH_KEY), Required, Inside, "{ stick = \"bedplate/push-key\" }", "Where the private ssh key is that may push."),
    key("host_key", Text(rules::ssh_key), Required, Plan, "\"ssh-ed25519 AAAA…\"", "The only host key that the remote may show: kind and key, as in a `.pub` file."),
]);

pub(super) const PUSH_KEY: Block = one_of("flake.push.key", &["stick"], &[
    key("stick", Text(rules::relative_path), Required, Plan, "\"bedplate/push-key\"", "Path on a key stick; it is never generated. While it is installed the machine opens nothing of the repository."),
]);
