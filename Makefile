# Every job of the project, by name. `make help` lists them.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MODULES     := wire broker workersdk clientsdk certtool integration
PREFIX      := github.com/servicetools/servicetools
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS     := -s -w -X $(PREFIX)/wire/version.stamped=$(VERSION)
COMMANDS    := ./broker/cmd/broker ./certtool/cmd/certtool ./clientsdk/cmd/zcall ./workersdk/cmd/demoworker
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
PACKAGES    := $(MODULES:%=./%/...)
# Narrow a run: make test PKG=./wire/... RUN=TestLink
PKG         ?= $(PACKAGES)
RUN         ?= .
MINUTES     ?= 10
FUZZTIME    ?= 30s
COUNT       ?= 6
# The images are servicetools/IMAGE:TAG, for the platform of the engine.
IMAGES      := broker demoworker zcall certtool demo
TAG         ?= dev
GOARCH      ?= $(shell go env GOARCH)
COMPOSE     ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
WORKERS     ?= 3

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets.
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Count the words of Go's own source on four encrypted workers.
	go run ./integration/cmd/demo -bin bin -dir .demo

.PHONY: build
build: ## Put static binaries into bin/.
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(COMMANDS)

.PHONY: images
images: ## Build the container images servicetools/...:dev, each one static binary.
	@docker info >/dev/null 2>&1 || { echo "images need a Docker engine: start one; docs/operations.md runs the programs without" >&2; exit 1; }
	rm -rf bin/image
	install -d -m 755 bin/image bin/image/text bin/image/keys bin/image/keys/public_keys
	install -d -m 700 bin/image/keys/private_keys
	CGO_ENABLED=0 GOOS=linux GOARCH=$(GOARCH) go build -trimpath -ldflags '$(LDFLAGS)' -o bin/image/ $(COMMANDS) ./integration/cmd/demo
	install -m 644 deploy/server.ini bin/image/
	for m in $(MODULES); do find $$m -name '*.go' -exec install -D -m 644 {} bin/image/text/{} \;; done
	for i in $(IMAGES); do out=$$(DOCKER_BUILDKIT=0 docker build --target $$i --label servicetools=$$i -t servicetools/$$i:$(TAG) -f deploy/Dockerfile bin/image 2>&1) \
	  || { echo "$$out"; exit 1; }; done
	docker image prune -f --filter label=servicetools >/dev/null # what the new ones replace
	@docker images --format '{{.Repository}}:{{.Tag}}  {{.Size}}' 'servicetools/*:$(TAG)'

.PHONY: up
up: images ## Start the compose cluster with WORKERS workers (default 3) and run the demo's job on it.
	$(COMPOSE) up -d --scale worker=$(WORKERS) broker worker
	$(COMPOSE) run --rm demo
	$(COMPOSE) exec -T broker /broker workers --config /etc/servicetools/server.ini

.PHONY: down
down: ## Stop the compose cluster and forget its keys.
	$(COMPOSE) down --volumes --remove-orphans

.PHONY: test
# The time limit ends what hangs. A busy host may take long.
test: deps budgets purego unraced ## Set up and run every test with the race detector.
	go test -race -timeout 30m -tags "$$(pkg-config --exists libczmq && echo czmq)" -run '$(RUN)' $(PKG)

.PHONY: budgets
budgets: ## Run the tests that count allocations, which the race detector would hide.
	$(if $(filter-out ./integration/%,$(PKG)),go test -run 'llocat' $(filter-out ./integration/%,$(PKG)))

.PHONY: purego
purego: ## Run the tests of package curve without assembly.
	$(if $(filter ./wire/%,$(PKG)),go test -tags purego ./wire/curve/...)

.PHONY: unraced
unraced: ## Run the tests of package zmtp with the system calls that it leaves to package syscall under the race detector.
	$(if $(filter ./wire/%,$(PKG)),go test ./wire/zmtp)

.PHONY: soak
soak: ## Break a running system in every way, mixed, for MINUTES (default 10).
	go test -count=1 -timeout 0 -run TestSoak -v ./integration/chaos -soak $(MINUTES)m

.PHONY: deps
deps: ## Install what the tests need from the operating system (Debian, root).
	scripts/test-deps.sh

.PHONY: lint
lint: ## Check format, vet on every platform, staticcheck, and the repository's own rules.
	@unformatted=$$(gofmt -l $(MODULES)); [ -z "$$unformatted" ] || { echo "gofmt would change: $$unformatted"; exit 1; }
	go vet $(PACKAGES)
	for os in darwin windows; do GOOS=$$os CGO_ENABLED=0 go vet $(filter-out ./integration/...,$(PACKAGES)); done
	status=0; for m in $(MODULES); do (cd $$m && go run $(STATICCHECK) ./...) || status=1; done; exit $$status
	go test -count=1 ./integration/rules

.PHONY: platforms
platforms: ## Build everything for Linux, macOS and Windows on amd64 and arm64.
	for os in linux darwin windows; do for arch in amd64 arm64; do \
	  echo "$$os/$$arch"; CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -o /dev/null $(filter-out ./integration/...,$(PACKAGES)); done; done

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME each (default 30s).
	scripts/fuzz.sh $(FUZZTIME)

.PHONY: cover
cover: deps ## Write the coverage of all tests to coverage/index.html.
	mkdir -p coverage
	go test -coverpkg=$$(echo $(filter-out ./integration/...,$(PACKAGES)) | tr ' ' ',') -coverprofile=coverage/all.out $(PACKAGES)
	go tool cover -html=coverage/all.out -o coverage/index.html
	go tool cover -func=coverage/all.out | tail -1

.PHONY: bench
bench: bin/bench ## Measure the broker beside libzmq, NATS, pyzmq and gRPC; FULL=1: every cell; BASE=main: that commit, too; ARGS=-help.
	base=$(if $(BASE),$$(scripts/build-at.sh $(BASE))); bin/bench -version '$(VERSION)' -json bin/bench.json $(if $(FULL),-full) $${base:+-base $$base} $(ARGS)

.PHONY: bin/bench
bin/bench: build
	CGO_ENABLED=0 go build -trimpath -o bin/ ./integration/cmd/bench

.PHONY: performance
performance: bin/bench ## Put the results of the last make bench into docs/performance.md.
	bin/bench -show bin/bench.json -page docs/performance.md >/dev/null

.PHONY: microbench
microbench: ## Run the benchmarks that lie beside the code; narrow them with PKG and RUN.
	go test -run '^$$' -bench '$(RUN)' -benchmem $(PKG)

.PHONY: benchstat
benchstat: ## Compare these benchmarks with those of the commit BASE (default main), in COUNT rounds.
	scripts/benchstat.sh $(or $(BASE),main) $(COUNT) '$(RUN)' $(PKG)

.PHONY: licenses
licenses: ## List the licence of every dependency of the binaries.
	scripts/licenses.sh $(COMMANDS)

.PHONY: tidy
tidy: ## Run go mod tidy in every module; the siblings are replaced only meanwhile.
	scripts/tidy.sh $(MODULES)
