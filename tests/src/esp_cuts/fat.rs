//! A FAT32 volume looked at as `fsck.vfat` would: which files lie where (Microsoft's FAT specification 1.03).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// The last cluster of a file, or any number above.
const LAST: u32 = 0x0fff_fff8;
const ENTRY: usize = 32;
const LONG_NAME: u8 = 0x0f;
const DIRECTORY: u8 = 0x10;
const VOLUME: u8 = 0x08;

/// What is wrong with a volume: each a file and what of it. Clusters that belong to nobody are not.
pub fn faults(image: &File) -> io::Result<Vec<String>> {
    let mut volume = Volume::open(image)?;
    let root = volume.root;
    volume.directory("", root, 0)?;
    Ok(volume.faults)
}

struct Volume<'a> {
    image: &'a File,
    table: Vec<u32>,
    cluster: usize,
    data: u64,
    root: u32,
    owners: BTreeMap<u32, String>,
    faults: Vec<String>,
}

impl<'a> Volume<'a> {
    fn open(image: &'a File) -> io::Result<Self> {
        let mut boot = [0; 512];
        image.read_exact_at(&mut boot, 0)?;
        let half = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let word =
            |at: usize| u32::from_le_bytes([boot[at], boot[at + 1], boot[at + 2], boot[at + 3]]);
        if half(22) != 0 || half(11) == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no FAT32"));
        }
        let sector = half(11);
        let (reserved, copies, length) = (half(14), u64::from(boot[16]), u64::from(word(36)));
        let mut bytes = vec![0; usize::try_from(length * sector).map_err(io::Error::other)?];
        image.read_exact_at(&mut bytes, reserved * sector)?;
        let numbers = bytes.chunks_exact(4);
        let table =
            numbers.map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]) & 0x0fff_ffff);
        Ok(Self {
            image,
            table: table.collect(),
            cluster: usize::from(boot[13]) * usize::try_from(sector).map_err(io::Error::other)?,
            data: (reserved + copies * length) * sector,
            root: word(44),
            owners: BTreeMap::new(),
            faults: Vec::new(),
        })
    }

    /// The clusters of a file; what is wrong with them is noted.
    fn chain(&mut self, name: &str, first: u32) -> Vec<u32> {
        let (mut chain, mut next) = (Vec::new(), first);
        while next < LAST {
            let follows = self.table.get(next as usize).copied();
            match follows {
                _ if next < 2 => self.faults.push(format!("{name} lies at cluster {next}")),
                None | Some(0) => self.faults.push(format!("{name} has the free cluster {next}")),
                Some(follows) => {
                    if let Some(owner) = self.owners.insert(next, name.to_owned()) {
                        self.faults.push(format!("{name} shares clusters with {owner}"));
                        break;
                    }
                    chain.push(next);
                    next = follows;
                    continue;
                }
            }
            break;
        }
        chain
    }

    fn directory(&mut self, name: &str, first: u32, depth: u32) -> io::Result<()> {
        let chain = self.chain(&format!("{name}/"), first);
        let mut bytes = vec![0; chain.len() * self.cluster];
        for (place, number) in bytes.chunks_exact_mut(self.cluster).zip(&chain) {
            let at = self.data + u64::from(number - 2) * self.cluster as u64;
            self.image.read_exact_at(place, at)?;
        }
        for entry in bytes.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0) {
            let attributes = entry[11];
            let is_ours = entry[0] != 0xe5 && entry[0] != b'.';
            if !is_ours || attributes & LONG_NAME == LONG_NAME || attributes & VOLUME != 0 {
                continue;
            }
            let short = String::from_utf8_lossy(&entry[..11]).replace(' ', "");
            let path = format!("{name}/{short}");
            let first = u32::from(u16::from_le_bytes([entry[26], entry[27]]))
                | u32::from(u16::from_le_bytes([entry[20], entry[21]])) << 16;
            let size = u32::from_le_bytes([entry[28], entry[29], entry[30], entry[31]]);
            if attributes & DIRECTORY != 0 && depth < 8 {
                self.directory(&path, first, depth + 1)?;
                continue;
            }
            let chain = if first == 0 { Vec::new() } else { self.chain(&path, first) };
            if (size as usize).div_ceil(self.cluster) > chain.len() {
                self.faults.push(format!("{path} is longer than its {} clusters", chain.len()));
            }
        }
        Ok(())
    }
}
