//! Exports, as exports(5) writes them.

use bedplate_document::rules;
use toml_edit::{Array, Value};

use super::Writer;
use crate::note::quote;

impl Writer<'_> {
    pub(super) fn exports(&mut self) {
        for (file, text) in &self.machine.exports {
            // A line that ends in a backslash goes on.
            let joined = text.replace("\\\n", " ");
            for line in joined.lines() {
                let line = line.split('#').next().unwrap_or_default().trim();
                if !line.is_empty() {
                    self.export(file, line);
                }
            }
        }
    }

    fn export(&mut self, file: &str, line: &str) {
        let about = format!("nfs.exports ({file})");
        let mut words = line.split_whitespace();
        let path = words.next().unwrap_or_default().trim_matches('"');
        let mounts = self.pools.keys();
        let is_inside = mounts.into_iter().any(|mount| {
            path.strip_prefix(mount.as_str()).is_some_and(|rest| rest.starts_with('/'))
        });
        if !is_inside || rules::absolute_path(path).is_err() {
            return self
                .open(&about, format!("{} is not in the mount of a pool; left out", quote(path)));
        }
        // Those with the same options stand in one section.
        let mut groups: Vec<(Array, Vec<&str>)> = Vec::new();
        let mut common = "";
        for word in words {
            if let Some(options) = word.strip_prefix('-') {
                common = options;
                continue;
            }
            let (client, options) = word.split_once('(').unwrap_or((word, ")"));
            let options = self.options(&about, common, options.trim_end_matches(')'));
            let Some(client) = self.client(&about, client) else { continue };
            match groups.iter_mut().find(|(_, other)| *other == options) {
                Some((clients, _)) => clients.push(client),
                None => groups.push((Array::from_iter([client]), options)),
            }
        }
        if groups.len() > 1 {
            let message = format!(
                "clients of {} with other options than the first are left out, because an export has one \
                 list of options",
                quote(path)
            );
            self.open(&about, message);
        }
        let Some((clients, options)) = groups.into_iter().next() else { return };
        self.text +=
            &format!("[[nfs.exports]]\npath = {}\nclients = {clients}\n", Value::from(path));
        if !options.is_empty() {
            self.text += &format!("options = {}\n", options.into_iter().collect::<Array>());
        }
        self.text += "\n";
    }

    /// What converge adds by itself is not an option of somebody's.
    fn options<'t>(&mut self, about: &str, common: &'t str, own: &'t str) -> Vec<&'t str> {
        let all = common.split(',').chain(own.split(',')).map(str::trim);
        let all: Vec<&str> =
            all.filter(|option| !option.is_empty() && !option.starts_with("mountpoint")).collect();
        let (known, other): (Vec<&str>, Vec<&str>) =
            all.into_iter().partition(|option| rules::export_option(option).is_ok());
        for option in other {
            self.open(about, format!("the option {} is left out", quote(option)));
        }
        known
    }

    /// A network, or one machine as a network of its own.
    fn client(&mut self, about: &str, client: &str) -> Option<String> {
        let one: Option<std::net::IpAddr> = client.parse().ok();
        let network = match (one, client.split_once('/')) {
            (Some(one), _) => Some(format!("{one}/{}", if one.is_ipv4() { 32 } else { 128 })),
            (None, Some((address, prefix))) => {
                let is_prefix =
                    prefix.parse::<u8>().is_ok() && address.parse::<std::net::IpAddr>().is_ok();
                is_prefix.then(|| client.to_owned())
            }
            (None, None) => None,
        };
        if network.is_none() {
            let message = format!(
                "the client {} is left out: host.toml names networks, and never everyone",
                quote(client)
            );
            self.open(about, message);
        }
        network
    }
}
