package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/link"
	"github.com/lockproxy/lockproxy/proxy/login"
)

// relay is a replication connection: a client with a server connection of its own, whose bytes are passed on unread.
//
// It has no place in a pool, because it has no transactions after which somebody else could have its server connection: it
// would only take slots away, for days. PostgreSQL counts it apart as well (max_wal_senders, not max_connections). So
// what bounds its number is the server's limit, and max_clients here.
type relay struct {
	server  *Server
	about   *about
	conn    *backend.Conn
	user    string // as the server sees it
	logical bool   // the client named a database

	mu       sync.Mutex // held over the start of both links, which may call before they are known
	client   link.Link  // nil: over
	upstream link.Link  // nil: over
	sent     frames     // what the server has said
	asked    bool       // the client has said something since the server was last ready
	streams  bool       // the server sends WAL until somebody ends it
	leaving  bool       // the client is to go as soon as it may be told
}

// The two ends own one link each.
type (
	clientEnd struct{ *relay }
	serverEnd struct{ *relay }
)

// dialRelay opens the server connection of a client that has logged in for replication, and registers it. Nothing is its own
// but the key for cancel requests.
func (s *Server) dialRelay(who *login.Client, peer netip.AddrPort) (*relay, error) {
	conn, user, err := s.dialFor(who)
	if err != nil {
		return nil, err
	}
	r := &relay{server: s, about: newAbout(who, peer), conn: conn, user: user, logical: who.Replication == "database"}
	if err := s.register(r); err != nil {
		conn.Close()
		return nil, err
	}
	r.logger().Info("a replication connection begins", "kind", who.Replication, "pid", conn.Pid)
	return r, nil
}

// dialFor opens the server connection of a client that wants to replicate, where and as the user that its pools' are.
func (s *Server) dialFor(who *login.Client) (conn *backend.Conn, user string, err error) {
	r := s.rules.Load()
	if _, _, ok := r.database(who.Database); !ok {
		e := noDatabase(who.Database)
		e.Hint = `Programs that replicate a whole server name the database "replication".`
		return nil, "", e
	}
	if err := s.enabled(who.Database); err != nil {
		return nil, "", err
	}
	var parameters []backend.Parameter
	for _, one := range who.Parameters {
		parameters = append(parameters, backend.Parameter(one))
	}
	target := r.targetFor(who)
	conn, err = backend.DialReplication(closing{s.ending}, target, who.Replication, parameters)
	if e := (*backend.Error)(nil); errors.As(err, &e) {
		told := fromServer(e)
		told.Severity = "FATAL"
		return nil, "", told
	}
	return conn, target.User(), err
}

// start welcomes the client with what its server said, and lets the bytes go.
func (r *relay) start(client link.Link) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent.kind = protocol.ReadyForQuery
	if r.upstream, err = r.server.connect(r.conn.Net, serverEnd{r}); err != nil {
		r.conn.Close()
		return err
	}
	r.client = client
	r.client.Write(r.welcome())
	return nil
}

func (r *relay) welcome() (p []byte) {
	for _, one := range r.conn.Parameters {
		p = protocol.AppendParameterStatus(p, one.Name, one.Value)
	}
	p = protocol.AppendKeyData(p, r.about.Pid, r.about.Key)
	return append(protocol.AppendReady(p, 'I'), r.conn.Unread...)
}

// Received takes what the client sent.
func (e clientEnd) Received(p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.upstream == nil {
		return
	}
	e.asked = true
	pass(p, e.client, e.upstream, e.server.rules.Load().MaxBuffer)
}

// Received takes what the server sent.
func (e serverEnd) Received(p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.hear(p)
	if e.client == nil {
		return
	}
	pass(p[:n], e.upstream, e.client, e.server.rules.Load().MaxBuffer)
	e.goIfItMay()
}

// pass hands bytes from one link on to the other, and has no more read than that takes.
func pass(p []byte, from, to link.Link, bound int) {
	to.Write(p)
	if to.Buffered() > bound {
		from.Pause()
	}
}

// hear notes how far the server has come, and gives how much of p is to be passed on: less than all where the client
// may be told to go within it.
func (r *relay) hear(p []byte) (n int) {
	for n < len(p) {
		size, ended := r.sent.next(p[n:])
		n += size
		if !ended {
			return n
		}
		switch r.sent.kind {
		case protocol.ReadyForQuery:
			r.asked, r.streams = false, false
		case protocol.CopyBothResponse:
			r.streams = true
		}
		if r.leaving && r.mayGo() {
			return n
		}
	}
	return n
}

// mayGo tells whether the client can be told to go: between two messages, when nothing that has an end of its own is
// under way. A stream of WAL has none, and its reader goes on elsewhere where it stopped here.
func (r *relay) mayGo() bool {
	return r.sent.between() && (r.streams || r.sent.kind == protocol.ReadyForQuery && !r.asked)
}

func (r *relay) goIfItMay() {
	if r.leaving && r.mayGo() {
		r.farewell()
	}
}

// farewell ends the client, and says why if a message may stand here.
func (r *relay) farewell() {
	if r.client == nil {
		return
	}
	if r.sent.between() {
		r.client.Write(protocol.AppendError(nil, shutdownNotice()))
	}
	r.client.CloseAfterFlush(flushWithin)
}

func shutdownNotice() *protocol.Error {
	return protocol.Fatal(protocol.AdminShutdown, "terminating connection due to administrator command")
}

// Drained lets the server go on.
func (e clientEnd) Drained() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.upstream != nil {
		e.upstream.Resume()
	}
}

// Drained lets the client go on.
func (e serverEnd) Drained() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client != nil {
		e.client.Resume()
	}
}

// HungUp takes the end of a client whose bytes wait unread: Closed follows.
func (e clientEnd) HungUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.client.Close()
}

// Closed takes the end of the client's connection. Its server hears it as the end of the stream, which it answers by
// ending, whatever it does.
func (e clientEnd) Closed(error) {
	e.mu.Lock()
	e.client = nil
	if e.upstream != nil {
		e.upstream.Resume()
		e.upstream.CloseAfterFlush(flushWithin)
	}
	e.over()
}

// Closed takes the end of the server's connection. What the server said last is still the client's to read.
func (e serverEnd) Closed(error) {
	e.conn.Close()
	e.mu.Lock()
	e.upstream = nil
	if e.client != nil {
		e.client.CloseAfterFlush(flushWithin)
	}
	e.over()
}

// over forgets the client when both connections are over. Called with the mutex held, which it gives up.
func (r *relay) over() {
	both := r.client == nil && r.upstream == nil
	r.mu.Unlock()
	if both {
		r.server.forget(r)
		r.logger().Info("a replication connection is over", "pid", r.conn.Pid, "after", time.Since(r.about.since).Round(time.Millisecond))
	}
}

func (r *relay) known() *about { return r.about }

// kind is PgBouncer's word for how the client replicates.
func (r *relay) kind() string {
	if r.logical {
		return "logical"
	}
	return "physical"
}

// cancel sends the request on.
func (r *relay) cancel() {
	r.server.work.Add(1)
	go func() {
		defer r.server.work.Done()
		ctx, cancel := context.WithTimeout(context.Background(), cancelWithin)
		defer cancel()
		if err := r.conn.Cancel(ctx); err != nil {
			r.logger().Warn("a cancel request failed", "pid", r.conn.Pid, "error", err)
		}
	}()
}

func (r *relay) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaving = true
	r.goIfItMay()
}

func (r *relay) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.farewell()
}

func (r *relay) logger() *slog.Logger { return r.server.logFor(r.about) }
