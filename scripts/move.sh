#!/usr/bin/env bash
# Moves a hub with generated customers from SQLite to PostgreSQL and back, and shows that the checksums of all
# tables are equal on both. Prints the seconds and the size of each step.
#   scripts/postgres.sh scripts/move.sh [CUSTOMERS] [FOLDER]
# TIDINGS and TIDINGS_BENCH name the programs; without them the release builds of this tree are taken.
set -euo pipefail
customers=${1:-1000000}
folder=${2:-$(mktemp -d "${TMPDIR:-/tmp}/tidings-move.XXXXXX")}
mkdir -p "$folder"
target=${CARGO_TARGET_DIR:-target}
tidings=${TIDINGS:-$target/release/tidings}
bench=${TIDINGS_BENCH:-$target/release/tidings-bench}
: "${TIDINGS_TEST_POSTGRES:?run it by scripts/postgres.sh}"
unset TIDINGS_DATABASE_URL TIDINGS_MASTER_KEY_FILE TIDINGS_CONFIG
export TIDINGS_LOG=warn
name=move$$
url=${TIDINGS_TEST_POSTGRES%/*}/$name
psql -q "$TIDINGS_TEST_POSTGRES" -c "create database $name"

step() {
  local what=$1 begun
  shift
  begun=$(date +%s.%N)
  "$@"
  # The output of a step may go into a file.
  awk -v what="$what" -v from="$begun" -v to="$(date +%s.%N)" \
    'BEGIN { printf "%-28s %8.1f s\n", what, to - from }' >&2
}
lite=(--data-dir "$folder/sqlite")
post=(--data-dir "$folder/postgres" --database-url "$url")
back=(--data-dir "$folder/back")

"$bench" customers "$folder/people.csv" --rows "$customers" >/dev/null
"$tidings" workspace create Move "${lite[@]}" >/dev/null
step "import into SQLite" "$tidings" import "$folder/people.csv" --workspace move "${lite[@]}"
step "backup" "$tidings" backup "$folder/all.tidings" "${lite[@]}"
step "checksums on SQLite" "$tidings" checksum "${lite[@]}" >"$folder/sqlite.sums"
step "restore into PostgreSQL" "$tidings" restore "$folder/all.tidings" "${post[@]}"
step "checksums on PostgreSQL" "$tidings" checksum --against "$folder/sqlite.sums" "${post[@]}"
step "backup of PostgreSQL" "$tidings" backup "$folder/again.tidings" "${post[@]}"
step "restore into SQLite" "$tidings" restore "$folder/again.tidings" "${back[@]}"
step "checksums on SQLite again" "$tidings" checksum --against "$folder/sqlite.sums" "${back[@]}"
echo "archive $(stat -c %s "$folder/all.tidings") bytes, SQLite $(stat -c %s "$folder/sqlite/workspaces/w1.db") bytes"
echo "everything is in $folder"
