//! A machine's own id in place of the one that marks an example.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bedplate_model::identity::EXAMPLE_ID_PREFIX;
use uuid::{Builder, Uuid};

use crate::error::{Error, file};

/// Length of a UUID as text.
const LENGTH: usize = 36;

/// The text of a `host.toml` whose id marks an example, with `id` in its place; `None` where it marks
/// none.
pub fn with_id(host: &str, id: Uuid) -> Option<String> {
    example(host).map(|example| host.replace(example, &id.to_string()))
}

/// The text of a `host.toml` with a fresh id when its own marks an example; `None` when it
/// does not. Without this, two people's machines would take each other's disks for their own.
pub fn with_own_id(host: &str) -> Result<Option<(String, Uuid)>, Error> {
    if example(host).is_none() {
        return Ok(None);
    }
    let mut bytes = [0; 16];
    let source = Path::new("/dev/urandom");
    let read = File::open(source).and_then(|mut random| random.read_exact(&mut bytes));
    read.map_err(file("read", source))?;
    let id = Builder::from_random_bytes(bytes).into_uuid();
    Ok(with_id(host, id).map(|text| (text, id)))
}

fn example(host: &str) -> Option<&str> {
    let lines = host.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let id = lines.filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "id");
    let start = id?.1.find(EXAMPLE_ID_PREFIX)?;
    id?.1.get(start..start + LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t26_an_example_id_is_replaced_by_one_of_its_own() {
        let host = "# x\n[host]\nid = \"00000000-0000-4000-8000-000000000004\" # mine\n";
        let (first, id) = with_own_id(host).unwrap().unwrap();
        let (second, _) = with_own_id(host).unwrap().unwrap();
        assert_eq!(first, format!("# x\n[host]\nid = \"{id}\" # mine\n"));
        assert_ne!(first, second);
        assert_eq!(id.get_version_num(), 4);
        assert!(with_own_id(&first).unwrap().is_none());
    }
}
