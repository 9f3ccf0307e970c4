package backend

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Of several servers one may hang: it is stopped, or its host is gone and nothing says so. Whoever asks it first would wait
// in vain, and so would whoever comes next. So where the URL names several servers and no connect_timeout, each gets a few
// seconds only, and one that did not say a word is left out for a while. It is asked again if no other one suits, or when the
// while is over: then by one connection, so that all others have theirs at once. The order of the URL stands among the rest.

const (
	// shortTimeout is for one of several servers: the next one is to be found within the checkout timeout's default.
	shortTimeout = 3 * time.Second
	// silentAfter is how long nothing is heard from a server that is called silent, and leftOutFor how long it is left out.
	silentAfter = time.Second
	leftOutFor  = 30 * time.Second
)

// silence tells since when a server has been asked and said nothing; nil: it has answered last.
type silence struct{ since atomic.Pointer[time.Time] }

// leftOut tells whether a server is not to be asked now. When its time is over, one who asks is told that it is.
func (s *silence) leftOut() bool {
	since := s.since.Load()
	if since == nil {
		return false
	}
	now := time.Now()
	return now.Sub(*since) < leftOutFor || !s.since.CompareAndSwap(since, &now)
}

// heard notes that the server was asked at that time, and whether it said anything.
func (s *silence) heard(asked time.Time, anything bool) {
	if anything {
		s.since.Store(nil)
	} else if now := time.Now(); now.Sub(asked) >= silentAfter {
		s.since.Store(&now)
	}
}

// silences are those of a URL's servers.
type silences struct {
	mu sync.Mutex
	of map[address]*silence
}

func (s *silences) at(to address) *silence {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[to] == nil {
		s.of[to] = &silence{}
	}
	return s.of[to]
}

var errSilent = errors.New("it did not answer lately")

// logIn connects to the first server that suits, those that are silent last.
func (t *Target) logIn(ctx context.Context, config *pgconn.Config) (*pgconn.PgConn, error) {
	if t.silences == nil {
		config.DialFunc = t.dial
		return pgconn.ConnectConfig(ctx, config)
	}
	var leftOut atomic.Bool
	config.DialFunc = func(ctx context.Context, network, name string) (net.Conn, error) {
		if t.silences.at(address{network, name}).leftOut() {
			leftOut.Store(true)
			return nil, errSilent
		}
		return t.dial(ctx, network, name)
	}
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err == nil || !leftOut.Load() || newError(err).Permanent() {
		return pg, err
	}
	all := config.Copy() // pgconn may still be giving up a connection with the first one
	all.DialFunc = t.dial
	return pgconn.ConnectConfig(ctx, all)
}

// Silent tells whether the connection's server has said nothing to who asked it last, where there are others to ask.
func (c *Conn) Silent() bool { return c.silence != nil && c.silence.since.Load() != nil }
