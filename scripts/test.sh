#!/usr/bin/env bash
# All tests that belong in CI, in the order that finds faults soonest.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_INCREMENTAL=0
step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

step "console: build, types and units"
make -s console
(cd console && npm run --silent check && npm test --silent)

step "format"
cargo fmt --check

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "tidy"
cargo run --locked -q -p xtask -- tidy

step "tests, with PostgreSQL"
scripts/postgres.sh cargo test --workspace --locked --exclude tidings-harness --no-fail-fast

step "release build"
cargo build --release --locked -p tidings

step "the program from outside: crashes, two nodes, outages, its OpenAPI document, the console in a browser"
scripts/outside.sh

step "done"
