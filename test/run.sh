#!/usr/bin/env bash
# Runs all tests with the race detector, but for the random conversations, of which it would leave time for half. The tests of the
# package in this folder wait most of their time, for servers and clients, so they run in two halves beside all others.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

go test -race -timeout 25m ./test -run '^(Test|Fuzz|Example)[A-L]' &
first=$!
go test -race -timeout 25m ./test -run '^(Test|Fuzz|Example)[^A-L]' &
second=$!
status=0
go test -race -timeout 25m -p 1 $(go list ./... | grep -v -e '/test$' -e '/test/differential$') || status=1
go test ./test/differential || status=1
wait $first || status=1
wait $second || status=1
exit $status
