package link

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkProcess is the benchmark that counts: the peers are another process, as they are in life, so that the CPU time
// of this one (cpu-ns/op) is the relay's alone. Clients come by TCP or unix socket and servers are there likewise.
func BenchmarkProcess(b *testing.B) {
	for _, m := range modes {
		if m.name != "goroutine/pipe" && !m.tls {
			for _, clients := range []int{1, 16} {
				b.Run(fmt.Sprintf("%s/%d", m.name, clients), func(b *testing.B) { relayForAProcess(b, m, clients) })
			}
		}
	}
}

func relayForAProcess(b *testing.B, m mode, clients int) {
	network, dir := filepath.Base(m.name), b.TempDir()
	address := func(name string) string {
		if network == "unix" {
			return filepath.Join(dir, name)
		}
		return "127.0.0.1:0"
	}
	front, err := net.Listen(network, address("front"))
	if err != nil {
		b.Fatal(err)
	}
	defer front.Close()
	back, err := net.Listen(network, address("back"))
	if err != nil {
		b.Fatal(err)
	}
	defer back.Close()

	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), "LINK_TEST_PEERS="+network, "LINK_TEST_FRONT="+front.Addr().String(),
		"LINK_TEST_BACK="+back.Addr().String(), "LINK_TEST_CLIENTS="+strconv.Itoa(clients), "LINK_TEST_TRIPS="+strconv.Itoa(b.N))
	child.Stderr = os.Stderr
	ready, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	var halves []*relayHalf
	for range clients {
		ours, err := front.Accept()
		if err != nil {
			b.Fatal(err)
		}
		theirs, err := back.Accept()
		if err != nil {
			b.Fatal(err)
		}
		x, y := join(b, m, ours, theirs, 1<<20)
		halves = append(halves, x, y)
	}
	b.ResetTimer()
	began := cpuTime()
	_ = ready.Close()
	for _, h := range halves {
		h.wait()
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
	if err := child.Wait(); err != nil {
		b.Fatal(err)
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func init() {
	if os.Getenv("LINK_TEST_PEERS") != "" {
		peers()
		os.Exit(0)
	}
}

// peers is what the child process does: it dials both sides of every relay, and makes its share of the round trips once
// its standard input ends.
func peers() {
	network := os.Getenv("LINK_TEST_PEERS")
	clients, _ := strconv.Atoi(os.Getenv("LINK_TEST_CLIENTS"))
	trips, _ := strconv.Atoi(os.Getenv("LINK_TEST_TRIPS"))
	dial := func(name string) net.Conn {
		conn, err := net.Dial(network, os.Getenv(name))
		if err != nil {
			panic(err)
		}
		return conn
	}
	var starts []func()
	for range clients {
		client, server := dial("LINK_TEST_FRONT"), dial("LINK_TEST_BACK")
		go answers(server)
		starts = append(starts, func() {
			defer client.Close()
			query, answer := make([]byte, querySize), make([]byte, answerSize)
			for range (trips + clients - 1) / clients {
				_, _ = client.Write(query)
				if _, err := io.ReadFull(client, answer); err != nil {
					panic(err)
				}
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	var all sync.WaitGroup
	for _, start := range starts {
		all.Go(start)
	}
	all.Wait()
}
