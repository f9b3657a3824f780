//! A counted number of inputs for every target, the same each time.

use tidings_fuzz::{Run, Target, drive, targets};

const SEED: u64 = 20_260_115;

macro_rules! short_runs {
    ($($name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            let name = stringify!($name);
            let target = targets().into_iter().find(|target| target.name == name);
            let target = target.expect("a target of this name");
            if let Err(failure) = drive(&target, SEED, Run::Inputs(target.short)) {
                panic!("{failure}");
            }
        })+

        #[test]
        fn every_target_is_run() {
            let run = [$(stringify!($name)),+];
            let all: Vec<&str> = targets().iter().map(|target| target.name).collect();
            assert_eq!(all, run);
        }
    };
}

short_runs!(
    delimited,
    workbook,
    values,
    search,
    rules,
    liquid,
    mjml,
    html,
    mime,
    smtp_replies,
    relays,
    tokens,
    uploads,
    mappings,
    templates,
    definitions,
    requests,
    pages,
);

/// Where a bug is planted, it is found, made small and kept.
#[test]
fn a_target_that_fails_is_noticed() {
    let target = Target {
        name: "planted",
        short: 0,
        open: || {
            Box::new(|input: &[u8]| {
                let text = String::from_utf8_lossy(input);
                assert!(!text.contains("}}}"), "three braces");
            })
        },
        seeds: || vec![b"{{ name }} and {{ other }} and so on".to_vec()],
    };
    let failure = drive(&target, SEED, Run::Inputs(20_000)).expect_err("the bug is planted");
    assert_eq!(failure.message, "three braces");
    assert_eq!(failure.input, b"}}}", "made as small as can be");
    assert_eq!(std::fs::read(&failure.file).expect("it is kept"), failure.input);
    std::fs::remove_file(&failure.file).expect("remove it");
}
