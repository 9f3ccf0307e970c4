#!/usr/bin/env bash
# Runs all tests with the race detector, but for the random conversations, of which it would leave time for half, and most seeds of the
# simulation, each of which is one goroutine's. The package in this folder takes longer than all others together: most of it runs beside
# them, and the rest behind them.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

most='^Test[A-R]'
go test -race -timeout 25m -run "$most" ./test &
longest=$!
status=0
SIM_SEEDS=100 go test -race -timeout 25m -p 1 $(go list ./... | grep -v -e '/test$' -e '/test/differential$') || status=1
go test -p 1 ./test/differential ./test/sim || status=1
go test -race -timeout 25m -skip "$most" ./test || status=1
wait $longest || status=1
exit $status
