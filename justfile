# What a person types more than once. `just` alone lists it.

default:
    @just --list

# Start the CRM on its embedded database.
run:
    cargo run

# All tests.
test *args:
    cargo test --workspace {{args}}

# What a change must pass before it lands.
ci:
    .ci/run

# Format, then lint with warnings denied.
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings

# Any operator's command: `just admin doctor`.
admin *args:
    cargo run -q -p crm-admin -- {{args}}

# Demonstration data: `just seed --orgs 2 --leads 1000`.
seed *args:
    cargo run -q -p crm-admin -- seed {{args}}

# Regenerate the diesel tables from the migrations.
schema:
    cargo run -q -p crm-admin -- schema-rs > target/schema.rs
    cp target/schema.rs crates/crm-schema/src/lib.rs
    cargo fmt -p crm-schema

# A new migration: `just migration create_accounts`.
migration name:
    mkdir -p "migrations/$(date -u +%Y-%m-%d-%H%M%S)_{{name}}"
    cd migrations/*_{{name}} && touch up.sql down.sql && pwd

# Is every tenant table protected?
rls:
    cargo run -q -p crm-admin -- manage-rls --test

# Measure against pgbench on the same server, with a million leads; prints the table of docs/performance.md.
bench *args:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release -p crm-api -p crm-admin
    export CRM_DATA_DIR=target/bench CRM_BIND=127.0.0.1:8099 RUST_LOG=warn
    target/release/crm-api >target/bench.log 2>&1 &
    trap 'kill $!; wait' EXIT
    until (exec 3<>/dev/tcp/127.0.0.1/8099) 2>/dev/null; do kill -0 $! || { cat target/bench.log; exit 1; }; sleep 0.2; done
    target/release/crm-admin bench {{args}}

# Throw the embedded database, mail and files away.
[confirm("Delete .crm with everything in it?")]
reset:
    rm -rf .crm
