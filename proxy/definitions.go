package proxy

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// definitions is what is known of one server database's functions, for all pools that lead there. It is read when the
// first connection is made, with new connections once it is old, and as soon as anything may have changed it: until then
// no client is granted a server, since what it calls may not be known.
//
// Its mutex nests between a client's and a pool's.
type definitions struct {
	server *Server
	place  string // among the server's

	mu       sync.Mutex
	pools    []*pool
	target   *backend.Target             // whoever noticed a change last could connect here
	catalogs map[string]*session.Catalog // of what was read last, by the functions that are configured
	print    [sha256.Size]byte           // of what was read last
	known    time.Time                   // when that was; zero: they are to be read again
	changes  uint64                      // how often they may have changed
	resets   int                         // how often they changed where nobody saw it
	withheld bool                        // nobody is granted a server
	blind    bool                        // they could not be read in time
	follows  bool                        // somebody reads them again
	reads    atomic.Int32                // connections that are open for it
	changed  chan struct{}               // wakes who does
	needed   chan struct{}               // has the kept connection closed, since somebody needs the database to be empty
	done     chan struct{}               // closed at the end

	looks lockLooks // at the advisory locks there
}

const (
	readWithin    = 2 * time.Second // how long clients wait for a reading
	readAgain     = time.Second     // after one that failed; twice as long after the next
	lastReadAgain = 30 * time.Second
	keepReading   = time.Second // how long the connection is kept for the next: migrations change much at once
	abandonWithin = 10 * time.Second
)

// definitionsOf finds what is known of the database that a target leads to.
func (s *Server) definitionsOf(t *backend.Target) *definitions {
	place := t.Place()
	d := s.definitions[place]
	if d == nil {
		d = &definitions{server: s, place: place, changed: make(chan struct{}, 1), needed: make(chan struct{}), done: make(chan struct{})}
		s.definitions[place] = d
	}
	return d
}

// join has a new pool know what is known.
func (d *definitions) join(p *pool) error {
	catalog, err := session.NewCatalog(p.terms.Load().Functions, &session.Definitions{})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pools = append(d.pools, p)
	if made := d.catalogs[p.configured()]; made != nil {
		catalog = made
	} else {
		d.known = time.Time{} // its first connection reads them
	}
	p.catalog.Store(catalog)
	switch {
	case d.withheld:
		d.doubt(true, (*session.Catalog).Doubted)
	case d.blind:
		d.doubt(false, (*session.Catalog).Unreadable)
	}
	return nil
}

// leave forgets a pool that is no more, and tells whether it was the last.
func (d *definitions) leave(p *pool) (last bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pools = slices.DeleteFunc(d.pools, func(one *pool) bool { return one == p })
	return len(d.pools) == 0
}

// configured tells pools apart whose configuration names other functions.
func (p *pool) configured() string { return strings.Join(p.terms.Load().Functions, "\x00") }

// reading gives the look to take with a connection about to be made, or nil: while what is known is new, and where
// somebody reads it already, so that clients who go on blind are not held up by that.
func (d *definitions) reading() *reading {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.follows || !d.known.IsZero() && time.Since(d.known) < catalogLives {
		return nil
	}
	return newReading(d.changes)
}

// learn takes over what a look found. It tells whether that is new.
func (d *definitions) learn(r *reading) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.changes != d.changes {
		return false
	}
	d.known = time.Now()
	if d.blind {
		d.blind = false
		d.resets++ // who ran meanwhile may have left what nobody knows of
	}
	d.spread(r.Rows)
	return true
}

// spread gives the pools the catalogs of what was read: the ones that there are, where nothing has changed after all.
// Called with the mutex held.
func (d *definitions) spread(rows [][]string) {
	if print := printOf(rows); print != d.print {
		d.print, d.catalogs = print, make(map[string]*session.Catalog)
	}
	for _, p := range d.pools {
		key := p.configured()
		if d.catalogs[key] == nil {
			catalog, err := newCatalog(p.terms.Load().Functions, rows)
			if err != nil {
				d.server.log.Error("the functions that take locks cannot be used", "database", p.name.database, "error", err)
				catalog = p.catalog.Load().Unreadable()
			}
			d.catalogs[key] = catalog
		}
		d.catalogs[key] = d.catalogs[key].After(d.resets)
		p.catalog.Store(d.catalogs[key])
	}
}

func printOf(rows [][]string) (print [sha256.Size]byte) {
	h := sha256.New()
	for _, row := range rows {
		for _, column := range row {
			h.Write(append([]byte(column), 0))
		}
	}
	h.Sum(print[:0])
	return print
}

func newCatalog(configured []string, rows [][]string) (*session.Catalog, error) {
	found, err := newDefinitions(rows)
	if err != nil {
		return nil, err
	}
	return session.NewCatalog(configured, found)
}

// redefined takes it that functions may have changed: nobody is granted a server until they have been read again. Called
// with the mutex of the client that noticed it.
func (d *definitions) redefined(by *pool, how session.Redefinition) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changes++
	d.known, d.target = time.Time{}, by.terms.Load().target
	if how == session.RedefinedElsewhere {
		d.server.log.Info("functions changed elsewhere", "database", by.name.database)
		d.resets++
	}
	if !d.blind {
		d.doubt(true, (*session.Catalog).Doubted)
	}
	if !d.follows && !isClosed(d.done) {
		d.follows = true
		d.server.work.Add(1)
		go d.follow()
	}
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// doubt withholds servers from who asks for one, or does so no longer, and says how far the catalog can be trusted. Called
// with the mutex held.
func (d *definitions) doubt(withhold bool, as func(*session.Catalog) *session.Catalog) {
	d.withheld = withhold
	for _, p := range d.pools {
		p.catalog.Store(as(p.catalog.Load()))
		p.withhold(withhold)
	}
}

// follow reads the functions again until they are known and nothing has changed for a while.
func (d *definitions) follow() {
	defer d.server.work.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(closing{d.done}, cancel)()
	var line *backend.Line
	defer func() {
		d.hangUp(&line)
	}()
	for failures := 0; ; {
		overdue := time.AfterFunc(readWithin, d.goOnBlind)
		err := d.read(ctx, &line)
		overdue.Stop()
		wait := keepReading
		if err != nil {
			d.server.log.Warn("the functions that take locks could not be read again", "error", err)
			d.goOnBlind()
			wait = min(readAgain<<failures, lastReadAgain)
			failures = min(failures+1, 10)
		}
		d.settle()
		if !d.another(wait) {
			return
		}
	}
}

// another waits for the next change, or until what failed is to be tried again. It gives false at the end.
func (d *definitions) another(wait time.Duration) bool {
	for over := time.After(wait); ; {
		ended := false
		select {
		case <-d.changed:
		case <-over:
			ended = true
		case <-d.needed:
			ended = true
		case <-d.done:
			ended = true
		}
		d.mu.Lock()
		again := d.known.IsZero() && !isClosed(d.done)
		d.follows = again || !ended
		d.mu.Unlock()
		if again || ended {
			return again
		}
	}
}

// vacate has the connection closed that is kept for the next change.
func (d *definitions) vacate() {
	select {
	case d.needed <- struct{}{}:
	default:
	}
}

// read reads the functions until nothing changes meanwhile, on a line that it opens where there is none.
func (d *definitions) read(ctx context.Context, line **backend.Line) error {
	ctx, cancel := context.WithTimeout(ctx, abandonWithin)
	defer cancel()
	for {
		d.mu.Lock()
		r, target := newReading(d.changes), d.target
		known := !d.known.IsZero()
		d.mu.Unlock()
		if known {
			return nil // another connection was made meanwhile
		}
		if err := d.ask(ctx, target, line, r); err != nil {
			return err
		}
		if d.learn(r) {
			return nil
		}
	}
}

// hangUp closes a line, if there is one.
func (d *definitions) hangUp(line **backend.Line) {
	if *line == nil {
		return
	}
	(*line).Close()
	*line = nil
	d.reads.Add(-1)
	d.server.news.ring()
}

// ask takes a look on a line, which it opens where there is none. One that was kept may have ended meanwhile.
func (d *definitions) ask(ctx context.Context, target *backend.Target, line **backend.Line, r *reading) error {
	if *line != nil {
		if err := (*line).Ask(ctx, &r.Probe); err == nil {
			return nil
		}
		d.hangUp(line)
	}
	d.reads.Add(1)
	opened, err := backend.Open(ctx, target)
	if err != nil {
		d.reads.Add(-1)
		d.server.news.ring()
		return err
	}
	*line = opened
	if err = opened.Ask(ctx, &r.Probe); err != nil {
		d.hangUp(line)
	}
	return err
}

// goOnBlind has the clients go on that wait for a reading which takes too long. What they run is asked about.
func (d *definitions) goOnBlind() {
	d.mu.Lock()
	if d.known.IsZero() {
		d.blind = true
		d.doubt(false, (*session.Catalog).Unreadable)
	}
	d.mu.Unlock()
	d.settle()
}

// settle has those go on who waited, if what they call is known now or will not be.
func (d *definitions) settle() {
	d.mu.Lock()
	if !d.known.IsZero() {
		d.withheld = false
	}
	withheld, all := d.withheld, append([]*pool(nil), d.pools...)
	for _, p := range all {
		p.withhold(withheld)
	}
	d.mu.Unlock()
	for _, p := range all {
		d.server.deliver(nil, p.do(nil, func(*pools.Pair) {}))
	}
	if !withheld {
		d.server.each(func(g guest) {
			if c, ok := g.(*client); ok {
				c.reconsider(d)
			}
		})
	}
}

// close ends the reading.
func (d *definitions) close() { close(d.done) }

func isClosed(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// withhold has the pools grant nobody a server, or does so no longer. What follows from that is delivered with what comes
// next.
func (p *pool) withhold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pair.Withhold(time.Now(), on)
}

// reconsider has a session that has a server of the database look at the catalog again.
func (c *client) reconsider(d *definitions) {
	c.mu.Lock()
	has := c.server != nil && c.server.pool.definitions == d
	c.mu.Unlock()
	if has {
		c.step((*session.Session).Reconsider)
	}
}
