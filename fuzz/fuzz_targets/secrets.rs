//! Files of a repository that hold secrets, and the rules of `.sops.yaml`.

#![no_main]

use bedplate_secrets::ssh::{self, Recipient};
use bedplate_secrets::{age_file, sops, sops_config};
use bedplate_tools::secret::Secret;
use libfuzzer_sys::fuzz_target;

const RECIPIENT: &str = "age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw";

fuzz_target!(|bytes: &[u8]| {
    drop(ssh::identity(&Secret::new(bytes.to_vec())));
    drop(age_file::open(bytes, &[]));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop(ssh::recipient(text));
    drop(sops::open(text, &[]));
    if let Ok(recipient) = RECIPIENT.parse::<Recipient>() {
        drop(sops_config::add(text, "secrets.yaml", &recipient, "host"));
    }
});
