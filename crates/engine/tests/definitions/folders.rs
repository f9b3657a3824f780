//! Folders on disk: what is refused, what is left alone, and what an export does to what is there.

use std::fs;
use std::path::Path;

use tidings_engine::definitions::{Folder, checked_path, disk};

fn files() -> Folder {
    [("tidings.toml", "format = 1\n"), ("groups/a.toml", "name = \"a\"\n")]
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .into()
}

fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    disk::write(folder.path(), &files()).expect("write");
    folder
}

#[track_caller]
fn refused(folder: &Path, why: &str) {
    let error = disk::read(folder).expect_err("it is refused").to_string();
    assert!(error.contains(why), "expected {why:?} in: {error}");
}

#[test]
fn links_devices_and_odd_names_are_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = written();
    let link = folder.path().join("groups/b.toml");
    std::os::unix::fs::symlink("/etc/passwd", &link).expect("a link");
    refused(folder.path(), "links are not followed");
    // Nothing is written through it either.
    assert!(disk::write(folder.path(), &files()).is_err());
    fs::remove_file(&link).expect("remove");

    let outside = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(outside.path(), folder.path().join("segments")).expect("a link");
    refused(folder.path(), "links are not followed");
    fs::remove_file(folder.path().join("segments")).expect("remove");

    let socket = folder.path().join("groups/s.toml");
    let _kept = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    refused(folder.path(), "expected a plain file");
    fs::remove_file(&socket).expect("remove");

    let odd = folder.path().join("groups").join(std::ffi::OsStr::from_bytes(b"\xff.toml"));
    fs::write(&odd, "").expect("write");
    refused(folder.path(), "not in UTF-8");
    fs::remove_file(&odd).expect("remove");

    let large = fs::File::create(folder.path().join("groups/large.toml")).expect("a file");
    large.set_len(9 * 1024 * 1024).expect("make it large");
    refused(folder.path(), "at most 8 MB");
    fs::remove_file(folder.path().join("groups/large.toml")).expect("remove");

    fs::create_dir_all(folder.path().join("templates/a/b/c")).expect("folders");
    refused(folder.path(), "not so deep");
    fs::remove_dir_all(folder.path().join("templates")).expect("remove");
    assert_eq!(disk::read(folder.path()).expect("fine again"), files());
    refused(&folder.path().join("nowhere"), "there is no such folder");
}

#[test]
fn paths_stay_inside() {
    for path in
        ["", "/etc/passwd", "../a", "a/../b", "a//b", "./a", "a/", "a\\b", "c:a", "a\0b", "a\nb"]
    {
        assert!(checked_path(path).is_err(), "{path:?}");
    }
    assert!(checked_path("groups/a b.toml").is_ok());
}

#[test]
fn an_export_leaves_alone_what_is_not_its_own() {
    let folder = written();
    for (path, text) in [("README.md", "read me"), ("groups/notes.md", "mine"), (".git/x", "git")] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, text).expect("write");
    }
    let fewer: Folder = files().into_iter().filter(|(path, _)| path == "tidings.toml").collect();
    disk::write(folder.path(), &fewer).expect("write again");
    for (path, is_there) in
        [("README.md", true), ("groups/notes.md", true), (".git/x", true), ("groups/a.toml", false)]
    {
        assert_eq!(folder.path().join(path).exists(), is_there, "{path}");
    }
    let other = tempfile::tempdir().expect("a folder");
    fs::write(other.path().join("letter.doc"), "mine").expect("write");
    let error = disk::write(other.path(), &files()).expect_err("it is refused").to_string();
    assert!(error.contains("it is not empty"), "{error}");
    assert_eq!(fs::read_dir(other.path()).expect("list").count(), 1);
}
