//! The data folder: whose it is, who may look into it, whether it can be written, how much room is
//! left, and on what kind of disk it lies.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::Report;
use crate::commands::storage::size;
use crate::config::Config;

const GIB: u64 = 1 << 30;
/// Less room than this is broken: the next import or backup fills it.
const FAIL_BELOW: u64 = GIB;
const WARN_BELOW: u64 = 5 * GIB;

/// What the kernel calls file systems whose other side is another machine (`statfs(2)`).
const NETWORK: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
];
const FUSE: u64 = 0x6573_5546;

pub fn examine(config: &Config, report: &mut Report) {
    let folder = &config.data_dir;
    let shown = folder.display();
    let found = match fs::metadata(folder) {
        Ok(found) if found.is_dir() => found,
        Ok(_) => {
            report.fail("data folder", format!("{shown} is no folder"), "name another data_dir");
            return;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.warn(
                "data folder",
                format!("{shown} is not there"),
                "the first start makes it; if this hub has data, name its folder as data_dir",
            );
            return;
        }
        Err(error) => {
            let next = "run this as the user that the hub runs as";
            report.fail("data folder", format!("look at {shown}: {error}"), next);
            return;
        }
    };
    let mode = found.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => report.ok("data folder", format!("{shown}, closed to others")),
        _ => report.warn(
            "data folder",
            format!("{shown} has the mode {mode:o}: others on this machine may look into it"),
            format!("chmod 700 {shown}"),
        ),
    }
    owners(folder, found.uid(), report);
    writing(folder, report);
    room(folder, report);
    kind(folder, config.database_url.is_none(), report);
}

/// A file that belongs to another user than the folder, which a command as root leaves behind, stops
/// the hub.
fn owners(folder: &Path, owner: u32, report: &mut Report) {
    let mut foreign = Vec::new();
    strangers(folder, owner, 2, &mut foreign);
    match foreign.first() {
        None => report.ok("owner", format!("everything belongs to user {owner}")),
        Some(first) => report.fail(
            "owner",
            format!("{} files belong to others, such as {}", foreign.len(), first.display()),
            format!("chown -R {owner} {}", folder.display()),
        ),
    }
}

fn strangers(folder: &Path, owner: u32, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(about) = entry.metadata() else { continue };
        if about.uid() != owner {
            found.push(entry.path());
        }
        if about.is_dir() && depth > 0 {
            strangers(&entry.path(), owner, depth - 1, found);
        }
    }
}

fn writing(folder: &Path, report: &mut Report) {
    let file = folder.join(format!("doctor{}", std::process::id()));
    let written = fs::File::create_new(&file)
        .and_then(|mut out| out.write_all(b"x").and_then(|()| out.sync_all()));
    let _ = fs::remove_file(&file);
    match written {
        Ok(()) => report.ok("writing", "a file was written and is on the disk"),
        Err(error) => report.fail(
            "writing",
            format!("write a file: {error}"),
            "see to the rights of the folder, and that its disk is not mounted read-only",
        ),
    }
}

fn room(folder: &Path, report: &mut Report) {
    let found = match rustix::fs::statvfs(folder) {
        Ok(found) => found,
        Err(error) => {
            report.warn("disk space", format!("ask for it: {error}"), "look at it by df");
            return;
        }
    };
    let (free, all) = (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize);
    let said = format!("{} free of {}", bytes(free), bytes(all));
    let next = "make room or enlarge the disk; `tidings storage` shows what grows";
    // Some file systems have no limit to their files, and say 0 of 0.
    if found.f_files > 0 && found.f_favail == 0 {
        report.fail("disk space", "no more files can be made", next);
    } else if free < FAIL_BELOW {
        report.fail("disk space", said, next);
    } else if free < WARN_BELOW || free < all / 20 {
        report.warn("disk space", said, next);
    } else {
        report.ok("disk space", said);
    }
}

fn bytes(count: u64) -> String {
    size(i64::try_from(count).unwrap_or(i64::MAX))
}

fn kind(folder: &Path, has_database: bool, report: &mut Report) {
    let Ok(found) = rustix::fs::statfs(folder) else { return };
    // The kernel's number is of 32 bits, whatever sign a platform gives it.
    let magic = found.f_type as u64 & 0xffff_ffff;
    let network = NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name);
    match (network, has_database) {
        (Some(name), true) => report.fail(
            "file system",
            format!("the data folder lies on {name}, where the locks of SQLite do not hold"),
            "move it to a disk of this machine, or use PostgreSQL",
        ),
        (Some(name), false) => report.ok("file system", format!("{name}, for files only")),
        (None, true) if magic == FUSE => report.warn(
            "file system",
            "the data folder lies on FUSE, whose other side is not known",
            "make sure that it is a disk of this machine",
        ),
        (None, _) => report.ok("file system", "a disk of this machine"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn lines(config: &Config) -> Vec<(&'static str, State)> {
        let mut report = Report::default();
        examine(config, &mut report);
        report.lines.iter().map(|line| (line.check, line.state)).collect()
    }

    #[test]
    fn a_folder_is_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("data");
        let config = Config { data_dir: data_dir.clone(), ..Config::default() };
        assert_eq!(lines(&config), [("data folder", State::Warn)]);
        config.make_data_dir().expect("made");
        let found = lines(&config);
        for check in ["data folder", "owner", "writing"] {
            assert!(found.contains(&(check, State::Ok)), "{check} in {found:?}");
        }
        fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o755)).expect("set");
        assert!(lines(&config).contains(&("data folder", State::Warn)));
        assert_eq!(fs::read_dir(&data_dir).expect("a folder").count(), 0, "nothing is left behind");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        let config = Config { data_dir: file, ..Config::default() };
        assert_eq!(lines(&config), [("data folder", State::Fail)]);
    }

    #[test]
    fn what_belongs_to_another_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("workspaces")).expect("made");
        fs::write(folder.path().join("workspaces/w1.db"), "").expect("written");
        let owner = fs::metadata(folder.path()).expect("it is there").uid();
        let mut found = Vec::new();
        strangers(folder.path(), owner, 2, &mut found);
        assert_eq!(found, Vec::<PathBuf>::new());
        strangers(folder.path(), owner + 1, 2, &mut found);
        assert_eq!(found.len(), 2);
    }
}
