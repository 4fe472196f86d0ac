//! What tests have in the place of ssh.

/// In the place of ssh: notes what it is given, and starts what it is asked for on this machine. The
/// first times it finds nobody.
pub const STAND_IN: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$@" >> argv
env >> environment
stat -c '%a %n' "$(dirname "$2")" "$(dirname "$2")"/* >> modes
cat "$2" > config
cat "$(dirname "$2")/known_hosts" > known_hosts
cmp -s "$(sed -n 's/^IdentityFile //p' "$2")" key || exit 3
if [ -s absent ]; then
	sed -i 1d absent
	echo 'ssh: connect to host git.example.org port 22: Network is unreachable' >&2
	exit 255
fi
for last; do :; done
eval "$(echo "$last" | sed "s|'me/infra.git'|'$PWD/infra.git'|")"
"#;
