//! Real ssh against a real sshd, which speaks on a pipe. Where there is none, this is told by
//! `cargo xtask test`.

use bedplate_tools::ssh_keygen;

use super::*;

const SSHD: &str = "/usr/sbin/sshd";

/// The fixture with a real ssh in the place of the stand-in, and the server's own host key.
fn with_server() -> (Fixture, String) {
    assert!(Path::new(SSHD).exists(), "NOT TESTED: no {SSHD}; install openssh-server");
    let fixture = Fixture::new();
    for key in ["server", "deploy", "stranger"] {
        ssh_keygen::make(&fixture.at(key), key).unwrap();
    }
    let place = fixture.at("").display().to_string();
    let place = place.trim_end_matches('/');
    let allowed = fixture.remote.read("deploy.pub");
    fixture.remote.write("authorized_keys", &allowed, 0o600);
    let configuration = format!(
        "HostKey {place}/server\nAuthorizedKeysFile {place}/authorized_keys\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication no\nPidFile none\n"
    );
    fixture.remote.write("sshd_config", &configuration, 0o600);
    let ssh = format!(
        "#!/bin/sh\nexec ssh -o ProxyCommand='{SSHD} -i -f {place}/sshd_config' -o User=\"$(id -un)\" \"$@\"\n"
    );
    fixture.remote.write("ssh", &ssh, 0o755);
    for key in ["deploy", "stranger"] {
        let key_text = fixture.remote.read(key);
        fixture.remote.write(&format!("stick/bedplate/{key}"), &key_text, 0o600);
    }
    let host_key = fixture.remote.read("server.pub").trim().to_owned();
    (fixture, host_key)
}

fn at(fixture: &Fixture, key: &str, host_key: &str) -> RepositoryPlace {
    let user = Command::new("id").arg("-un").read().unwrap();
    RepositoryPlace::Ssh(SshSource {
        url: format!("ssh://{}@localhost{}", user.trim(), fixture.at("infra.git").display()),
        key: SecretReference::Stick(format!("bedplate/{key}")),
        host_key: host_key.to_owned(),
    })
}

#[test]
#[ignore = "wants root and a real sshd"]
fn t11_only_the_server_with_the_pinned_host_key_is_fetched_from_and_by_its_own_key_alone() {
    let (fixture, host_key) = with_server();
    fixture.fetch("main", &at(&fixture, "deploy", &host_key)).unwrap();
    let other = fixture.remote.read("stranger.pub");
    let error = told(&fixture.fetch("main", &at(&fixture, "deploy", other.trim())).unwrap_err());
    assert!(error.contains("Host key verification failed"), "{error}");
    assert!(!fixture.at("fetched").join(BUNDLE_FILE).exists());
    let error = told(&fixture.fetch("main", &at(&fixture, "stranger", &host_key)).unwrap_err());
    assert!(error.contains("Permission denied"), "{error}");
}
