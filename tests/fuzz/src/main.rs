//! `fuzz [MINUTES] [SEED] [TARGET…]`: feeds the targets in turn, for so many minutes together.
//! Another seed makes other inputs. It ends with 1 where one fails.

use std::process::ExitCode;
use std::time::Duration;

use tidings_fuzz::{Run, drive, targets};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut number = |otherwise: u64| match arguments.next() {
        Some(text) => text.parse().unwrap_or_else(|_| panic!("expected a number, not {text}")),
        None => otherwise,
    };
    let (minutes, seed) = (number(10), number(1));
    let names: Vec<String> = arguments.collect();
    let chosen: Vec<_> = targets()
        .into_iter()
        .filter(|target| names.is_empty() || names.iter().any(|name| name == target.name))
        .collect();
    assert!(!chosen.is_empty(), "no target is called so");
    let each = Duration::from_secs(minutes * 60) / u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    let mut failed = false;
    // What a target panics with is told below, with its input.
    std::panic::set_hook(Box::new(|_| {}));
    for target in chosen {
        match drive(&target, seed, Run::Time(each)) {
            Ok(fed) => println!("{:<12} {fed:>10} inputs", target.name),
            Err(failure) => {
                println!("{failure}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
