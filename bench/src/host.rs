//! The machine that figures were taken on, and the folder that benches work in.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Today, as `YYYY-MM-DD` in UTC.
pub fn today() -> String {
    let secs = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // Days to a civil date, after Howard Hinnant.
    let z = i64::try_from(secs / 86_400).unwrap_or_default() + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Processor, cores, memory, system and what a synced write costs here, in one line.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = field(&cpus, "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = field(&memory, "MemTotal")
        .and_then(|text| text.trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let synced = sync_us(&scratch()).map_or_else(String::new, |us| format!(", fdatasync {us} µs"));
    format!(
        "{cores} cores of {model}, {} GB, Linux {}{synced}",
        kib.div_ceil(1_048_576),
        release.trim()
    )
}

/// The median cost of appending 256 bytes to a file and syncing it, in microseconds.
fn sync_us(folder: &Path) -> Option<u64> {
    let path = folder.join("sync-probe");
    let mut file = fs::File::create(&path).ok()?;
    let mut times = Vec::with_capacity(200);
    for _ in 0..200 {
        let start = Instant::now();
        file.write_all(&[7; 256]).ok()?;
        file.sync_data().ok()?;
        times.push(start.elapsed().as_micros() as u64);
    }
    let _ = fs::remove_file(path);
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// The root of the repository.
pub fn root() -> PathBuf {
    // Cargo says where the program's source lies now; it may have been built in another folder.
    let bench = std::env::var_os("CARGO_MANIFEST_DIR").map_or("bench".into(), PathBuf::from);
    bench.parent().map_or(".".into(), Path::to_owned)
}

/// Where benches keep their databases and files: beside the built programs, so on a real disk.
pub fn scratch() -> PathBuf {
    let folder = programs().join("bench-data");
    let _ = fs::create_dir_all(&folder);
    folder
}

/// The folder that this program, and so every other of the workspace, was built into.
pub fn programs() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().map_or_else(|| root().join("target/release"), Path::to_owned)
}

/// An empty folder for one use.
pub fn fresh(name: &str) -> anyhow::Result<PathBuf> {
    let folder = scratch().join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
