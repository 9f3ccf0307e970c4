package proxy

import (
	"context"
	"io"
	"net/netip"
	"slices"
	"sync"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/console"
	"github.com/lockproxy/lockproxy/proxy/link"
	"github.com/lockproxy/lockproxy/proxy/login"
)

// isConsole tells whether clients that name this database want the console. "pgbouncer" is what programs for PgBouncer say.
// Whoever has a database of one of these names says so in the configuration.
func (r *rules) isConsole(database string) bool {
	_, named := r.Databases[database]
	return !named && slices.Contains(consoleNames, database)
}

var consoleNames = []string{"lockproxy", "pgbouncer"}

// maxOperators bounds the consoles that are open at one time. They do not count as clients: who is to see why there are too
// many of those must get in.
const maxOperators = 100

// operator is a client of the console: the owner of its link. What it says is answered by a goroutine of its own, since
// there are commands that wait.
type operator struct {
	server  *Server
	about   *about
	session *console.Session
	ctx     context.Context // ends with the link, or when the client is to go
	end     context.CancelFunc

	mu      sync.Mutex
	changed sync.Cond // in, buffered or over has
	link    link.Link
	in      []byte // that was not read yet
	over    bool
}

// maxUnread is how much a client of the console may send ahead, in bytes.
const maxUnread = 64 << 10

// mayOperate tells a user of the console what it may do there, or refuses it.
func (r *rules) mayOperate(user string) (admin bool, err error) {
	switch {
	case slices.Contains(r.Console.Admins, user):
		return true, nil
	case slices.Contains(r.Console.Guests, user):
		return false, nil
	}
	e := protocol.Fatal(protocol.InsufficientPrivilege, `user "`+user+`" may not use the console`)
	e.Hint = "The settings console.admin_users and console.stats_users name who may."
	return false, e
}

// newOperator makes a client of the console of one that has logged in, and registers it.
func (s *Server) newOperator(who *login.Client, peer netip.AddrPort) (*operator, error) {
	if _, err := s.rules.Load().mayOperate(who.User); err != nil {
		return nil, err
	}
	o := &operator{server: s, about: newAbout(who, peer)}
	o.changed.L = &o.mu
	o.ctx, o.end = context.WithCancel(context.Background())
	if err := s.register(o); err != nil {
		return nil, err
	}
	log := s.logFor(o.about)
	o.session = console.NewSession(controls{s}, o, console.Client{Pid: o.about.Pid, Key: o.about.Key, Admin: o.controls}, log)
	log.Info("a console is opened", "admin", o.controls())
	return o, nil
}

// start makes the link the operator's and begins to answer. Said is the login's last word, rest what came behind it.
func (o *operator) start(l link.Link, said, rest []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link, o.in = l, slices.Clone(rest)
	l.Handover(o)
	l.Write(said)
	o.server.work.Go(func() {
		o.session.Run(o.ctx)
		o.leave()
	})
}

// leave ends the connection once the client has been told everything.
func (o *operator) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over {
		o.link.CloseAfterFlush(flushWithin)
	}
}

// Read waits for what the client sends. It is the session's.
func (o *operator) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.in) == 0 && !o.over && o.ctx.Err() == nil {
		o.changed.Wait()
	}
	if len(o.in) == 0 || o.over {
		return 0, io.EOF
	}
	n := copy(p, o.in)
	if o.in = o.in[n:]; len(o.in) == 0 {
		o.in = nil
		o.link.Resume()
	}
	return n, nil
}

// Write hands on what the client is told, once it has read enough of what it was told before. It is the session's.
func (o *operator) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.over && o.ctx.Err() == nil && o.link.Buffered() > 0 {
		o.changed.Wait()
	}
	if o.over {
		return 0, io.ErrClosedPipe
	}
	o.link.Write(p)
	return len(p), nil
}

// Received takes what the client sent.
func (o *operator) Received(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.in = append(o.in, p...); len(o.in) > maxUnread {
		o.link.Pause()
	}
	o.changed.Broadcast()
}

// Drained lets the session go on that waits for the client to read.
func (o *operator) Drained() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed.Broadcast()
}

// HungUp takes the end of a client whose bytes wait unread.
func (o *operator) HungUp() { o.link.Close() }

// Closed takes the end of the connection.
func (o *operator) Closed(error) {
	o.mu.Lock()
	o.over = true
	o.changed.Broadcast()
	o.mu.Unlock()
	o.end()
	o.server.forget(o)
}

func (o *operator) known() *about { return o.about }

func (o *operator) info() SessionInfo {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.about.info(o.link)
	i.State = "console"
	return i
}

// controls tells whether the user may control lockproxy now.
func (o *operator) controls() bool {
	admin, err := o.server.rules.Load().mayOperate(o.about.user)
	return admin && err == nil
}

// follow ends the console of a user who may not use it any more.
func (o *operator) follow() {
	if _, err := o.server.rules.Load().mayOperate(o.about.user); err != nil {
		o.stop()
	}
}

func (o *operator) cancel() { o.session.Cancel() }

func (o *operator) drain() { o.stop() }

// stop has the client told that the server ends. Whatever it waits for is given up.
func (o *operator) stop() {
	o.end()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed.Broadcast()
}
