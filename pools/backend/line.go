package backend

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// closeWithin bounds a good end.
const closeWithin = time.Second

// Line is a connection for probes alone: for whoever asks the same server again and again.
type Line struct{ pg *pgconn.PgConn }

// Open connects to the target and logs in, as Dial does.
func Open(ctx context.Context, t *Target) (*Line, error) {
	config := t.config.Copy()
	config.DialFunc = t.dial
	t.proving(config)
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, newError(err)
	}
	if err := pg.Exec(ctx, withoutBounds(boundsOf(pg))).Close(); err != nil {
		abandon(pg)
		return nil, newError(err)
	}
	return &Line{pg}, nil
}

// Ask runs a probe. After an error that is not the server's about the statement alone (severity ERROR) the line is good for
// nothing but Close.
func (l *Line) Ask(ctx context.Context, p *Probe) error {
	if err := p.run(ctx, l.pg); err != nil {
		return newError(err)
	}
	return nil
}

// Close ends the connection in good order, if that takes no time.
func (l *Line) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	_ = l.pg.Close(ctx)
	abandon(l.pg)
}

// abandon closes a connection whatever it does. Where a query is under way, pgconn cancels it beside that, and is given
// the time for it.
func abandon(pg *pgconn.PgConn) {
	_ = pg.Conn().Close()
	if !pg.IsClosed() {
		return
	}
	select {
	case <-pg.CleanupDone():
	case <-time.After(closeWithin):
	}
}
