//! Rounds, medians and the report. Only ratios count: each round runs the real thing and its limit
//! right after one another, and a row's ratio is the median of its rounds' ratios.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

/// What a ratio, or a figure beside it, is meant to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    Between(f64, f64),
    /// Written down, held to nothing.
    None,
}

impl Goal {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Goal::AtLeast(goal) => Some(value >= goal),
            Goal::AtMost(goal) => Some(value <= goal),
            Goal::Between(least, most) => Some(value >= least && value <= most),
            Goal::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Goal::AtLeast(goal) => format!("≥ {goal}"),
            Goal::AtMost(goal) => format!("≤ {goal}"),
            Goal::Between(least, most) => format!("{least} to {most}"),
            Goal::None => "–".to_owned(),
        }
    }
}

/// One round: how much a second the real thing and its limit did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    pub real: f64,
    pub limit: f64,
}

/// A figure that stands beside a ratio, such as peak memory.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
    pub goal: Goal,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub work: String,
    pub limit: String,
    /// What is counted a second.
    pub unit: &'static str,
    pub goal: Goal,
    pub rounds: Vec<Round>,
    pub figures: Vec<Figure>,
}

impl Row {
    pub fn new(work: impl Into<String>, limit: &str, unit: &'static str, goal: Goal) -> Row {
        let (work, limit) = (work.into(), limit.to_owned());
        Row { work, limit, unit, goal, rounds: Vec::new(), figures: Vec::new() }
    }

    pub fn round(&mut self, real: f64, limit: f64) {
        eprintln!(
            "{}: round {}: {real:.0} {unit}/s beside {limit:.0} {unit}/s: {:.3}",
            self.work,
            self.rounds.len() + 1,
            real / limit,
            unit = self.unit
        );
        self.rounds.push(Round { real, limit });
    }

    pub fn figure(&mut self, what: &str, value: f64, unit: &'static str, goal: Goal) {
        eprintln!("{}: {what}: {} {unit}", self.work, digits(value));
        self.figures.push(Figure { what: what.to_owned(), value, unit, goal });
    }
}

/// Small numbers with one digit more: a factor of 1.16 is no 1.2.
fn digits(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

/// The middle value; the mean of the two middle ones where their number is even.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The value below which a share of the given times lies, in milliseconds.
pub fn percentile_ms(times: &mut [Duration], share: f64) -> f64 {
    if times.is_empty() {
        return f64::NAN;
    }
    times.sort_unstable();
    let at = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1;
    times[at].as_secs_f64() * 1e3
}

/// Where and how a report was made.
#[derive(Debug, Serialize)]
pub struct Report {
    pub date: String,
    pub command: String,
    pub machine: String,
    pub rows: Vec<Row>,
}

impl Report {
    pub fn new(rows: Vec<Row>) -> Report {
        Report {
            date: crate::host::today(),
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            machine: crate::host::machine(),
            rows,
        }
    }

    /// The report as Markdown: one table of ratios, one of the figures beside them.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}, {}, `{}`\n\n", self.date, self.machine, self.command);
        text.push_str("| work | limit | real /s | limit /s | ratio | goal | |\n");
        text.push_str("| --- | --- | ---: | ---: | ---: | --- | --- |\n");
        for row in self.rows.iter().filter(|row| !row.rounds.is_empty()) {
            let ratio = median(row.rounds.iter().map(|round| round.real / round.limit));
            text.push_str(&format!(
                "| {} | {} | {:.0} {unit} | {:.0} {unit} | {ratio:.2} | {} | {} |\n",
                row.work,
                row.limit,
                median(row.rounds.iter().map(|round| round.real)),
                median(row.rounds.iter().map(|round| round.limit)),
                row.goal.text(),
                verdict(row.goal.met(ratio)),
                unit = row.unit,
            ));
        }
        text.push_str("\n| work | figure | value | goal | |\n| --- | --- | ---: | --- | --- |\n");
        for row in &self.rows {
            for figure in &row.figures {
                text.push_str(&format!(
                    "| {} | {} | {} {} | {} | {} |\n",
                    row.work,
                    figure.what,
                    digits(figure.value),
                    figure.unit,
                    figure.goal.text(),
                    verdict(figure.goal.met(figure.value)),
                ));
            }
        }
        text
    }

    /// Writes `report.md` and `report.json` into a folder.
    pub fn save(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).context("make the folder of results")?;
        std::fs::write(folder.join("report.md"), self.markdown()).context("write report")?;
        let json = serde_json::to_string_pretty(self).context("write report as JSON")?;
        std::fs::write(folder.join("report.json"), json).context("write report")?;
        Ok(())
    }
}

fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "**missed**",
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_the_middle() {
        for (values, expected) in
            [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5), (vec![7.0], 7.0)]
        {
            assert!((median(values) - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let mut times: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        for (share, expected) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)] {
            assert!((percentile_ms(&mut times, share) - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn a_missed_goal_is_said() {
        let mut row = Row::new("w", "l", "rows", Goal::AtLeast(0.5));
        row.round(30.0, 100.0);
        row.figure("memory", 10.0, "MB", Goal::AtMost(20.0));
        row.figure("growth", 1.21, "×", Goal::Between(0.8, 1.2));
        let report =
            Report { date: "d".into(), command: "c".into(), machine: "m".into(), rows: vec![row] };
        let text = report.markdown();
        assert!(text.contains("| 0.30 | ≥ 0.5 | **missed** |"), "{text}");
        assert!(text.contains("| memory | 10.0 MB | ≤ 20 | met |"), "{text}");
        assert!(text.contains("| growth | 1.21 × | 0.8 to 1.2 | **missed** |"), "{text}");
    }
}
