package backend

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// Cancel asks the server to cancel what runs on c, on a connection of its own to the same address, over TLS where c has
// TLS. It returns when the server has closed that connection, so that the signal is on its way to c's process before
// anybody does anything else with c: a CancelRequest that came late would hit the next statement. It is bounded by ctx
// and connect_timeout, and may be called from any goroutine, at any time, even after Close.
//
// After an error that is ErrAstray the request may still arrive, whenever the server comes to it; after any other it never will.
func (c *Conn) Cancel(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.link.Config.ConnectTimeout)
	defer cancel()
	link, config, reached := *c.link, *c.link.Config, false
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := c.link.Config.DialFunc(ctx, network, address)
		reached = reached || err == nil
		return conn, err
	}
	link.Config = &config
	// pgconn's CancelRequest reads the connection's facts and never touches its socket's bytes.
	pg, err := pgconn.Construct(&link)
	if err != nil {
		return newError(err)
	}
	if err = pg.CancelRequest(ctx); err == nil {
		err = ctx.Err() // CancelRequest takes any end of its last read, a deadline's too, for the server's closing.
	}
	switch {
	case err == nil:
		return nil
	case reached:
		err = fmt.Errorf("%w: %w", ErrAstray, err)
	}
	return newError(err)
}

// ErrAstray says of a cancel request that the server may still get it.
var ErrAstray = errors.New("the server may still get the cancel request")

// redial gives what Cancel dials with: the address of c, whatever pgconn makes of it. It would take a unix socket's
// folder from the first host.
func (c *Conn) redial(t *Target) pgconn.DialFunc {
	to := c.to
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx, to.network, to.name) }
}
