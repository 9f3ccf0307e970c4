package main

import (
	"context"
	"strconv"
	"time"
)

// row is one workload of the table.
type row struct {
	name    string
	run     load
	figures []figure

	scram  bool // clients log in by SCRAM, else by trust
	tls    bool // they speak TLS
	steady bool // others' work does not change it, so a third of the rounds will do
	crowd  int  // idle clients that lockproxy has meanwhile: then it is compared with itself without them
}

// load runs a workload on one side for the length of a round.
type load func(ctx context.Context, s *side) (sample, error)

// The numbers of clients that idle.
const (
	idleClients  = 5000
	crowdClients = 10000
)

// rows are all of them, in the order of the table.
func rows() []row {
	selects := func(clients int, cpuMark, tpsMark float64) row {
		return row{name: "-S, " + counted(clients), run: pgbench{clients: clients, arguments: []string{"-S"}}.run,
			figures: []figure{cpu(cpuMark), userPart(0.80), tps(tpsMark), p99(1)}}
	}
	prepared := func(clients int) row {
		return row{name: "-S -M prepared, " + counted(clients),
			run: pgbench{clients: clients, arguments: []string{"-S", "-M", "prepared"}}.run, figures: []figure{cpu(0.90), tps(1.05)}}
	}
	connects := func(name string, scram bool) row {
		return row{name: "-C, " + name, scram: scram, run: pgbench{clients: 16, arguments: []string{"-S", "-C"}}.run,
			figures: []figure{cpu(1.10).called("CPU per connection")}}
	}
	return []row{
		selects(1, 1, 0.97), selects(16, 0.95, 1.03), selects(64, 0.90, 1.05), selects(256, 0.90, 1.05),
		prepared(16), prepared(64),
		{name: "TPC-B-like, 16 clients", run: pgbench{clients: 16}.run, figures: []figure{cpu(0.92), tps(1.05)}},
		{name: "pg_advisory_xact_lock, 16 clients", run: pgbench{clients: 16, script: lockScript}.run, figures: []figure{cpu(1), tps(1)}},
		{name: "100 rows of 8 kB", run: stream(readRows), figures: []figure{throughput(1.5)}},
		{name: "COPY out, 50 MB", run: stream(copyOut), figures: []figure{throughput(1.5)}},
		{name: "COPY in, 50 MB", run: stream(copyIn), figures: []figure{throughput(1.5)}},
		{name: "-S over TLS, 16 clients", tls: true, run: pgbench{clients: 16, arguments: []string{"-S"}}.run,
			figures: []figure{cpu(1.10), tps(1)}},
		connects("trust", false), connects("SCRAM", true),
		{name: "5,000 idle clients", run: memoryOfIdle, steady: true, figures: []figure{memory(2.0)}},
		{name: "16 clients, 10,000 idle", run: pgbench{clients: 16, arguments: []string{"-S"}}.run, crowd: crowdClients,
			figures: []figure{cpu(1.05)}},
	}
}

// lockScript takes a lock on a key of its own in each transaction.
const lockScript = `\set key :client_id * 1000000 + random(1, 1000000)
BEGIN;
SELECT pg_advisory_xact_lock(:key);
COMMIT;
`

func counted(clients int) string {
	if clients == 1 {
		return "1 client"
	}
	return strconv.Itoa(clients) + " clients"
}

func cpu(limit float64) figure {
	return figure{name: "CPU per transaction", unit: "µs", mark: mark{limit: limit},
		value: func(s sample) float64 { return s.each(microseconds(s.cpu)) }}
}

func userPart(limit float64) figure {
	return figure{name: "of it the user part", unit: "µs", mark: mark{limit: limit},
		value: func(s sample) float64 { return s.each(microseconds(s.user)) }}
}

func tps(limit float64) figure {
	return figure{name: "transactions per second", mark: mark{limit: limit, atLeast: true},
		value: func(s sample) float64 { return float64(s.transactions) / s.elapsed.Seconds() }}
}

func p99(limit float64) figure {
	return figure{name: "p99 latency", unit: "ms", mark: mark{limit: limit},
		value: func(s sample) float64 { return microseconds(s.p99) / 1000 }}
}

func throughput(limit float64) figure {
	return figure{name: "per CPU second", unit: "MB", mark: mark{limit: limit, atLeast: true},
		value: func(s sample) float64 { return float64(s.bytes) / 1e6 / s.cpu.Seconds() }}
}

// memory has a mark that is lockproxy's own, whatever the other side takes.
func memory(limit float64) figure {
	return figure{name: "memory per client", unit: "kB", mark: mark{limit: limit, absolute: true},
		value: func(s sample) float64 { return s.memory / 1000 }}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
