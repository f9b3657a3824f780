//! Programs that run beside the bench: started, watched for their memory, and ended by their own id.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A program that runs in the background; it is ended when this is dropped.
pub struct Background {
    child: Child,
    pub pid: u32,
    log: PathBuf,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Background {
    /// Starts a program; its error output goes to a file.
    pub fn start(program: &Path, arguments: &[String], log: &Path) -> anyhow::Result<Background> {
        let errors = std::fs::File::create(log).context("make the log")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let pid = child.id().context("the program ended at once")?;
        let output = child.stdout.take().context("take the program's output")?;
        let lines = BufReader::new(output).lines();
        Ok(Background { child, pid, log: log.to_owned(), lines })
    }

    /// The next line that it prints.
    pub async fn line(&mut self) -> anyhow::Result<String> {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line()).await;
        match line.context("wait for the program to say something")?? {
            Some(line) => Ok(line),
            None => bail!("the program ended; see {}", self.log.display()),
        }
    }

    /// The most memory it has had so far, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        peak_bytes(self.pid)
    }

    /// Whether it is still there.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill").arg(self.pid.to_string()).status().await;
        told.context("tell the program to end")?;
        let ended = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await;
        ended.context("wait for the program to end")??;
        Ok(())
    }
}

/// Runs a program to its end; gives what it printed. Fails where it does, with its error output.
pub async fn run(program: &Path, arguments: &[String]) -> anyhow::Result<String> {
    let ended = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("start {}", program.display()))?;
    if !ended.status.success() {
        let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
        bail!("{} {} failed: {errors}", program.display(), arguments.join(" "));
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// The most memory a process has had; 0 where there is no such process.
fn peak_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() * 1_024
}

/// A free port on the loopback interface.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr().context("read the port")?.port())
}
