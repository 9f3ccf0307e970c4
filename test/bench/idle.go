package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// memoryOfIdle measures what the memory of a new process grows by with clients that have each made one query and wait.
func memoryOfIdle(ctx context.Context, s *side) (result sample, err error) {
	fresh, err := s.start(ctx, s.pooler, row{})
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, fresh.close()) }()
	before, err := fresh.settledMemory()
	if err != nil {
		return sample{}, err
	}
	if err := fresh.gather(ctx, idleClients); err != nil {
		return sample{}, err
	}
	after, err := fresh.settledMemory()
	return sample{memory: float64(after-before) / idleClients}, err
}

// settledMemory is what the process has when it no longer becomes less, or after a while.
func (s *side) settledMemory() (int64, error) {
	const pause, longest, enough = 250 * time.Millisecond, 5 * time.Second, 4
	least, same := int64(0), 0
	for began := time.Now(); same < enough && time.Since(began) < longest; time.Sleep(pause) {
		now, err := residentMemory(s.pid)
		if err != nil {
			return 0, err
		}
		if same++; least == 0 || now < least {
			least, same = now, 0
		}
	}
	return least, nil
}

// residentMemory is exact, which the figure in /proc/PID/status is not (proc(5)).
func residentMemory(pid int) (int64, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "Rss:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no line Rss", file.Name())
}

// gather connects idle clients, each of which makes one query. They come from several addresses: one has not enough ports.
func (s *side) gather(ctx context.Context, clients int) error {
	const workers, fromOneAddress = 16, 5000
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	numbers := make(chan int, clients)
	for i := range clients {
		numbers <- i
	}
	close(numbers)
	var mu sync.Mutex // guards what follows
	var failed error
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range numbers {
				c, err := s.idleClient(ctx, net.IPv4(127, 0, 0, byte(2+i/fromOneAddress)))
				mu.Lock()
				if err == nil {
					s.idle = append(s.idle, c)
				} else if failed == nil {
					failed = fmt.Errorf("idle client %d: %w", len(s.idle)+1, err)
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return failed
}

// idleClient keeps the connection alone: the driver's buffers would take more memory than the poolers.
func (s *side) idleClient(ctx context.Context, from net.IP) (net.Conn, error) {
	config, err := pgconn.ParseConfig(s.url())
	if err != nil {
		return nil, err
	}
	config.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext
	c, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, "SELECT 1").ReadAll(); err != nil {
		return nil, err
	}
	taken, err := c.Hijack()
	if err != nil {
		return nil, err
	}
	return taken.Conn, nil
}
