//! `exportfs`: the kernel's table of NFS exports.

use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exported {
    /// Absolute path of the exported directory.
    pub path: String,
    /// Client, as exports(5) writes it.
    pub client: String,
}

/// What is exported now.
pub fn table() -> Result<Vec<Exported>, CommandError> {
    Ok(parse(&Command::new("exportfs").arg("-s").read()?))
}

/// Makes the table agree with /etc/exports and /etc/exports.d; withdrawn exports go.
pub fn refresh() -> Result<(), CommandError> {
    Command::new("exportfs").arg("-ra").run()
}

fn parse(output: &str) -> Vec<Exported> {
    let mut table: Vec<Exported> = output.lines().filter_map(entry).collect();
    table.sort();
    table
}

fn entry(line: &str) -> Option<Exported> {
    let (path, rest) = line.split_once(char::is_whitespace)?;
    let (client, _) = rest.trim().split_once('(')?;
    Some(Exported { path: path.to_owned(), client: client.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_with_its_clients() {
        let output =
            "/mnt/bulk/a  192.168.1.0/24(sync,wdelay,hide,rw)\n/mnt/bulk/a  100.64.0.0/10(ro)\n\n";
        let clients: Vec<_> = parse(output).into_iter().map(|line| line.client).collect();
        assert_eq!(clients, ["100.64.0.0/10", "192.168.1.0/24"]);
    }
}
