#!/usr/bin/env bash
# Runs all tests with the race detector, but for the random conversations, of which it would leave time for half, and most seeds of the
# simulation, each of which is one goroutine's. The package in this folder takes as long as all others together, which run beside it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

go test -race -timeout 25m ./test &
longest=$!
status=0
SIM_SEEDS=100 go test -race -timeout 25m -p 1 $(go list ./... | grep -v -e '/test$' -e '/test/differential$') || status=1
go test -p 1 ./test/differential ./test/sim || status=1
wait $longest || status=1
exit $status
