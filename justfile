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
    cargo build --release --workspace
    cargo run --release -q -p crm-admin -- bench {{args}}

# Throw the embedded database, mail and files away.
[confirm("Delete .crm with everything in it?")]
reset:
    rm -rf .crm
