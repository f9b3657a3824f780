#!/usr/bin/env bash
# Starts a throw-away PostgreSQL cluster for tests and runs the given command with
# TIDINGS_TEST_POSTGRES set to it; stops the cluster afterwards.
#   scripts/postgres.sh COMMAND…
set -euo pipefail
bin=${POSTGRES_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)}
if [ -z "$bin" ] || [ ! -x "$bin/initdb" ]; then
  echo "PostgreSQL's server is not installed; run 'make deps' first" >&2
  exit 1
fi
folder=$(mktemp -d "${TMPDIR:-/tmp}/tidings-postgres.XXXXXX")
port=${TIDINGS_TEST_POSTGRES_PORT:-$((20000 + RANDOM % 20000))}
as_owner() { "$@"; }
if [ "$(id -u)" = 0 ]; then
  # The server refuses to run as root.
  chown postgres "$folder"
  as_owner() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
fi
export LC_ALL=C.UTF-8
as_owner "$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 >"$folder/initdb.log" 2>&1 \
  || { cat "$folder/initdb.log" >&2; exit 1; }
as_owner "$bin/pg_ctl" -D "$folder/data" -w -l "$folder/data/server.log" start -o "\
 -p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder/data \
 -c max_connections=400 -c shared_buffers=256MB -c max_wal_size=4GB -c max_locks_per_transaction=1024" \
  >/dev/null || { cat "$folder/data/server.log" >&2; exit 1; }
stop() {
  as_owner "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$folder"
}
trap stop EXIT
export TIDINGS_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/postgres"
"$@"
