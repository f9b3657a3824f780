//! The program as a process: started, asked whether it is ready, killed, frozen, told to stop.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::run::{free_port, until};

/// Connections that a program of the harness opens to the mail sink, and so how many messages one
/// kill may leave uncertain.
pub const OPEN_MAX: u64 = 16;
/// How long a lease lasts here, in seconds.
pub const LEASE_SECS: u64 = 3;

/// The program under test: `TIDINGS_BIN`, or the newest one in the target folder.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TIDINGS_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "TIDINGS_BIN names {}, which is not there", path.display());
        return path;
    }
    let root = Path::new("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let built = ["release", "debug"].map(|profile| target.join(profile).join("tidings"));
    let newest = built
        .into_iter()
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max();
    let (_, path) = newest.unwrap_or_else(|| {
        panic!("no program in {}; run `make build` or set TIDINGS_BIN", target.display())
    });
    path
}

/// What a program is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Shown in messages and part of the log's name.
    pub name: String,
    pub data_dir: PathBuf,
    /// `None` means SQLite in the data folder.
    pub database_url: Option<String>,
    /// What a node says of its files, where several may be on one database.
    pub files_shared: bool,
    pub master_key_file: PathBuf,
    pub smtp_url: String,
    /// A bug that is switched on, for tests of the tests.
    pub bug: Option<&'static str>,
    /// What else stands in its environment.
    pub environment: Vec<(&'static str, PathBuf)>,
}

/// A program that is running, or was until it was killed.
pub struct Program {
    pub setup: Setup,
    port: u16,
    child: Option<Child>,
}

impl Program {
    /// Starts nothing yet.
    pub fn new(setup: Setup) -> Program {
        std::fs::create_dir_all(&setup.data_dir).expect("a data folder");
        Program { setup, port: free_port(), child: None }
    }

    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn log_path(&self) -> PathBuf {
        self.setup.data_dir.with_extension(format!("{}.log", self.setup.name))
    }

    fn command(&self) -> Command {
        let setup = &self.setup;
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TIDINGS_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(&setup.data_dir)
            .env("TIDINGS_DATA_DIR", &setup.data_dir)
            .env("TIDINGS_MASTER_KEY_FILE", &setup.master_key_file)
            .env("TIDINGS_SMTP_URL", &setup.smtp_url)
            .env("TIDINGS_SMTP_OPEN_MAX", OPEN_MAX.to_string())
            .env("TIDINGS_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("TIDINGS_TEST_LEASE_SECS", LEASE_SECS.to_string())
            .stdin(Stdio::null());
        command.envs(setup.environment.clone());
        if let Some(url) = &setup.database_url {
            command.env("TIDINGS_DATABASE_URL", url);
            command.env("TIDINGS_FILES_SHARED", setup.files_shared.to_string());
        }
        if let Some(bug) = setup.bug {
            command.env("TIDINGS_TEST_BUG", bug);
        }
        command
    }

    /// Runs a command of the program to its end; gives what it printed.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().expect("run the program");
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(
            output.status.success(),
            "tidings {}: {}\n{said}\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    /// Starts serving where it must be refused; gives what it says.
    pub fn refused(&self) -> String {
        let output = self.command().arg("serve").output().expect("run the program");
        assert!(!output.status.success(), "{} was not refused", self.setup.name);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Starts serving and waits until it is ready.
    pub async fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.setup.name);
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.expect("a log file");
        let child = self
            .command()
            .arg("serve")
            .stdout(log.try_clone().expect("the log twice"))
            .stderr(log)
            .spawn()
            .expect("start the program");
        self.child = Some(child);
        let began = Instant::now();
        while Api::probe(&self.base_url(), "/readyz").await != Some(200) {
            if let Some(status) = self.ended() {
                panic!("{} ended at its start: {status}\n{}", self.setup.name, self.log_tail());
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{} is not ready after a minute\n{}",
                self.setup.name,
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The status, if the process has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("ask for the process")
    }

    /// Waits until the process has ended by itself.
    pub async fn until_ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the program to end by itself", async || {
            status = self.ended();
            status.is_some()
        })
        .await;
        self.child = None;
        status.expect("it ended")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the program runs").id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the program runs");
        if let Some(status) = child.try_wait().expect("ask for the process") {
            panic!("{} had ended by itself: {status}\n{}", self.setup.name, self.log_tail());
        }
        child.kill().expect("kill the program");
        child.wait().expect("the program is gone");
    }

    fn signal(&self, name: &str) {
        // The shell's own `kill`, since Rust has no safe call for it.
        let text = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &text]).status().expect("run a shell");
        assert!(status.success(), "{text}: {status}");
    }

    /// SIGSTOP: the process stands still and knows nothing of it.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// SIGTERM, and its end: the status and how long it took.
    pub async fn terminate(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        self.signal("TERM");
        let child = &mut self.child;
        let mut status = None;
        until("the program's end after SIGTERM", async || {
            status = child.as_mut().and_then(|child| child.try_wait().expect("ask for it"));
            status.is_some()
        })
        .await;
        self.child = None;
        (status.expect("it ended"), began.elapsed())
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, or be frozen; SIGKILL works on both.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the last lines of {}'s log:\n{}", self.setup.name, self.log_tail());
        }
    }
}
