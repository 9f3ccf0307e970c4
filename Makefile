.DEFAULT_GOAL := help
.PHONY: help build release run test lint versions sim differential compat bench chaos fuzz clean

SEEDS     ?= 10000
FUZZTIME  ?= 10s
LENGTH    ?= 5m
VERSION   ?= $(shell git describe --tags --always --dirty)
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
DIST      ?= dist
# Nothing of the machine, the folder or the time goes into a release: whoever builds it again gets the same bytes.
RELEASE    = -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X main.release=$(VERSION)'

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## build bin/lockproxy
	CGO_ENABLED=0 go build -trimpath -o bin/lockproxy ./cmd/lockproxy

release: ## build the static binaries of VERSION for every system into dist/, with their checksums
	@mkdir -p $(DIST)
	@for platform in $(PLATFORMS); do \
		file=lockproxy-$(VERSION)-$${platform%/*}-$${platform#*/}; \
		echo "$(DIST)/$$file"; \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} go build $(RELEASE) -o $(DIST)/$$file ./cmd/lockproxy || exit 1; \
	done
	@cd $(DIST) && sha256sum lockproxy-$(VERSION)-* >SHA256SUMS

run: ## start a throw-away PostgreSQL and lockproxy before it (Ctrl-C ends both)
	@test/install.sh postgres
	@$(MAKE) --no-print-directory build
	@exec bin/lockproxy run

test: ## run all checks and tests, installing what they need
	@test/install.sh postgres compiler node exporter strace
	@test/install.sh psycopg || echo "psycopg cannot be installed: its tests are left out"
	@$(MAKE) --no-print-directory test/node_modules lint
	@$(MAKE) --no-print-directory versions
	@test/run.sh

lint: ## check format, go vet and staticcheck
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted by gofmt:" $$unformatted; exit 1; }
	go vet ./...
	go tool staticcheck ./...

versions: ## run a core of the tests against PostgreSQL 13 and 18, where npm has them
	@test/install.sh node postgres-versions
	@$(MAKE) --no-print-directory test/node_modules
	@test/versions.sh

sim: ## run the simulation with SEEDS=n seeds
	SIM_SEEDS=$(SEEDS) go test ./test/sim -count=1 -timeout 0 -v

differential: ## compare SEEDS=n random conversations with those with the server itself
	go test ./test/differential -run Conversations -count=1 -timeout 0 -conversations=$(SEEDS) -seed=0 -once -within=0 -v

compat: ## run drivers, their suites, PostgreSQL's, migration tools and job queues through lockproxy (ONLY=name)
	@test/install.sh postgres compiler node
	go run ./test/compat -only '$(ONLY)'

bench: ## compare speed and memory with PgBouncer's (QUICK=1: in three minutes, ONLY=name: some rows)
	@test/install.sh postgres
	@go run ./test/bench $(if $(QUICK),-quick) -only '$(ONLY)'

chaos: ## run applications for five minutes while everything around lockproxy fails (LENGTH=5m)
	@test/install.sh postgres
	@go run ./test/chaos -for $(LENGTH)

fuzz: ## run every fuzz target for FUZZTIME (10s)
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

clean: ## remove what the other targets made
	rm -rf bin dist test/node_modules

test/node_modules: test/package.json test/package-lock.json
	cd test && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@
