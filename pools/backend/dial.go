package backend

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Conn is a logged-in, idle server connection. Its fields do not change. Whoever has it owns the socket in Net: nothing
// here reads or writes it.
type Conn struct {
	Net net.Conn // nothing is unread in any buffer before it, and it has no deadline

	Pid        uint32      // the server process
	Key        []byte      // its cancel key: 4 bytes, up to 256 since protocol 3.2
	Parameters []Parameter // what the server reported of itself (ParameterStatus), in its order
	Version    int         // server_version_num, such as 150004

	// The application's own setting of a timeout, by ALTER ROLE, ALTER DATABASE or the URL, wins over the pool's.
	OwnLockTimeout bool // lock_timeout
	OwnIdleTimeout bool // idle_in_transaction_session_timeout

	BoundsStatements bool // its sessions begin with a statement_timeout

	SearchPath string // search_path, as the session begins with it

	Defaults Defaults // what the session began with

	// Unread is what a server of a replication connection said behind its first ReadyForQuery, unasked. It is for the client.
	Unread []byte

	to      address              // for Cancel
	link    *pgconn.HijackedConn // for Cancel: TLS and key
	silence *silence             // of its server; nil: there is no other
}

// Parameter is a setting that the server reports to its clients.
type Parameter struct{ Name, Value string }

// maxLoginMessage bounds the messages of a server up to the hand-over, in bytes. Afterwards the session reads.
const maxLoginMessage = 1 << 20

// Dial connects to the target and logs in. It tries the target's addresses in turn, each for connect_timeout at most
// (by default 15 s, or 3 s where the URL names several servers), runs the probes, and ends at once when ctx does. The error is
// always an *Error.
func Dial(ctx context.Context, t *Target, probes ...*Probe) (*Conn, error) {
	return t.connect(ctx, t.config.Copy(), func(ctx context.Context, c *Conn, pg *pgconn.PgConn) error {
		if err := c.askFacts(ctx, pg); err != nil {
			return err
		}
		for _, p := range probes {
			if err := p.run(ctx, pg); err != nil {
				return err
			}
		}
		// SyncConn reads on until nothing is buffered that came behind ReadyForQuery: a ParameterStatus of a reload, a
		// notice.
		return pg.SyncConn(ctx)
	})
}

// connect opens a connection as config says, has a function ask what must be known about it, and takes the socket out of
// pgconn's hands.
func (t *Target) connect(ctx context.Context, config *pgconn.Config, ask asking) (*Conn, error) {
	t.proving(config)
	var heard *announced // of the connection that was tried last, which is the one that there is
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		heard = &announced{Reader: r}
		return pgproto3.NewFrontend(heard, w)
	}
	if t.brief {
		config.ConnectTimeout = shortTimeout
	}
	pg, err := t.logIn(ctx, config)
	if err != nil {
		return nil, newError(err)
	}
	// ConnectConfig's own bound ends with ReadyForQuery.
	ctx, cancel := context.WithTimeout(ctx, t.config.ConnectTimeout)
	defer cancel()
	c, err := handOver(ctx, pg, heard, ask)
	if err != nil {
		abandon(pg)
		return nil, newError(err)
	}
	// A copy, since pgconn may still be giving up another host's connection with the first one.
	c.link.Config = config.Copy()
	c.link.Config.DialFunc = c.redial(t)
	c.link.Config.ConnectTimeout = t.config.ConnectTimeout
	if t.silences != nil {
		c.silence = t.silences.at(c.to)
	}
	return c, nil
}

// Close closes the socket. It sends no Terminate, which could end up inside a half-written message: who wrote the last
// message knows. A connection that Dial has just given may be closed like this too.
func (c *Conn) Close() { _ = c.Net.Close() }

// asking asks a new connection what must be known about it, while the simple way is still open.
type asking func(ctx context.Context, c *Conn, pg *pgconn.PgConn) error

func handOver(ctx context.Context, pg *pgconn.PgConn, heard *announced, ask asking) (*Conn, error) {
	c := &Conn{}
	if err := ask(ctx, c, pg); err != nil {
		return nil, err
	}
	link, err := pg.Hijack()
	if err != nil {
		return nil, err
	}
	if err := c.takeUnread(ctx, link); err != nil {
		return nil, err
	}
	link.Conn = unwrapped(link.Conn)
	if err := link.Conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	c.Net, c.to, c.Pid, c.Key = link.Conn, addressOf(link.Conn), link.PID, link.SecretKey
	if bare, ok := c.Net.(*dialled); ok {
		c.Net = bare.Conn
	}
	c.Parameters = heard.inOrder(link.ParameterStatuses)
	link.Frontend, link.ParameterStatuses, link.CustomData = nil, nil, nil // the buffers, which idle backends do without
	c.link = link
	return c, nil
}
