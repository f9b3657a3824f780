# The few commands there are. Everything else is cargo and npm.

SHELL := bash
TIDINGS ?= target/release/tidings
export CARGO_TERM_COLOR ?= never

MINUTES ?= 10
SEED ?= 1

.PHONY: run build console deps test outside soak fuzz bench clean

## Build everything, console included, and run the demo on http://127.0.0.1:8080
run: build
	$(TIDINGS) demo

build: console
	cargo build --release --locked -p tidings --target-dir target

console: console/dist/index.html

console/dist/index.html: $(shell find console/src console/index.html console/package-lock.json console/vite.config.ts console/public -type f 2>/dev/null)
	cd console && npm ci --no-audit --no-fund && npm run build

## Install what the tests need, from Debian's packages and the registries, then run all of them
test: deps
	scripts/test.sh

## The part of the tests that kills, freezes and cuts off the real program, and drives the console
outside: deps console
	cargo build --release --locked -p tidings
	scripts/outside.sh

deps:
	scripts/deps.sh

## The long counts: hundreds of kills on each engine
soak: deps build
	scripts/soak.sh

## Spoilt input for every parser, for MINUTES together; another SEED makes other inputs
fuzz:
	cargo run --release --locked -p tidings-fuzz --bin fuzz -- $(MINUTES) $(SEED)

## The figures, each beside its limit; written to bench/results
bench: deps build
	scripts/postgres.sh cargo run --release --locked -p tidings-bench -- all

clean:
	cargo clean
	rm -rf console/dist console/node_modules
