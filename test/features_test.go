package test

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// peak watches how much more heap than now this process uses, until the returned function is called.
func peak() (stop func() (bytes int64)) {
	live := func() int64 {
		var memory runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&memory)
		return int64(memory.HeapAlloc)
	}
	before := live()
	var most atomic.Int64
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for ticker := time.NewTicker(20 * time.Millisecond); ; {
			most.Store(max(most.Load(), live()-before))
			select {
			case <-ended:
				ticker.Stop()
				return
			case <-ticker.C:
			}
		}
	}()
	return func() int64 {
		close(ended)
		<-done
		return most.Load()
	}
}

func TestFeaturesOfNodePg(t *testing.T) {
	r := startProxy(t)
	noise(t, r.url, 2)
	stop := peak()
	got := node(t, "features.js", r.url)
	if bytes := stop(); bytes > 8<<20 {
		t.Errorf("while 20 MB and 50 MB passed by, the proxy used %d bytes more: it does not stream", bytes)
	}
	want := []map[string]any{
		{"feature": "named statements in a pool", "wrong": 0.0},
		{"feature": "transactions in a pool", "n": 40.0},
		{"feature": "copy both ways", "same": true, "code": "22P02", "n": 10000.0},
		{"feature": "a parameter of 20 MB", "n": float64(20 << 20)},
		{"feature": "a result of 50 MB", "n": float64(50 << 20)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("node's pg did %v, not %v", got, want)
	}
}

// Every way in which pgx runs queries works, also when each statement meets another backend.
func TestQueryModesOfPgx(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			r := startProxy(t)
			noise(t, r.url, 3)
			conns := make([]*pgx.Conn, 8)
			for i := range conns {
				conns[i] = connect(t, withParameter(t, r.url, "default_query_exec_mode", modeNames[mode]))
			}
			inParallel(len(conns), len(conns), func(i int) {
				for n := range 40 {
					var sum int
					text := fmt.Sprintf("SELECT $1::int + %d", n%5)
					if err := conns[i].QueryRow(t.Context(), text, i).Scan(&sum); err != nil || sum != i+n%5 {
						t.Errorf("%s with %d gives %d (%v)", text, i, sum, err)
					}
				}
			})
		})
	}
}

var modeNames = map[pgx.QueryExecMode]string{
	pgx.QueryExecModeCacheStatement: "cache_statement", pgx.QueryExecModeCacheDescribe: "cache_describe",
	pgx.QueryExecModeDescribeExec: "describe_exec", pgx.QueryExecModeExec: "exec",
	pgx.QueryExecModeSimpleProtocol: "simple_protocol",
}

func TestBatchesOfPgx(t *testing.T) {
	r := startProxy(t)
	noise(t, r.url, 2)
	conn := connect(t, r.url)
	for range 3 {
		batch := new(pgx.Batch)
		for i := range 50 {
			batch.Queue("SELECT $1::int", i)
		}
		results := conn.SendBatch(t.Context(), batch)
		for i := range 50 {
			var got int
			if err := results.QueryRow().Scan(&got); err != nil || got != i {
				t.Errorf("query %d of a batch gives %d (%v)", i, got, err)
			}
		}
		if err := results.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCopyOfPgxBothWays(t *testing.T) {
	const rows = 10_000
	r := startProxy(t)
	noise(t, r.url, 2)
	r.query(t, "CREATE TABLE copied (a int, b text)")
	conn := connect(t, r.url)
	n, err := conn.CopyFrom(t.Context(), pgx.Identifier{"copied"}, []string{"a", "b"}, pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
		return []any{i, fmt.Sprint("row ", i)}, nil
	}))
	if err != nil || n != rows {
		t.Fatalf("COPY FROM: %d rows, %v", n, err)
	}
	_, err = conn.CopyFrom(t.Context(), pgx.Identifier{"copied"}, []string{"a"}, pgx.CopyFromSlice(1, func(int) ([]any, error) {
		return nil, context.Canceled // which has the driver send CopyFail
	}))
	if err == nil {
		t.Error("a COPY that its client gives up succeeds")
	}
	var out bytes.Buffer
	if _, err := conn.PgConn().CopyTo(t.Context(), &out, "COPY (SELECT * FROM copied ORDER BY a) TO STDOUT"); err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	for i := range rows {
		fmt.Fprintf(&want, "%d\trow %d\n", i, i)
	}
	if !bytes.Equal(out.Bytes(), want.Bytes()) {
		t.Errorf("COPY TO gives %d bytes that are not the %d copied in", out.Len(), want.Len())
	}
}

// S#294: results larger than any buffer were cut.
func TestBigParametersAndResultsOfPgx(t *testing.T) {
	r := startProxy(t)
	noise(t, r.url, 2)
	conn := connect(t, r.url)
	var length int
	if err := conn.QueryRow(t.Context(), "SELECT length($1::bytea)", make([]byte, 20<<20)).Scan(&length); err != nil || length != 20<<20 {
		t.Errorf("a parameter of 20 MB arrives with %d bytes (%v)", length, err)
	}
	stop := peak()
	result := conn.PgConn().ExecParams(t.Context(), "SELECT repeat('x', 1 << 20) FROM generate_series(1, 50)", nil, nil, nil, nil)
	total := 0
	for result.NextRow() {
		total += len(result.Values()[0])
	}
	if _, err := result.Close(); err != nil || total != 50<<20 {
		t.Errorf("a result of 50 MB arrives with %d bytes (%v)", total, err)
	}
	if bytes := stop(); bytes > 16<<20 {
		t.Errorf("while 50 MB passed by, the proxy and the client used %d bytes more: they do not stream", bytes)
	}
}

// A client that does not read what it asked for costs no more than the buffers are allowed to hold.
func TestResultThatIsNotReadStaysInTheServer(t *testing.T) {
	r := startProxy(t)
	noise(t, r.url, 2)
	conn := dial(t, r.url)
	stop := peak()
	result := conn.ExecParams(t.Context(), "SELECT repeat('x', 1 << 20) FROM generate_series(1, 100)", nil, nil, nil, nil)
	if !result.NextRow() {
		t.Fatal("no row")
	}
	// The server comes to a stand because nobody takes its bytes.
	r.awaitRow(t, "the server waits for its client", `count(*) = 1 FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event = 'ClientWrite'`)
	if bytes := stop(); bytes > 8<<20 {
		t.Errorf("a client that does not read makes the proxy keep %d bytes", bytes)
	}
	rows := 1
	for result.NextRow() {
		rows++
	}
	if _, err := result.Close(); err != nil || rows != 100 {
		t.Errorf("%d rows arrive when the client reads on (%v)", rows, err)
	}
}
