//! Signatures alone: the mails of a campaign signed on all cores, and nothing sent.

use std::sync::Arc;
use std::thread::{available_parallelism, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use tidings_channels::email::dkim::{Algorithm, Key, NewKey, Signer};

/// A key ready to sign; to make an RSA key takes up to seconds.
pub fn signer(algorithm: Algorithm) -> anyhow::Result<Arc<Signer>> {
    let made = NewKey::generate(algorithm).context("make a key")?;
    let key = Key::read("shop.example", "bench", algorithm, &made.private).context("read a key")?;
    Ok(Arc::new(Signer::new(vec![key]).context("a signer has keys")?))
}

/// Signs so many mails of about this size.
pub fn sign(signer: &Arc<Signer>, mails: u64, bytes: usize) -> anyhow::Result<Duration> {
    let mut mail = b"From: Shop <news@shop.example>\r\nTo: c@mail.example\r\nSubject: News\r\n\
        Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@shop.example>\r\n\
        MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\
        List-Unsubscribe: <https://shop.example/u>\r\n\
        List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n"
        .to_vec();
    while mail.len() < bytes {
        mail.extend_from_slice(b"All work and no play makes a very dull bench, says the line.\r\n");
    }
    let mail: Arc<[u8]> = mail.into();
    let threads = available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let started = Instant::now();
    let workers: Vec<_> = (0..threads)
        .map(|at| {
            let (signer, mail) = (signer.clone(), mail.clone());
            let own = (at..mails).step_by(threads as usize).count();
            spawn(move || {
                for number in 0..own {
                    signer.sign(&mail, 1_700_000_000 + number as i64)?;
                }
                Ok::<(), tidings_channels::email::dkim::DkimError>(())
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| anyhow!("a signer panicked"))??;
    }
    Ok(started.elapsed())
}
