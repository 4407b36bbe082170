# The only task runner. Each target is one line, or a script in ops/dev.

.PHONY: run nodes test lint deny fmt docs fuzz gate bench soak peers

run: ## Build and start the servers on embedded defaults.
	@cargo build --bin chat-server && exec ./target/debug/chat-server

nodes: ## Start NODES (3) servers on one PostgreSQL and one Redis.
	@ops/dev/nodes.sh

test: ## Set up what the tests need, then format, lint, documentation and tests.
	@ops/dev/test.sh

fmt: ## Format everything.
	cargo fmt --all

lint: ## Formatting, clippy and documentation, warnings refused.
	@ops/dev/lint.sh

deny: ## Licences, sources and bans of every dependency.
	@ops/dev/deny.sh

docs: ## Write docs/CONFIGURATION.md anew.
	cargo run --quiet --bin chat-server -- config --markdown > docs/CONFIGURATION.md

fuzz: ## Every fuzz target for FUZZ_SECONDS (30).
	@ops/dev/fuzz.sh

gate: ## What a message costs, in counts that do not depend on the machine.
	@ops/dev/gate.sh

bench: ## What is published in docs/PERFORMANCE.md, in ten minutes; ends with target, figure, verdict.
	@ops/dev/bench.sh

soak: ## The proof that nothing is lost, at full size: about forty minutes.
	@ops/dev/soak.sh

peers: ## Install the servers of others that are missing, and measure beside them: ten minutes.
	@ops/dev/peers.sh compare --report target/peers/compare.json
