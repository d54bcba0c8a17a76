# Conclave. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
BIN := bin/conclave
GO ?= go
export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help

# $(call need,NAME,EXAMPLE) ends a target when its variable is missing or blank.
need = @[[ "$${$(1):-}" =~ [^[:space:]] ]] || { echo '$@ needs $(1); say: make $@ $(2)' >&2; exit 2; }
# Proposals are written with APPLY=1 and nothing else.
apply = $(if $(filter-out 1,$(APPLY)),$(error APPLY=$(APPLY): say APPLY=1 to write the proposal, or leave it out to see it),$(if $(APPLY),--apply))
# Every target that make help lists is a command, not a file.
.PHONY: $(shell awk -F: '/^[a-z0-9-]+:.*\#\# / {print $$1}' $(MAKEFILE_LIST)) fmt-check vet lint

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
	$(call need,TASK,TASK="what to do")
	@scripts/demo.sh "$$TASK"

workflow-collaborative: build ## TASK="…" [REPO=.]: plan, vote, build, review and merge
	$(call need,TASK,TASK="what to do")
	@$(BIN) run "$$TASK" --repo "$${REPO:-.}"

workflow-multi-review: build ## TASK="…" [REPO=.]: have the repository reviewed
	@$(BIN) review "$${TASK:-Review the repository}" --repo "$${REPO:-.}"

workflow-consensus-planning: build ## TASK="…" [REPO=.]: have a plan drafted, discussed and voted on
	$(call need,TASK,TASK="what to do")
	@$(BIN) plan "$$TASK" --repo "$${REPO:-.}"

agent-list: build ## List the agents of the running services
	@$(BIN) agents

agent-register: build ## AGENT_TYPE=role AGENT_NAME=name: add an agent, which then gets work; or AGENT_URL=card [AGENT_ROLE=role TRUST=1 ALLOW_PRIVATE=1]
ifeq ($(AGENT_URL),)
	$(call need,AGENT_TYPE,AGENT_TYPE=developer AGENT_NAME=a-name)
	$(call need,AGENT_NAME,AGENT_TYPE=developer AGENT_NAME=a-name)
	@$(BIN) agents register --type "$$AGENT_TYPE" --name "$$AGENT_NAME"
else
	@$(BIN) agents register "$$AGENT_URL" --name "$${AGENT_NAME:-}" --role "$${AGENT_ROLE:-}" $(if $(filter 1,$(TRUST)),--trust) $(if $(filter 1,$(ALLOW_PRIVATE)),--allow-private)
endif

agent-consensus: build ## ITEM="…" [CONVERSATION_ID=…]: have the agents vote on a question
	$(call need,ITEM,ITEM="what to decide")
	@$(BIN) decide "$$ITEM" --conversation "$${CONVERSATION_ID:-}"

monitoring-conversations: build ## [CONVERSATION_ID=…]: follow what the agents of the running services say
	@if [ -n "$${CONVERSATION_ID:-}" ]; then $(BIN) conversation follow "$$CONVERSATION_ID"; else $(BIN) watch; fi

analytics-collaboration: build ## Show how runs went, and who asked whom
	@$(BIN) analytics collaboration

analytics-consensus-success: build ## Show how votes went
	@$(BIN) analytics consensus

agent-performance: build ## Show how each agent did
	@$(BIN) agents performance

monitoring-agent-load: build ## Show what agents and queues have in hand
	@$(BIN) agents load

optimize-agent-distribution: build ## [APPLY=1]: propose how to spread agents over roles, by their load
	@$(BIN) tune agents $(apply)

tune-consensus-thresholds: build ## [APPLY=1]: propose a consensus threshold, by what votes turned out to be worth
	@$(BIN) tune consensus $(apply)

quick-start-a2a: build ## Start the services in the background, once
	@scripts/start.sh

quick-test-a2a: build ## Check every running service, an exchange between agents, and a vote
	@$(BIN) status
	@$(BIN) prove message_send task_get decide ballot_cast decision_get

stop: ## Stop the services that quick-start-a2a started
	@scripts/stop.sh

prove: build ## Call everything through each of its faces, and check what it did by another path
	@$(BIN) prove

##@ Operate
dev: build ## Start the development environment: in containers where there is Docker, else here in the background
	@scripts/stack.sh dev

dev-logs: ## Follow the log of the services
	@scripts/stack.sh logs

restart: build ## Start the services again, with the settings of now
	@scripts/stack.sh restart

prod: build ## Start the production environment: in containers where there is Docker, else here in the background
	@scripts/stack.sh prod

prod-scale-agents: build ## [AGENT_POOL_SIZE=50]: run more agents
	@scripts/stack.sh scale

prod-backup-a2a: build ## [FILE=…]: back up the database and the keys, restore it somewhere else, and compare
	@$(BIN) backup "$${FILE:-conclave-backup-$$(date -u +%Y%m%dT%H%M%SZ).tar.gz}" --check

monitoring-a2a: build ## Print where the dashboards are
	@scripts/stack.sh dashboards

debug-agent-states: build ## Show each agent's state, load, address and when it was last heard of
	@$(BIN) agents --wide

debug-a2a-messages: build ## Show the last messages between agents and what became of each
	@$(BIN) messages

debug-conversation-flow: build ## [CONVERSATION_ID=… [AS_OF=…]]: show who said what to whom, and how long answers took; as of a time, or so long ago
	@if [ -n "$${AS_OF:-}" ]; then $(BIN) conversation replay "$${CONVERSATION_ID:?say CONVERSATION_ID=which}" --as-of "$$AS_OF"; else $(BIN) conversation "$${CONVERSATION_ID:-}"; fi

debug-redis-keys: build ## Show what the bus keeps in Redis, when Redis is the bus
	@$(BIN) debug redis-keys

debug-database-stats: build ## Count the rows of the database, and show its size
	@$(BIN) debug database

dev-redis-monitor: build ## Follow what goes through Redis, when Redis is the bus
	@$(BIN) debug redis-monitor

dev-kafka-console: build ## Follow what goes through Kafka, when Kafka is the bus
	@$(BIN) debug kafka-console

##@ Develop
test: build ## Run all tests; those whose server is missing are skipped with the reason
	@scripts/test.sh

test-a2a: ## Test how agents communicate
	@$(GO) test ./internal/a2awire ./internal/hub ./internal/agentpool ./examples/conformance-agent

a2a-tck: ## A2A_TCK=checkout [A2A_TCK_03=checkout]: run the official A2A TCK, directly and through the hub
	@scripts/a2a-tck.sh

test-collaboration: ## Test how agents work together on a run
	@$(GO) test ./internal/agent ./internal/workflow ./internal/worktree ./internal/plan

test-consensus: ## Test how votes are cast, counted and decided
	@$(GO) test ./internal/consensus ./internal/council

test-escalation: ## Test what becomes of a vote that does not decide
	@$(GO) test -run 'Ladder|TakenOver' -v ./internal/council

test-agent-performance: ## Load test: 120 agents of one process at once
	@$(GO) test -count=1 -tags load -run TestManyAgents -v ./cmd/conclave

test-race: ## Run the tests of concurrent packages with the race detector
	@CGO_ENABLED=1 $(GO) test -race ./internal/lifecycle ./internal/bus ./internal/registry ./internal/store ./internal/hub ./internal/council ./internal/workflow ./internal/worktree ./internal/agentpool ./internal/a2awire ./internal/restwire

fmt-check:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt'ed:"; echo "$$out"; exit 1; fi

vet:
	@$(GO) vet ./... && $(GO) -C deploy/validate vet ./...

lint:
	@$(GO) tool staticcheck ./...

picture: build ## Take the pictures of a real run for the documents, in headless Chromium
	@scripts/picture.sh

api-docs: build ## Write docs/api from what the program says of itself
	@$(GO) run ./scripts/apidoc $(BIN) docs/api

seed: ## [EXCEPT=target,…]: run every command of the page that Conclave was started from, in a fresh clone
	@$(GO) run ./scripts/seed -except "$${EXCEPT:-}"

check: fmt-check vet lint build test test-race prove agent-demo ## What CI runs

security-scan: build ## [DIR=.]: look for vulnerable dependencies, insecure code and secrets
	@$(BIN) security-scan "$${DIR:-.}"

update-deps: ## Take newer versions of Go and npm dependencies, then build and vet
	@$(GO) get -u=patch -t ./... && $(GO) mod tidy && $(GO) build -buildvcs=false ./... && $(GO) vet ./...
	@if command -v npm >/dev/null; then cd web && npm update --no-audit --no-fund --loglevel=error; else echo "npm is not installed: the page's dependencies stay"; fi
	@git --no-pager diff --stat -- go.mod go.sum web/package.json web/package-lock.json

setup: ## Fetch what building needs, and tell what is missing on this machine
	@$(GO) mod download
	@if command -v npm >/dev/null; then cd web && npm ci --no-audit --no-fund --loglevel=error; fi
	@$(MAKE) --no-print-directory build
	@$(BIN) doctor

bench: build ## Measure, and print the machine's figures beside the limits
	@scripts/bench.sh
