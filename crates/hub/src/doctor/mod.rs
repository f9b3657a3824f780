//! What is wrong with a hub, or soon will be: one line a check, each with what to do next. It changes
//! nothing, and says what it can also where the hub would not start.

mod data;
mod disk;
mod reach;
mod settings;

use serde_json::{Value, json};

use crate::config::Config;

/// How thorough to be.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// Read every page of the SQLite files.
    pub deep: bool,
    /// Connect to nothing but the database.
    pub offline: bool,
}

/// How a check came out; the order is that of worry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Ok,
    Warn,
    Fail,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub state: State,
    /// What was checked, such as `disk space`.
    pub check: &'static str,
    pub found: String,
    /// What to do next; empty where nothing is to be done.
    pub next: String,
}

/// All checks in their order.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub lines: Vec<Line>,
}

impl Report {
    pub fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(State::Ok, check, found.into(), String::new());
    }

    pub fn warn(&mut self, check: &'static str, found: impl Into<String>, next: impl Into<String>) {
        self.add(State::Warn, check, found.into(), next.into());
    }

    pub fn fail(&mut self, check: &'static str, found: impl Into<String>, next: impl Into<String>) {
        self.add(State::Fail, check, found.into(), next.into());
    }

    fn add(&mut self, state: State, check: &'static str, found: String, next: String) {
        self.lines.push(Line { state, check, found, next });
    }

    pub fn worst(&self) -> State {
        self.lines.iter().map(|line| line.state).max().unwrap_or(State::Ok)
    }

    /// 0, 1 and 2 for ok, warn and fail.
    pub fn exit_code(&self) -> u8 {
        self.worst() as u8
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(&format!(
                "{:<4}  {:<16}  {}\n",
                line.state.name(),
                line.check,
                line.found
            ));
            if !line.next.is_empty() {
                text.push_str(&format!("{:24}→ {}\n", "", line.next));
            }
        }
        let count = |state: State| self.lines.iter().filter(|line| line.state == state).count();
        let (warn, fail) = (count(State::Warn), count(State::Fail));
        text.push_str(&format!(
            "\n{} checks, {warn} to look at, {fail} broken\n",
            self.lines.len()
        ));
        text
    }

    pub fn json(&self) -> Value {
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                let state = line.state.name();
                json!({"state": state, "check": line.check, "found": line.found, "next": line.next})
            })
            .collect();
        json!({"state": self.worst().name(), "checks": lines})
    }
}

/// Checks everything.
pub async fn examine(config: &Config, wishes: Wishes) -> Report {
    let mut report = Report::default();
    settings::examine(config, &mut report);
    disk::examine(config, &mut report);
    data::examine(config, wishes, &mut report).await;
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_line_decides() {
        let mut report = Report::default();
        assert_eq!(report.exit_code(), 0);
        report.ok("clock", "right");
        assert_eq!(report.exit_code(), 0);
        report.warn("relay", "none", "add one");
        assert_eq!(report.exit_code(), 1);
        report.fail("disk space", "none left", "make room");
        report.ok("key", "there");
        assert_eq!(report.exit_code(), 2);
        let text = report.text();
        assert!(text.contains("warn  relay             none\n"), "{text}");
        assert!(text.contains("→ make room\n"), "{text}");
        assert!(text.ends_with("4 checks, 1 to look at, 1 broken\n"), "{text}");
        let json = report.json();
        assert_eq!(json["state"], "fail");
        assert_eq!(json["checks"][0]["next"], "");
    }
}
