//! Who may reach the live system over ssh: the owner's keys, never a password.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bedplate_document::{self as document, rules};
use bedplate_model::host::HostFile;
use bedplate_tools::ssh_keygen;
use rustix::fs::Mode;

use crate::answers::{FindError, Payload};
use crate::error::{During as _, StepError};
use crate::places::Places;

/// Groups whose members may become root on the installed machine.
const ADMINISTRATORS: [&str; 2] = ["sudo", "wheel"];

/// The keys that `payload`, or its absence, lets in.
pub fn keys(payload: Result<Payload, FindError>) -> Result<BTreeSet<String>, StepError> {
    match payload {
        Ok(Payload::Answers(answers)) => {
            let host = document::parse(&answers.host_toml, "host.toml");
            // An invalid document lets nobody in; the installer says what is wrong with it.
            Ok(host.map(|host| of_host(&host)).unwrap_or_default())
        }
        Ok(Payload::Keys(text)) => Ok(plain(&text)),
        Err(FindError::Empty) => Ok(BTreeSet::new()),
        Err(error) => Err(error).during("found no usable answers"),
    }
}

/// Who is root on the installed machine may be it here.
fn of_host(host: &HostFile) -> BTreeSet<String> {
    let trusted = host.host.users.iter().filter(|(name, user)| {
        let administers = |group: &String| ADMINISTRATORS.contains(&group.as_str());
        *name == "root" || user.groups.iter().any(administers)
    });
    trusted.flat_map(|(_, user)| user.ssh_keys.iter().cloned()).collect()
}

/// Keys without options: a medium may have been written by anybody.
fn plain(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| rules::ssh_key(line).is_ok()).map(str::to_owned).collect()
}

/// Prepares the ssh server: the host key of this boot, its fingerprint, the keys let in.
pub fn admit(keys: &BTreeSet<String>, places: &Places) -> Result<(), StepError> {
    let directory = places.ssh();
    let what = || format!("could not prepare {}", directory.display());
    fs::create_dir_all(&directory).during(what())?;
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).during(what())?;
    let key = directory.join("host_key");
    if !key.exists() {
        ssh_keygen::make(&key, "bedplate-live").during("could not make the host key")?;
    }
    let public = fs::read_to_string(key.with_extension("pub")).during(what())?;
    let fingerprint = ssh_keygen::fingerprint(&public).during("could not read the host key")?;
    let fingerprint =
        fingerprint.ok_or_else(|| StepError::new("the host key has no fingerprint"))?;
    fs::write(places.fingerprint(), fingerprint + "\n").during(what())?;
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    write_private(&directory.join("authorized_keys"), lines.as_bytes()).during(what())
}

/// Writes a file that only root reads from its first byte on.
pub fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let _ = fs::remove_file(path);
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::EXCL | rustix::fs::OFlags::WRONLY;
    let file = rustix::fs::open(path, flags | rustix::fs::OFlags::CLOEXEC, Mode::from(0o600))?;
    fs::File::from(file).write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::Answers;

    fn key(name: &str) -> String {
        format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA{} {name}", "x".repeat(42))
    }

    #[test]
    fn who_is_root_on_the_installed_machine_is_let_in_and_nobody_else() {
        let profile = include_str!("../../profiles/hypervisor/host.toml");
        let users = format!(
            "[host.users.admin]\ngroups = [\"sudo\"]\nssh_keys = [\"{}\"]\n\
             [host.users.guest]\ngroups = [\"kvm\"]\nssh_keys = [\"{}\"]\n\
             [host.users.root]\nssh_keys = [\"{}\"]\n",
            key("admin"),
            key("guest"),
            key("root")
        );
        let start = profile.find("[host.users.admin]").unwrap();
        let end = profile.find("# Disks are named").unwrap();
        let host_toml = format!("{}{users}{}", &profile[..start], &profile[end..]);
        let payload = Payload::Answers(Answers { host_toml, repository: None });
        let found: Vec<String> = keys(Ok(payload)).unwrap().into_iter().collect();
        assert_eq!(found, [key("admin"), key("root")]);
        let invalid = Answers { host_toml: "schema = 9".into(), repository: None };
        assert!(keys(Ok(Payload::Answers(invalid))).unwrap().is_empty());
        assert!(keys(Err(FindError::Empty)).unwrap().is_empty());
    }

    #[test]
    fn t16_a_medium_can_not_smuggle_options_in_beside_its_keys() {
        let text = format!("environment=\"LD_PRELOAD=x\" {0}\n{0}\n\n# x\n", key("me"));
        let found = keys(Ok(Payload::Keys(text))).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [key("me")]);
    }

    #[test]
    fn t26_each_boot_has_a_host_key_of_its_own_that_is_read_by_root_alone() {
        let mut fingerprints = BTreeSet::new();
        for _ in 0..2 {
            let boot = tempfile::tempdir().unwrap();
            let places = Places::below(boot.path());
            admit(&[key("me")].into(), &places).unwrap();
            fingerprints.insert(fs::read_to_string(places.fingerprint()).unwrap());
            for name in ["host_key", "authorized_keys"] {
                let mode = fs::metadata(places.ssh().join(name)).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{name}");
            }
        }
        assert_eq!(fingerprints.len(), 2);
    }
}
