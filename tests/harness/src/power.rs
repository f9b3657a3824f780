//! A machine that loses its power: what was not brought to the disk may be there, or not, or a part
//! of it, in any order.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// What a disk writes whole.
const SECTOR: usize = 512;

/// The watch over a program's files, by a library that is loaded into it.
pub struct Power {
    library: PathBuf,
    notes: PathBuf,
    ignores_sync: bool,
}

/// What a loss of power did.
#[derive(Debug, Default)]
pub struct Lost {
    /// Writes that had not been brought to the disk.
    pub writes: usize,
    /// Sectors that are not as they were last written.
    pub sectors: usize,
}

impl Power {
    /// Keeps its notes in a folder. With `ignores_sync` nothing is ever brought to the disk.
    pub fn new(folder: &Path, ignores_sync: bool) -> Power {
        let library = folder.join("losing_power.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg("losing_power.c")
            .status()
            .expect("run the C compiler");
        assert!(compiled.success(), "losing_power.c does not compile");
        Power { library, notes: folder.join("notes"), ignores_sync }
    }

    /// What the program is started with.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let mut all = vec![
            ("LD_PRELOAD", self.library.clone()),
            ("LOSING_POWER_LOG", self.notes.clone()),
            ("LOSING_POWER_PART", PathBuf::from("/node-1/")),
        ];
        if self.ignores_sync {
            all.push(("LOSING_POWER_IGNORES_SYNC", PathBuf::from("1")));
        }
        all
    }

    /// Makes the files of a data folder, whose program is gone, to what a loss of power at that moment
    /// may have left.
    pub fn lose(&self, data: &Path, random: &mut StdRng) -> Lost {
        let notes = fs::read(&self.notes).expect("read the notes");
        fs::remove_file(&self.notes).expect("begin new notes");
        let mut lost = Lost::default();
        let mut files = HashMap::new();
        gather(data, &mut files);
        for (inode, changes) in not_synced(&notes) {
            // A file that was removed since is no matter.
            if let Some(path) = files.get(&inode) {
                lost.writes += changes.len();
                lost.sectors += turn_back(path, &changes, random);
            }
        }
        lost
    }
}

/// The files below a folder by their inode. Shared memory is gone with the power.
fn gather(folder: &Path, files: &mut HashMap<u64, PathBuf>) {
    for entry in fs::read_dir(folder).expect("list a folder") {
        let path = entry.expect("an entry").path();
        let found = fs::metadata(&path).expect("what it is");
        if found.is_dir() {
            gather(&path, files);
        } else if path.to_string_lossy().ends_with("-shm") {
            fs::remove_file(&path).expect("remove shared memory");
        } else {
            files.insert(found.ino(), path);
        }
    }
}

/// A change of a file, and the bytes that it replaced.
struct Change<'n> {
    /// Where the notes hold it.
    place: usize,
    is_cut: bool,
    offset: usize,
    length: usize,
    /// The file's size before.
    size: usize,
    old: &'n [u8],
}

/// The changes of each file that no later sync has brought to the disk, in their order.
fn not_synced(notes: &[u8]) -> BTreeMap<u64, Vec<Change<'_>>> {
    const HEAD: usize = 48;
    let mut all: BTreeMap<u64, Vec<Change<'_>>> = BTreeMap::new();
    let mut synced: HashMap<u64, usize> = HashMap::new();
    let mut place = 0;
    // The last note may have been cut short by the kill; its change was never made.
    while let Some(head) = notes.get(place..place + HEAD) {
        let number = |at: usize| {
            let bytes = head[at * 8..at * 8 + 8].try_into().expect("eight bytes");
            usize::try_from(u64::from_le_bytes(bytes)).expect("a size")
        };
        let (kind, inode, offset) = (number(0), number(1) as u64, number(2));
        let (length, size) = (number(3), number(4));
        let Some(old) = notes.get(place + HEAD..place + HEAD + number(5)) else { break };
        match kind {
            3 => {
                synced.insert(inode, offset);
            }
            kind => {
                let is_cut = kind == 2;
                let change = Change { place, is_cut, offset, length, size, old };
                all.entry(inode).or_default().push(change);
            }
        }
        place += HEAD + old.len();
    }
    for (inode, changes) in &mut all {
        let from = synced.get(inode).copied().unwrap_or_default();
        changes.retain(|change| change.place >= from);
    }
    all.retain(|_, changes| !changes.is_empty());
    all
}

fn sector(content: &[u8], number: usize) -> Vec<u8> {
    let from = (number * SECTOR).min(content.len());
    let to = (from + SECTOR).min(content.len());
    let mut bytes = content[from..to].to_vec();
    bytes.resize(SECTOR, 0);
    bytes
}

/// Gives each sector one of the contents it has had since the last sync, and the file one of its
/// sizes; the newest ones half of the time. Gives how many sectors went back.
fn turn_back(path: &Path, changes: &[Change<'_>], random: &mut StdRng) -> usize {
    let mut content = fs::read(path).expect("read a file");
    let mut versions: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
    let mut sizes = vec![content.len()];
    for change in changes.iter().rev() {
        let to = if change.is_cut { change.size } else { change.offset + change.length };
        for number in change.offset / SECTOR..to.div_ceil(SECTOR) {
            versions.entry(number).or_default().push(sector(&content, number));
        }
        content.resize(change.size, 0);
        content[change.offset.min(change.size)..][..change.old.len()].copy_from_slice(change.old);
        sizes.push(change.size);
    }
    let mut pick = |count: usize| {
        if random.random_bool(0.5) { 0 } else { random.random_range(0..count) }
    };
    let size = sizes[pick(sizes.len())];
    let mut back = 0;
    for (number, mut of_sector) in versions {
        of_sector.push(sector(&content, number));
        let picked = pick(of_sector.len());
        back += usize::from(of_sector[picked] != of_sector[0]);
        let end = (number + 1) * SECTOR;
        if content.len() < end {
            content.resize(end, 0);
        }
        content[number * SECTOR..end].copy_from_slice(&of_sector[picked]);
    }
    content.resize(size, 0);
    fs::write(path, content).expect("write a file");
    back
}
