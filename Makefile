# What developing and trying Waybill needs. `make run` and `make test` bring what they need themselves; `make help` lists
# everything.

# Shown by `waybill version` and in the dashboard. Outside of a git checkout there is no version.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# Tools are pinned: a new version finds new things, which is a change of its own. They are kept out of go.mod, for their
# dependencies would otherwise choose the versions of ours.
GOLANGCI_VERSION    := v2.15.0
GOVULNCHECK_VERSION := v1.8.0
GOLANGCI    := bin/golangci-lint-$(GOLANGCI_VERSION)

.DEFAULT_GOAL := help

.PHONY: help
help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

.PHONY: run
run: build ## builds Waybill and runs it with a private PostgreSQL in ./data
	@scripts/ensure-postgres.sh
	@exec bin/waybill serve

# The version is given here, so Go need not ask git for it, which refuses in a checkout that belongs to somebody else.
.PHONY: build
build: ## builds bin/waybill
	go build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/waybill .

.PHONY: test
test: ## runs all tests: Go with the race detector, a published client, then the browser journeys
	@scripts/test.sh go sdk browser

.PHONY: test-go
test-go: ## runs the Go tests; PKG=./jobs/... for some, ARGS='-run Retry -v' for more
	@scripts/test.sh go

.PHONY: test-faults
test-faults: ## runs the tests that take long: kill -9 for three minutes, a stopped database, a full disk, moved clocks, a deploy
	@scripts/test.sh faults

.PHONY: test-sdk
test-sdk: ## runs published clients against a real server
	@scripts/test.sh sdk

.PHONY: test-browser
test-browser: ## runs the browser journeys
	@scripts/test.sh browser

.PHONY: test-brokers
test-brokers: ## runs the tests against real brokers and other counterparts, bringing those that can be had
	@scripts/test-brokers.sh $(BROKERS)

.PHONY: test-deploy
test-deploy: ## tries what ships: a release made twice, its packages under systemd, proxies, image, Compose, chart; PARTS=check for some
	@scripts/test-deploy.sh $(PARTS)

.PHONY: release
release: ## makes a release of the last commit in dist/, the same to the byte each time; VERSION=v1.2.3 without a tag
	@$(if $(filter command line,$(origin VERSION)),VERSION=$(VERSION),env -u VERSION) scripts/release.sh

.PHONY: compare-bench
compare-bench: ## compares this build's figures with those of an earlier one: BASE=commit, else the last tag or the commit before
	node scripts/compare-bench.mjs $(BASE)

.PHONY: bench
bench: build ## measures throughput and latency on this machine; ARGS are passed on
	@scripts/ensure-postgres.sh
	@scripts/bench.sh $(ARGS)

.PHONY: lint
lint: $(GOLANGCI) ## checks format and code, for macOS too, and known vulnerabilities
	@scripts/check-format.sh
	$(GOLANGCI) run
	GOOS=darwin go vet ./internal/postgres/...
	@scripts/check-vulnerabilities.sh $(GOVULNCHECK_VERSION)

$(GOLANGCI):
	GOBIN='$(CURDIR)/bin' go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv bin/golangci-lint $@

.PHONY: fuzz
fuzz: ## runs every fuzz target for FUZZTIME (60s) each; TARGETS='Cursor URL' for some, FUZZPART=2/6 for a sixth of them
	@scripts/fuzz.sh $(TARGETS)

.PHONY: fuzz-api
fuzz-api: ## makes random requests by openapi.json for FUZZTIME (5m); SEED=1234 makes the same ones again
	@scripts/test.sh random

.PHONY: vuln
vuln: ## checks the code against the list of known vulnerabilities, where that can be reached; says so where it cannot
	@scripts/check-vulnerabilities.sh $(GOVULNCHECK_VERSION)

.PHONY: licenses
licenses: ## checks the licences of what is in the program, and THIRD-PARTY-NOTICES.txt; ARGS=-write makes that anew
	@scripts/npm-packages.sh all
	@cd deploy/release && go run ./licenses $(ARGS) ../..

.PHONY: generate
generate: ## makes the generated files anew: templates, stylesheet, vendored scripts, list of destination types
	@scripts/generate.sh

.PHONY: verify
verify: ## fails when a generated file is not what its sources make
	@scripts/verify.sh

.PHONY: clean
clean: ## removes what was built; ./data and node_modules stay
	rm -rf bin
