# The daily commands; `just` lists them.

_default:
    @just --list

# Compile everything, the tests included
check:
    cargo check --locked --workspace --all-targets

# Formats and lints, as in CI
lint:
    cargo fmt --check
    cargo clippy --locked --workspace --all-targets -- -D warnings

# The tests of one area: model, pipeline, sidecar, offline, faults, gpus, monitoring, allocations
test area *filter:
    cargo test --locked --workspace --test {{area}} -- {{filter}}

# The unit tests of all crates, for example `just unit gpu`
unit *filter:
    cargo test --locked --workspace --lib -- {{filter}}

# Everything that CI runs
test-all:
    tests/run.sh

# Chart, kustomize, image: all, or one of tests/deploy (such as test_chart)
deploy *module:
    tests/deploy.sh {{module}}

# The same in a real control plane (builds Kubernetes once), for example `just control-plane test_pods`
control-plane *module:
    tests/control-plane.sh {{module}}

# The demo: http://127.0.0.1:10860/
demo:
    cargo run --release -- demo

# Rewrite the generated files: docs/metrics.md, tests/golden, dashboards
generate:
    UPDATE_GOLDEN=1 cargo test --locked --workspace --test pipeline -- contract golden
    cargo run --locked --example dashboards

# Measure the cost compared with peers (ten minutes, a quiet machine)
bench:
    benches/run.sh
