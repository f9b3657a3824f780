//! Readers of mail that share no code with us: Python's `email` in its strict policy, and dkimpy.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs a script of this folder with a line of JSON per question; gives an answer per question.
///
/// `needs` is a module beyond Python's own; `scripts/deps.sh` installs it for the system's Python,
/// which need not be the first one of the path.
pub fn ask(script: &str, needs: Option<&str>, questions: &[Value]) -> Vec<Value> {
    let python = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        let import = format!("import {}", needs.unwrap_or("email"));
        let tried = Command::new(python).args(["-c", &import]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    let python = python.unwrap_or_else(|| {
        panic!("Python 3 with {} is needed; scripts/deps.sh installs it", needs.unwrap_or("email"))
    });
    let path = format!("{}/tests/email/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new(python)
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take().expect("it is piped");
    let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("Python ends");
    writer.join().expect("no panic").expect("Python reads its questions");
    assert!(output.status.success(), "{script} failed");
    let answers = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<Value> =
        answers.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), questions.len());
    answers
}
