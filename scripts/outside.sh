#!/usr/bin/env bash
# What drives the real program from outside: crashes, two nodes, outages, the API against its own
# document, and the console in a browser. Needs the release build; `make outside` makes it first.
set -euo pipefail
cd "$(dirname "$0")/.."
export TIDINGS_BIN="${TIDINGS_BIN:-${CARGO_TARGET_DIR:-$PWD/target}/release/tidings}"
scripts/postgres.sh cargo test --locked -p tidings-harness --no-fail-fast -- --test-threads=1
scripts/openapi.sh
TIDINGS_EXAMPLES=5 TIDINGS_SEED=2 scripts/postgres.sh \
  bash -c 'TIDINGS_DATABASE_URL=$TIDINGS_TEST_POSTGRES scripts/openapi.sh'
(cd console && npm run --silent e2e)
