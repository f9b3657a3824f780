//! `tidings apply`, killed at any moment and done again, by the real binary on both engines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many moments between the start and the end of an apply it is killed at.
const MOMENTS: u32 = 16;
/// Things that are defined beside the example's, so that an apply takes a while.
const MORE: usize = 120;

struct Home {
    folder: tempfile::TempDir,
    database_url: Option<String>,
}

impl Home {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(arguments).arg("--data-dir").arg(self.path("data"));
        match &self.database_url {
            Some(url) => command.env("TIDINGS_DATABASE_URL", url),
            None => command.env_remove("TIDINGS_DATABASE_URL"),
        };
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let done = self.command(arguments).output().expect("run the program");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let against = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "tidings {}: {said}{against}", arguments.join(" "));
        said
    }

    /// Runs a command and kills it after a time; whether it was killed before its end.
    fn kill(&self, arguments: &[&str], after: Duration) -> bool {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the program");
        std::thread::sleep(after);
        // SIGKILL; an error means that it has ended by itself.
        let ended = child.try_wait().expect("ask for the process").is_some();
        if !ended {
            child.kill().expect("kill the program");
        }
        let status = child.wait().expect("the program is gone");
        !ended && !status.success()
    }

    /// What a workspace defines, as files; ids are left out where they are made anew each time.
    fn definitions(&self, workspace: &str) -> Vec<(String, String)> {
        let folder = self.path(&format!("export-{workspace}"));
        let _ = fs::remove_dir_all(&folder);
        self.run(&["export", text(&folder), "--workspace", workspace]);
        let mut files = Vec::new();
        read_all(&folder, &folder, &mut files);
        files.sort();
        files
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn read_all(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("read a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(root, &path, files);
            continue;
        }
        let name = text(path.strip_prefix(root).expect("inside")).to_owned();
        let content = fs::read_to_string(&path).expect("read a file");
        let lines = content.lines().filter(|line| !line.starts_with("id = "));
        files.push((name, lines.collect::<Vec<_>>().join("\n")));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a folder");
    for entry in fs::read_dir(from).expect("read a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copy a file");
        }
    }
}

/// The example and many things more.
fn big_folder(folder: &Path) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop"), folder);
    for at in 0..MORE {
        let attribute = format!("name = \"extra {at}\"\nkind = \"text\"\n");
        fs::write(folder.join(format!("attributes/extra-{at}.toml")), attribute).expect("write");
        let segment =
            format!("name = \"has {at}\"\n\n[rule]\nattribute = \"extra {at}\"\nop = \"exists\"\n");
        fs::write(folder.join(format!("segments/has-{at}.toml")), segment).expect("write");
    }
}

fn an_apply_that_is_killed_comes_to_the_same_end(database_url: Option<String>) {
    let home = Home { folder: tempfile::tempdir().expect("a folder"), database_url };
    for name in ["Whole", "Killed"] {
        home.run(&["workspace", "create", name, "--time-zone", "Europe/Amsterdam"]);
    }
    let folder = home.path("shop");
    big_folder(&folder);
    let empty = home.definitions("killed");
    // Given a workspace that was brought there in one go, and how long that takes.
    let began = Instant::now();
    home.run(&["apply", text(&folder), "--workspace", "whole"]);
    let takes = began.elapsed();
    let whole = home.definitions("whole");
    assert!(whole.len() > empty.len() + 2 * MORE);

    // When an apply of a plan is killed at moments from its start to its end.
    home.run(&["plan", text(&folder), "--workspace", "killed"]);
    let apply = ["apply", text(&folder), "--workspace", "killed"];
    let mut killed = 0;
    for moment in 1..=MOMENTS {
        if home.kill(&apply, takes * moment / MOMENTS) {
            killed += 1;
        }
        // Then all of it is there, or none.
        let now = home.definitions("killed");
        assert!(now == empty || now == whole, "half of it is there after {killed} kills");
        if now == whole {
            break;
        }
    }
    assert!(killed > 0, "no apply was killed before its end");

    // And the next one comes to the same end, from where there is nothing left to do.
    home.run(&apply);
    assert_eq!(home.definitions("killed"), whole);
    assert!(home.run(&apply).contains("Nothing to do"));
}

#[test]
fn row_1_an_apply_that_is_killed_comes_to_the_same_end_on_sqlite() {
    an_apply_that_is_killed_comes_to_the_same_end(None);
}

#[test]
fn row_1_an_apply_that_is_killed_comes_to_the_same_end_on_postgres() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = runtime.block_on(tidings_testkit::database::fresh());
    an_apply_that_is_killed_comes_to_the_same_end(Some(url));
}
