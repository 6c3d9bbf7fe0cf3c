# What a person types. `make` alone lists it.

SECONDS := 30
TOOLS := tests/support/setup.sh
# Live tests mostly wait, so more of them run side by side than there are cores.
TEST_THREADS := 8
# Those that keep programs querying run two at a time; `.config/nextest.toml` says the same.
LOAD := examples:: kills:: recipes:: rotation:: faults::
SERVED := --lib --bins --test effects --test live
PYTHON := target/tools/venv/bin/python
TARGET := $(or $(CARGO_TARGET_DIR),target)
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)

.PHONY: help demo recipes load test soak versions fuzz bench check size image image-debug tools
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## watch credentials rotate under two programs; SECONDS=30 says how long
	@$(TOOLS) servers
	@cargo build --quiet --bin leasehold
	@$(PYTHON) examples/demo/demo.py --binary $(TARGET)/debug/leasehold --seconds $(SECONDS)

ROTATIONS := 10

recipes: ## a program of each stack while its login rotates; ROTATIONS=10 says how often
	@$(TOOLS) servers recipes
	@cargo build --quiet --bin leasehold
	@for mode in '' --exec; do \
		$(PYTHON) tests/recipes/recipes.py --binary $(TARGET)/debug/leasehold \
			--rotations $(ROTATIONS) $$mode || exit 1; \
	done

# Requests a second to each service.
RATE := 200

load: ## two example services under load while logins rotate; ROTATIONS=10, RATE=200, PICTURE=file.svg
	@$(TOOLS) servers apps
	@cargo build --quiet --bin leasehold
	@$(PYTHON) tests/load/load.py --binary $(TARGET)/debug/leasehold --nestjs target/apps/nestjs \
		--output $(TARGET)/load --rotations $(ROTATIONS) --rate $(RATE) \
		$(if $(PICTURE),--picture $(PICTURE))

# What computes goes first, and alone: beside it the servers of the others would answer late.
test: image-debug ## every test, against an OpenBao and a PostgreSQL of its own
	@$(TOOLS) servers node apps recipes
ifdef NEXTEST
	@cargo nextest run --no-run
	@cargo nextest run -E 'binary(core)'
	@tests/support/servers.py -- \
		cargo nextest run --test-threads $(TEST_THREADS) -E 'not binary(core)'
else
	@cargo test --no-run
	@cargo test --test core
	@tests/support/servers.py -- timeout 900 cargo test $(SERVED) -- \
		--test-threads $(TEST_THREADS) $(addprefix --skip ,$(LOAD))
	@tests/support/servers.py -- timeout 900 cargo test $(SERVED) -- --test-threads 2 $(LOAD)
endif

# Trials that live for minutes, most of it waiting.
SOAK_THREADS := 4
SOAK_REPORT := $(abspath $(TARGET))/soak.tsv

soak: ## half an hour: every fault under load, and a million rotations in simulated time
	@$(TOOLS) servers node
	@rm -f $(SOAK_REPORT)
ifdef NEXTEST
	@cargo nextest run --no-run
	@LEASEHOLD_TEST_REPORT=$(SOAK_REPORT) tests/support/servers.py -- \
		cargo nextest run --profile soak --test live --run-ignored only \
		--test-threads $(SOAK_THREADS) -E 'test(faults::)' \
		; code=$$?; tests/support/report.py $(SOAK_REPORT); exit $$code
else
	@cargo test --no-run
	@LEASEHOLD_TEST_REPORT=$(SOAK_REPORT) tests/support/servers.py -- timeout 3600 \
		cargo test --test live faults:: -- --ignored --test-threads $(SOAK_THREADS) \
		; code=$$?; tests/support/report.py $(SOAK_REPORT); exit $$code
endif
	LEASEHOLD_SIM_ROTATIONS=$${LEASEHOLD_SIM_ROTATIONS:-1000000} \
		cargo test --test core -- --nocapture promises_hold_in_every_weather

versions: ## bootstrap and its proof on PostgreSQL 16, 17 and 18, beside Debian's
	@$(TOOLS) servers versions
	@cargo test --no-run --test live
	@for version in 16 17 18; do \
		echo "PostgreSQL $$version"; \
		LEASEHOLD_TEST_POSTGRES=$(CURDIR)/target/tools/postgres/$$version/bin \
			tests/support/servers.py -- cargo test --test live -- bootstrap:: rotation:: \
			--test-threads 4 || exit 1; \
	done

# libFuzzer with the stable compiler: what it needs is in `tests/fuzz/instrument.sh`. The lock file is
# that of the program, so that the same dependencies are fuzzed.
FUZZ := config hook render state template vault
FUZZ_DIR := target/fuzz

fuzz: ## each fuzzer for SECONDS=600; what crashes belongs into tests/fuzz/corpus
	@cp Cargo.lock tests/fuzz/Cargo.lock
	@RUSTC_WRAPPER=$(CURDIR)/tests/fuzz/instrument.sh cargo build --quiet --release \
		--manifest-path tests/fuzz/Cargo.toml --target-dir $(FUZZ_DIR)
	@for target in $(FUZZ); do \
		echo "fuzzing $$target for $(SECONDS) s"; \
		mkdir -p $(FUZZ_DIR)/corpus/$$target $(FUZZ_DIR)/tmp; \
		TMPDIR=$(CURDIR)/$(FUZZ_DIR)/tmp LEASEHOLD_FUZZ=$$target $(FUZZ_DIR)/release/fuzz \
			-max_total_time=$(SECONDS) -timeout=20 -print_final_stats=1 -verbosity=1 \
			-artifact_prefix=$(FUZZ_DIR)/$$target- \
			$(FUZZ_DIR)/corpus/$$target tests/fuzz/corpus/$$target \
			|| exit 1; \
	done

check: ## format, lints, documentation, and what the dependencies may be
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --document-private-items
	@$(TOOLS) deny
	target/tools/bin/cargo-deny --log-level error check bans licenses sources

# As it is shipped: static, since only the last step of linking can be told so, and with its
# relocations packed.
RELEASE := cargo rustc --release --bin leasehold -- \
	-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs

size: ## build the release binary; it stays below 10 MB, and at rest below 10 MiB of memory
	@$(TOOLS) servers
	$(RELEASE)
	@$(PYTHON) tests/support/size.py $(TARGET)/release/leasehold

# Only its last link differs from the program that is tested, so that this takes seconds.
image-debug:
	@$(TOOLS) image
	@cargo rustc --quiet --bin leasehold -- -C target-feature=+crt-static
	@tests/support/image.sh last $(TARGET)/debug/leasehold target/image-debug >/dev/null

image: ## build the image, with this machine in place of Rust's; below 10 MB, and it serves
	@$(TOOLS) servers image
	tests/support/image.sh whole target/image
	@cargo test --no-run --test live
	LEASEHOLD_TEST_IMAGE=$(abspath target/image) tests/support/servers.py -- \
		cargo test --test live image::

bench: ## beside `bao agent`, with targets; QUICK=1 is shorter, FLEET=200 starts so many at once
	@$(TOOLS) servers
	$(RELEASE)
	@$(PYTHON) tests/bench/bench.py $(TARGET)/release/leasehold \
		$(if $(QUICK),--quick) $(if $(FLEET),--fleet $(FLEET))

tools: ## install what the others need: OpenBao, PostgreSQL, buildah, cargo-deny
	@$(TOOLS) servers image node apps recipes deny
