//! Addresses: of downloads, of restic and git repositories, of people. None carries a secret.

use super::rules::{Wrong, absolute_path, only, require, starts_plainly, starts_with};

/// `http://` or `https://` address without credentials.
pub fn download(text: &str) -> Result<(), Wrong> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or("");
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let fits = starts_with(host, |c| c.is_ascii_alphanumeric() || *c == '[')
        && only(rest, "-._~:/?#[]!&()*+,;=%@")
        && text.len() <= 2000;
    require(
        fits,
        text,
        "an http or https address",
        "write `https://…`, special characters percent-encoded",
    )?;
    require(
        !host.contains('@'),
        text,
        "an address without credentials",
        "no secret may stand in this file; leave `user@` off",
    )
}

/// A restic repository: a directory or an address.
pub fn restic(text: &str) -> Result<(), Wrong> {
    if text.starts_with('/') {
        return absolute_path(text);
    }
    let help = "write an absolute path, or `rest:https://…`, `sftp:user@host:/path`, `s3:https://host/bucket`";
    let rest = ["rest:https://", "rest:http://", "sftp:", "s3:"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .unwrap_or_default();
    let fits = starts_plainly(rest) && only(rest, "-._~:/@%") && text.len() <= 500;
    require(fits, text, "a restic repository", help)?;
    let password =
        rest.split('@').next().is_some_and(|user| rest.contains('@') && user.contains(':'));
    require(!password, text, "an address without a password", "no secret may stand in this file")
}

/// An address that mail is sent to.
pub fn mail(text: &str) -> Result<(), Wrong> {
    let fits = text.split_once('@').is_some_and(|(who, domain)| {
        starts_plainly(who) && only(who, "._+-") && starts_plainly(domain) && only(domain, ".-")
    }) && text.len() <= 254;
    require(fits, text, "an address for mail", "write it as \"me@example.org\"")
}

/// Remote of the flake's repository. It stands in a file that everybody can read, and git keeps it.
pub fn remote(text: &str) -> Result<(), Wrong> {
    let fits = starts_plainly(text)
        && only(text, "-._~:/@%+")
        && text.contains(':')
        && !text.contains("::")
        && text.len() <= 500;
    require(fits, text, "a git address", "write `https://…`, `ssh://…` or `git@host:path`")?;
    let (scheme, rest) = text.split_once("://").unwrap_or(("ssh", text));
    let user = rest.split('/').next().and_then(|authority| authority.rsplit_once('@'));
    require(
        user.is_none_or(|(user, _)| scheme == "ssh" && !user.contains(':')),
        text,
        "an address without credentials",
        "no secret may stand in this file; leave them off, or write `git@host:path`",
    )
}

fn is_host(text: &str) -> bool {
    starts_plainly(text) && only(text, ".-") && text.len() <= 253
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Host and, behind a colon, port.
fn is_authority(text: &str) -> bool {
    text.split_once(':')
        .map_or_else(|| is_host(text), |(host, port)| is_host(host) && is_port(port))
}

/// A path whose components name no parent and are taken for no option.
fn is_path(text: &str) -> bool {
    let plain = |part: &str| {
        !matches!(part, "" | "." | "..") && !part.starts_with('-') && only(part, "._~+-")
    };
    text.split('/').all(plain) && text.len() <= 400
}

/// Where git reaches a repository over ssh. git hands the path to the shell of the other side.
pub fn git_over_ssh(text: &str) -> Result<(), Wrong> {
    let (user, rest) =
        text.strip_prefix("ssh://").unwrap_or(text).split_once('@').unwrap_or(("", ""));
    let user = starts_plainly(user) && only(user, "._-");
    let (place, path) = match text.starts_with("ssh://") {
        true => rest.split_once('/').unwrap_or_default(),
        false => rest.split_once(':').unwrap_or_default(),
    };
    let place = match text.starts_with("ssh://") {
        true => is_authority(place),
        false => is_host(place),
    };
    let path = is_path(path.strip_prefix('/').unwrap_or(path));
    require(
        user && place && path && text.len() <= 500,
        text,
        "an address for git over ssh",
        "write `git@host:path` or `ssh://git@host/path`, without a password",
    )
}

/// Where git reaches a repository over https.
pub fn git_over_https(text: &str) -> Result<(), Wrong> {
    let rest = text.strip_prefix("https://").unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    require(
        !authority.contains('@'),
        text,
        "an address without credentials",
        "no secret may stand in this file; leave `user@` off, or write `[flake.source.ssh]`",
    )?;
    let (place, path) = rest.split_once('/').unwrap_or_default();
    require(
        is_authority(place) && is_path(path) && text.len() <= 500,
        text,
        "an address for git over https",
        "write `https://host/path`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rule;
    use crate::rules::tests::{MISREAD, accept, refuse};

    #[test]
    fn t16_t17_t18_what_git_ssh_or_a_shell_would_misread_is_no_address() {
        let rules: [(&str, Rule, &[&str]); 6] = [
            ("download", download, &["https://me:pw@example.org/x"]),
            ("restic", restic, &["rest:https://me:pw@example.org/x"]),
            ("mail", mail, &["me", "me@", "@example.org", "me@-x"]),
            (
                "remote",
                remote,
                &[
                    "https://me:token@git.example.org/infra",
                    "https://token@git.example.org/infra",
                    "http://token@nas/infra",
                    "ssh://git:password@host/infra",
                    "ext::sh -c x",
                ],
            ),
            (
                "git_over_ssh",
                git_over_ssh,
                &[
                    "git.example.org:me/infra.git",
                    "git@-oProxyCommand=x:y",
                    "-oProxyCommand=x@host:y",
                    "ssh://git@-oProxyCommand=x/y",
                    "ssh://git@host:0/y",
                    "ssh://git@host:99999/y",
                    "ssh://git@host",
                    "ssh://git:password@host/y",
                    "git@host:",
                    "git@host:a/../b",
                    "git@host:-x",
                    "git@host:a'b",
                    "https://git@host/y",
                    "file:///srv/x",
                    "/srv/x",
                ],
            ),
            (
                "git_over_https",
                git_over_https,
                &[
                    "http://git.example.org/x",
                    "https://me:password@git.example.org/x",
                    "https://me@git.example.org/x",
                    "https://git.example.org",
                    "https://git.example.org/x?y",
                    "https://git.example.org/x#y",
                    "https://git.example.org:x/y",
                    "https://-x/y",
                    "https:///x",
                    "ftp://git.example.org/x",
                ],
            ),
        ];
        refuse(&MISREAD, &rules);
    }

    #[test]
    fn what_people_write_is_accepted() {
        let good: [(Rule, &[&str]); 6] = [
            (download, &["https://example.org/a@b?c=d"]),
            (restic, &["sftp:me@example.org:/srv/restic", "/mnt/bulk/backup"]),
            (mail, &["me+host@example.org"]),
            (
                remote,
                &[
                    "git@git.example.org:me/infra.git",
                    "ssh://git@host:2222/~/infra",
                    "https://git.example.org/me/infra.git",
                    "http://nas:3000/me/infra",
                    "nas:infra",
                ],
            ),
            (
                git_over_ssh,
                &[
                    "git@git.example.org:me/infra.git",
                    "git@host:/srv/git/infra",
                    "git@host:~/infra",
                    "ssh://git@git.example.org:2222/me/infra.git",
                    "ssh://git@192.168.1.20/~/infra.git",
                ],
            ),
            (git_over_https, &["https://git.example.org/me/infra.git", "https://nas:8443/infra"]),
        ];
        accept(&good);
    }
}
