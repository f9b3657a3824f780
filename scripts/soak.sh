#!/usr/bin/env bash
# The long counts: 200 kills for each harness and engine, and a database that is away for a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
export TIDINGS_BIN="${CARGO_TARGET_DIR:-$PWD/target}/release/tidings"
export TIDINGS_KILLS="${TIDINGS_KILLS:-200}"
export TIDINGS_OUTAGE_SECS="${TIDINGS_OUTAGE_SECS:-60}"
scripts/postgres.sh cargo test --release --locked -p tidings-harness --no-fail-fast -- --test-threads=1 --nocapture
