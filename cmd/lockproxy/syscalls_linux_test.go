package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A transaction of one statement takes one read and one write of each socket, whichever way it goes, and one wait before
// each of the two.
func TestARoundTripTakesOneReadAndOneWriteForEachDirection(t *testing.T) {
	tracer, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("there is no strace: test/install.sh strace installs it")
	}
	address := freePort(t)
	p := spawn(t, servedBy(t, `listen = ["`+address+`"]`), nil)
	p.until("msg=listening")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, "postgres://postgres@"+address+"/postgres?sslmode=disable&default_query_exec_mode=simple_protocol")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	transaction := func() {
		if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		transaction()
	}

	file := filepath.Join(t.TempDir(), "calls")
	trace := exec.Command(tracer, "-f", "-qq", "-o", file, "-e", "trace=%net,read,write,readv,writev,epoll_wait,epoll_pwait,io_uring_enter,epoll_ctl", "-p", strconv.Itoa(p.cmd.Process.Pid))
	var said strings.Builder
	trace.Stderr = &said
	if err := trace.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- trace.Wait() }()
	for traced := false; !traced; { // until it sees something
		select {
		case err := <-ended:
			t.Skipf("strace may not trace here: %v %s", err, said.String())
		default:
			transaction()
			calls, _ := os.ReadFile(file)
			traced = len(calls) > 0
		}
	}
	const transactions = 500
	for range transactions / 2 { // all of the process's threads are traced by then
		transaction()
	}
	before := countCalls(t, file)
	for range transactions {
		transaction()
	}
	if err := trace.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-ended
	calls := countCalls(t, file)
	for name := range calls {
		calls[name] -= before[name]
	}
	t.Logf("%d transactions: %v", transactions, calls)
	const besides = transactions / 10 // what goes on by itself, and what the tracer had not yet written
	reads := calls["recvfrom"] + calls["recvmsg"] + calls["readv"]
	writes := calls["sendto"] + calls["sendmsg"] + calls["writev"]
	waits := calls["epoll_pwait"] + calls["epoll_wait"]
	for what, n := range map[string]int{"reads": reads, "writes": writes} {
		if n < 2*transactions-besides || n > 2*transactions+besides {
			t.Errorf("%d %s for %d transactions of one client", n, what, transactions)
		}
	}
	if waits > 2*transactions+transactions { // Go's own poller waits as well, each few milliseconds
		t.Errorf("%d waits for %d transactions of one client", waits, transactions)
	}
	if n := calls["epoll_ctl"] + calls["io_uring_enter"]; n > besides {
		t.Errorf("%d other calls for %d transactions of one client", n, transactions)
	}
}

var tracedCall = regexp.MustCompile(`(?m)^\d+ +([a-z_0-9]+)\(`)

// countCalls counts the system calls in what strace has written, by name.
func countCalls(t *testing.T, file string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for _, found := range tracedCall.FindAllSubmatch(text, -1) {
		count[string(found[1])]++
	}
	return count
}
