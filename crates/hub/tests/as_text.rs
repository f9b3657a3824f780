//! `tidings export`, `plan` and `apply` as their users meet them, by the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Home {
        let home = Home { folder: tempfile::tempdir().expect("a folder") };
        for name in ["One", "Two"] {
            let zone = ["workspace", "create", name, "--time-zone", "Europe/Amsterdam"];
            home.run(&zone).expect("a workspace");
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a command printed, or what it said against it.
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let done = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(arguments)
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .env_remove("TIDINGS_DATABASE_URL")
            .output()
            .expect("run the program");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match done.status.success() {
            true => Ok(text(&done.stdout)),
            false => Err(text(&done.stdout) + &text(&done.stderr)),
        }
    }

    fn text(&self, command: &str, folder: &Path, more: &[&str]) -> Result<String, String> {
        let folder = folder.to_str().expect("a path in UTF-8");
        self.run(&[&[command, folder, "--workspace"], more].concat())
    }
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in:\n{text}");
    }
}

fn edit(path: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(path).expect("read");
    assert!(text.contains(old), "{text}");
    fs::write(path, text.replacen(old, new, 1)).expect("write");
}

#[test]
fn a_workspace_goes_through_text() {
    let home = Home::new();
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop");
    // Without a plan, apply goes by the one it makes. The example stays as it is.
    says(
        &home.text("apply", &shop, &["one"]).expect("apply"),
        &["+ create segment", "not launched"],
    );
    assert!(!shop.join(".plan-one.json").exists());
    let folder = home.path("shop");
    says(&home.text("export", &folder, &["one"]).expect("export"), &["files in"]);
    let segment = folder.join("segments/big-spenders.toml");
    assert!(segment.exists() && folder.join("templates/autumn-letter/body.html").exists());

    // A plan for another workspace, and the apply that goes by it.
    let printed = home.text("plan", &folder, &["two"]).expect("plan");
    says(&printed, &["+ create attribute first_name", "Made against", ".plan-two.json"]);
    edit(&segment, "gte = 150", "gte = 200");
    let why = home.text("apply", &folder, &["two"]).expect_err("refused");
    says(&why, &["the files have changed since the plan"]);
    home.text("plan", &folder, &["two"]).expect("plan again");
    home.text("apply", &folder, &["two"]).expect("apply");
    assert!(!folder.join(".plan-two.json").exists(), "the plan is done");
    says(&home.text("apply", &folder, &["two"]).expect("again"), &["Nothing to do"]);

    // What changed shows with its fields; what would be lost is refused.
    let printed = home.text("plan", &folder, &["one"]).expect("plan");
    says(&printed, &["~ change segment Big spenders", "rule.all[0].gte: 150 → 200"]);
    fs::remove_file(folder.join("attributes/city.toml")).expect("remove");
    home.text("plan", &folder, &["one"]).expect("plan");
    let why = home.text("apply", &folder, &["one"]).expect_err("refused");
    says(&why, &["data would be lost", "the values of city"]);
    home.text("apply", &folder, &["one", "--allow-data-loss"]).expect("told");

    // A workspace that moved since the plan.
    edit(&segment, "gte = 200", "gte = 250");
    home.text("plan", &folder, &["one"]).expect("plan");
    home.text("apply", &shop, &["one"]).expect("somebody else's apply");
    let why = home.text("apply", &folder, &["one"]).expect_err("refused");
    says(&why, &["the workspace has changed since the plan"]);

    // Problems have files and lines, and the plan fails by them.
    edit(&segment, "table = \"orders\"", "table = \"order\"");
    let why = home.text("plan", &folder, &["one"]).expect_err("a problem");
    says(&why, &["problem: segments/big-spenders.toml:", "order"]);
    says(&home.text("apply", &folder, &["one"]).expect_err("refused"), &["nothing was changed"]);
    let why = home.text("plan", &home.path("nowhere"), &["one"]).expect_err("no folder");
    says(&why, &["there is no such folder"]);
}
