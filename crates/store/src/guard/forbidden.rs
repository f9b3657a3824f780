//! What no statement and no migration may contain: the evidence is that shards refuse it, or that
//! the two engines and a test with a clock of its own would not agree on it.

const IN_STATEMENTS: &[&str] = &[
    "now()",
    "current_timestamp",
    "current_date",
    "current_time",
    "datetime('now'",
    "date('now'",
    "strftime",
    "unixepoch",
    "random()",
    "gen_random_uuid",
    "nextval",
    "setval",
    "last_insert_rowid",
    "offset ",
    "trigger",
    "ctid",
    "merge into",
    "grouping sets",
    "with recursive",
    "truncate ",
    "like '%",
];

const IN_MIGRATIONS: &[&str] = &[
    "now()",
    "serial",
    "sequence",
    "identity (",
    "generated ",
    "trigger",
    "references ",
    "default now",
];

/// The first forbidden word in a statement.
pub(super) fn in_statement(text: &str) -> Option<&'static str> {
    first(text, IN_STATEMENTS)
}

pub(super) fn in_migration(text: &str) -> Option<&'static str> {
    // Comments may say what they like.
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().starts_with("--")).collect();
    first(&lines.join("\n"), IN_MIGRATIONS)
}

fn first(text: &str, words: &[&'static str]) -> Option<&'static str> {
    let plain = text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    words.iter().copied().find(|word| {
        plain.match_indices(word).any(|(at, _)| {
            // A word counts where it begins: `customer_offset` is a name.
            let before = plain[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    })
}

#[test]
fn migrations_have_no_triggers_sequences_or_foreign_keys() {
    for migration in crate::migrate::WORKSPACE.iter().chain(crate::migrate::SYSTEM) {
        for text in [migration.sqlite, migration.postgres] {
            assert_eq!(in_migration(text), None, "migration {}", migration.name);
        }
    }
    assert_eq!(in_migration("create table t (id bigserial)"), None);
    assert_eq!(in_migration("create table t (id serial)"), Some("serial"));
    assert_eq!(in_migration("-- no trigger here\ncreate trigger t"), Some("trigger"));
}
