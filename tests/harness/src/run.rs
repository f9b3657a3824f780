//! One run: alone on the machine, with a seed that is printed and a number of kills to reach.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A run of one test. While it lives, no other test of this folder runs: they would starve each
/// other and move the kills to where nothing happens.
pub struct Run {
    pub name: String,
    pub random: StdRng,
    began: Instant,
    _alone: File,
}

impl Run {
    /// Waits for its turn and prints the seed.
    pub async fn start(name: &str) -> Run {
        let path = std::env::temp_dir().join("tidings-harness.lock");
        let alone = tokio::task::spawn_blocking(move || {
            let file = File::options().create(true).append(true).open(&path);
            let file = file.expect("a lock file in the temporary folder");
            file.lock().expect("lock the lock file");
            file
        });
        let alone = alone.await.expect("the lock is taken");
        let seed = std::env::var("TIDINGS_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::from(now.subsec_nanos()) ^ (now.as_secs() << 20)
        });
        print_line(&format!("{name}: seed {seed} (TIDINGS_SEED={seed} repeats its choices)"));
        Run {
            name: name.to_owned(),
            random: StdRng::seed_from_u64(seed),
            began: Instant::now(),
            _alone: alone,
        }
    }

    /// Prints a line of what happens, with the seconds since the start.
    pub fn say(&self, what: &str) {
        print_line(&format!("{} {:6.1} s: {what}", self.name, self.began.elapsed().as_secs_f64()));
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.random.random_range(0..end.max(1))
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.random.random_range(from..=to))
    }

    /// The point at which to strike next, so that the strikes that are left spread over what is
    /// left of the work.
    pub fn next_strike(&mut self, done: u64, total: u64, strikes_left: u64) -> u64 {
        let part = (total.saturating_sub(done) / (strikes_left + 1)).max(2);
        done + self.random.random_range(part / 2..=part)
    }
}

/// Written past the test runner's capture, because the seed and the kills belong into every log.
fn print_line(line: &str) {
    // A log that cannot be written is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A port for a server that is stopped and started again. It lies below those that the system gives
/// to callers: one of them could sit on it just while the server is down.
pub fn free_port() -> u16 {
    loop {
        let port = rand::rng().random_range(10_000..20_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// How many kills a test must count.
pub fn kills_wanted() -> u64 {
    std::env::var("TIDINGS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// Waits until something holds, for as long as a test may take; panics with what it waited for.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(180), "waited three minutes for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
