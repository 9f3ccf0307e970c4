package backend

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
)

// DialReplication connects to the target as Dial does, for replication: kind is the value of the parameter "replication",
// "true" or "database", and the parameters, which win over the target's, are the client's own. Nothing is asked on such a
// connection, for one of the kind "true" takes no SQL. The error is always an *Error.
func DialReplication(ctx context.Context, t *Target, kind string, parameters []Parameter) (*Conn, error) {
	config := t.config.Copy()
	for _, one := range parameters {
		config.RuntimeParams[one.Name] = one.Value
	}
	config.RuntimeParams["replication"] = kind
	return t.connect(ctx, config, func(context.Context, *Conn, *pgconn.PgConn) error { return nil })
}

// takeUnread takes the messages that pgconn has read and not looked at. SyncConn leaves none, but what it does is a query.
func (c *Conn) takeUnread(ctx context.Context, link *pgconn.HijackedConn) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := link.Conn.SetReadDeadline(deadline); err != nil {
			return err
		}
	}
	for link.Frontend.ReadBufferLen() > 0 {
		m, err := link.Frontend.Receive()
		if err != nil {
			return err
		}
		if c.Unread, err = m.Encode(c.Unread); err != nil {
			return err
		}
	}
	return nil
}
