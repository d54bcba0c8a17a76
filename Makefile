# Conclave. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
BIN := bin/conclave
GO ?= go
export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help
.PHONY: help build web web-if-node agent-demo agent-simulate-collaboration workflow-collaborative workflow-multi-review workflow-consensus-planning \
	agent-list analytics-collaboration analytics-consensus-success agent-performance monitoring-agent-load optimize-agent-distribution \
	tune-consensus-thresholds monitoring-conversations quick-start-a2a quick-test-a2a stop test test-race check fmt-check vet lint docs-check bench

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-34s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use
build: web-if-node $(BIN) ## Build bin/conclave, with the page when Node is there

# Go's own cache knows what is up to date.
.PHONY: $(BIN)
$(BIN):
	@$(GO) build -buildvcs=false -ldflags '-s -w' -o $(BIN) ./cmd/conclave

web-if-node:
	@if ! command -v npm >/dev/null; then echo "npm is not installed: the page is left out; everything else works"; \
	elif [ ! -f web/dist/index.html ] || [ -n "$$(find web/src web/index.html web/package-lock.json -newer web/dist/index.html -print -quit)" ]; then $(MAKE) --no-print-directory web; fi

web: ## Build the page
	@cd web && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build

agent-demo: build ## Run the main job on a sample repository, live
	@scripts/demo.sh

agent-simulate-collaboration: build ## TASK="…": run a task on a fresh sample repository, live
	@scripts/demo.sh "$${TASK:?say TASK=\"what to do\"}"

workflow-collaborative: build ## TASK="…" [REPO=.]: plan, vote, build, review and merge
	@$(BIN) run "$${TASK:?say TASK=\"what to do\"}" --repo "$${REPO:-.}"

workflow-multi-review: build ## TASK="…" [REPO=.]: have the repository reviewed
	@$(BIN) review "$${TASK:-Review the repository}" --repo "$${REPO:-.}"

workflow-consensus-planning: build ## TASK="…" [REPO=.]: have a plan drafted, discussed and voted on
	@$(BIN) plan "$${TASK:?say TASK=\"what to do\"}" --repo "$${REPO:-.}"

agent-list: build ## List the agents of the running services
	@$(BIN) agents

monitoring-conversations: build ## Follow what the agents of the running services say
	@$(BIN) watch

analytics-collaboration: build ## Show how runs went, and who asked whom
	@$(BIN) analytics collaboration

analytics-consensus-success: build ## Show how votes went
	@$(BIN) analytics consensus

agent-performance: build ## Show how each agent did
	@$(BIN) agents performance

monitoring-agent-load: build ## Show what agents and queues have in hand
	@$(BIN) agents load

optimize-agent-distribution: build ## [APPLY=1]: propose how to spread agents over roles, by their load
	@$(BIN) tune agents $(if $(filter 1,$(APPLY)),--apply)

tune-consensus-thresholds: build ## [APPLY=1]: propose a consensus threshold, by what votes turned out to be worth
	@$(BIN) tune consensus $(if $(filter 1,$(APPLY)),--apply)

quick-start-a2a: build ## Start the services in the background, once
	@scripts/start.sh

quick-test-a2a: build ## Check the health of every running service
	@$(BIN) status

stop: ## Stop the services that quick-start-a2a started
	@scripts/stop.sh

##@ Develop
test: web-if-node ## Run all tests; those whose server is missing are skipped with the reason
	@scripts/test.sh

test-race: ## Run the tests of concurrent packages with the race detector
	@CGO_ENABLED=1 $(GO) test -race ./internal/lifecycle ./internal/store ./internal/hub ./internal/council ./internal/workflow ./internal/worktree ./internal/agentpool ./internal/a2awire ./internal/restwire

fmt-check:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt'ed:"; echo "$$out"; exit 1; fi

vet:
	@$(GO) vet ./...

lint:
	@$(GO) tool staticcheck ./...

check: fmt-check vet lint build test test-race agent-demo ## What CI runs

bench: build ## Measure, and print the machine's figures beside the limits
	@scripts/bench.sh
