//! The one binary: commands, configuration, wiring, shutdown. Owns no rule.

mod commands;
mod config;
mod demo;
mod doctor;
mod key_file;
mod logs;
mod observe;
mod protocols;
mod serve;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let arguments = commands::Arguments::parse();
    logs::start();
    // One provider for every TLS connection; a second call would only say that it is set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tidings: start: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(commands::run(arguments));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tidings: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
