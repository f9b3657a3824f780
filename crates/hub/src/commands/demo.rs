//! `tidings demo`: a hub to look at, with customers, a campaign and a mailbox of its own.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::config::Config;
use crate::{demo, serve};

#[derive(Args, Debug)]
pub struct Arguments {}

pub async fn run(mut config: Config, _: Arguments) -> Result<ExitCode> {
    let began = Instant::now();
    let mailbox = demo::mailbox::open().await?;
    config.smtp_url = Some(format!("smtp://{}", mailbox.address()));
    let running = serve::start(&config, true).await?;
    let ctx = demo::workspace(&running.hub).await?;
    let receiving = mailbox.receive(ctx.clone());
    demo::fill(&ctx).await?;
    running.ready();
    eprintln!();
    eprintln!("  The demo is ready after {:.1} s.", began.elapsed().as_secs_f64());
    eprintln!("  Open {}/console/ in a browser; it signs you in by itself.", config.public_url());
    eprintln!("  Its data is in {}; Ctrl-C stops it.", config.data_dir.display());
    eprintln!();
    running.until_stopped().await?;
    receiving.stop().await;
    Ok(ExitCode::SUCCESS)
}
