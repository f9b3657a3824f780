//! Times a marketing mail of about 3 KB on one core: `cargo run --release -p tidings-liquid
//! --example render_speed`. Template and data are `bench/render/mail.liquid` and `mail.json`, so
//! that other engines can be timed with the same files.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use tidings_liquid::{Context, Escape, Rendered, Template, Value};

const RENDERS: u32 = 50_000;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new("bench/render");
    let source = std::fs::read_to_string(folder.join("mail.liquid"))?;
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("mail.json"))?)?;
    let start = Instant::now();
    let template = Template::parse(&source)?;
    println!("parse: {:.1} µs for {} bytes", start.elapsed().as_secs_f64() * 1e6, source.len());
    let mut context = Context::new("2024-07-01T14:30:15+00:00[UTC]".parse()?);
    context.root = Value::from(&json);
    for escape in [Escape::None, Escape::Html] {
        context.escape = escape;
        let Rendered::Complete(text) = template.render(&context)? else {
            return Err("the mail did not render to the end".into());
        };
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..RENDERS {
                black_box(template.render(black_box(&context))?);
            }
            best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(RENDERS));
        }
        println!("render, escape {escape:?}: {best:.2} µs for {} bytes", text.len());
    }
    Ok(())
}
