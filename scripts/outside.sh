#!/usr/bin/env bash
# What drives the real program from outside: crashes, two nodes, outages, and the console in a
# browser. Needs the release build; `make outside` makes it first.
set -euo pipefail
cd "$(dirname "$0")/.."
export TIDINGS_BIN="${TIDINGS_BIN:-${CARGO_TARGET_DIR:-$PWD/target}/release/tidings}"
scripts/postgres.sh cargo test --locked -p tidings-harness --no-fail-fast -- --test-threads=1
(cd console && npm run --silent e2e)
