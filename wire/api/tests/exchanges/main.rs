//! The API as its callers see it, over a fresh hub on SQLite and on PostgreSQL.
//!
//! `exchanges/*.txt` are requests and answers in their order; the other files hold what an exchange
//! cannot show: every route against every scope, sessions, and streams.

mod home;
mod hostile;
mod images;
mod nul;
mod rights;
mod script;
mod sessions;
mod streams;

use home::{Engine, TestApi};

macro_rules! exchanges {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::play(super::Engine::Sqlite, stringify!($name)).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::play(super::Engine::Postgres, stringify!($name)).await;
            })*
        }
    };
}

exchanges!(
    accounts,
    bad_input,
    campaigns,
    content,
    consent,
    customers,
    definitions,
    email,
    groups,
    idempotency,
    import_mappings,
    imports,
    many,
    marks,
    merges,
    people,
    retention,
    schema,
    segments,
    storage,
);

async fn play(engine: Engine, name: &str) {
    let api = TestApi::on(engine).await;
    let path = format!("tests/exchanges/exchanges/{name}.txt");
    let text = std::fs::read_to_string(&path).expect("the exchanges are there");
    script::play(&api, &text).await;
}

#[test]
fn every_file_of_exchanges_is_played() {
    let folder = "tests/exchanges/exchanges";
    let source = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let name = name.trim_end_matches(".txt");
        assert!(
            source.contains(&format!("{name},")) || source.contains(&format!("{name}\n")),
            "{name}"
        );
    }
}
