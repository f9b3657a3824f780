#!/usr/bin/env bash
# Holds the API against its own OpenAPI document with schemathesis: generated calls, right and wrong
# ones, with a token and without, to a program that runs on its own data. No answer may be a fault of
# ours (5xx), and each must have a status, a content type and a shape that the document names.
#   scripts/openapi.sh        uses TIDINGS_BIN; TIDINGS_DATABASE_URL for PostgreSQL instead of SQLite
# TIDINGS_EXAMPLES says how many calls of each operation are made up (15 unless given), TIDINGS_SEED
# which ones.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
program=${TIDINGS_BIN:-$target/release/tidings}
# Installed once; another version makes other calls, so it is a given one.
version=4.32.5
tools="$target/tools/schemathesis-$version"
if [ ! -x "$tools/bin/schemathesis" ]; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install -q --disable-pip-version-check "schemathesis==$version"
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/tidings-openapi.XXXXXX")
export TIDINGS_DATA_DIR="$folder/data"
"$program" workspace create One >/dev/null 2>&1
"$program" apply examples/shop --workspace one >/dev/null 2>&1
token=$("$program" token create --workspace one 2>/dev/null | tail -n 1)
port=$((20000 + RANDOM % 20000))
"$program" serve --listen "127.0.0.1:$port" >"$folder/log" 2>&1 &
served=$!
stop() {
  code=$?
  kill "$served" 2>/dev/null || true
  wait "$served" 2>/dev/null || true
  [ "$code" -eq 0 ] || tail -n 20 "$folder/log" >&2
  rm -rf "$folder"
}
trap stop EXIT
for _ in $(seq 300); do
  curl -sf -o /dev/null "http://127.0.0.1:$port/readyz" && break
  sleep 0.1
done
# Its own token is not to be taken from it, and no test may change who may sign in.
# It leaves a folder of its own where it runs.
config="$PWD/scripts/openapi.toml"
cd "$folder"
"$tools/bin/schemathesis" --config-file "$config" run "http://127.0.0.1:$port/v1/openapi.json" \
  --header "Authorization: Bearer $token" \
  --exclude-path '/v1/tokens/{id}' \
  --phases examples,coverage,fuzzing,stateful --max-examples "${TIDINGS_EXAMPLES:-15}" \
  --seed "${TIDINGS_SEED:-1}" --generation-database none --no-color --no-shrink \
  --continue-on-failure --warnings off --report-dir "$folder/report" \
  >"$folder/said" || { cat "$folder/said"; exit 1; }
grep -A 3 '^Test cases' "$folder/said"
