package test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// wire is a connection on which a test says protocol messages itself. The driver only logged it in.
type wire struct {
	*pgconn.PgConn
	copyIn string // what COPY FROM STDIN is answered with
	status byte   // by the last ReadyForQuery
	closed bool   // by the other side
}

// reply is what the other side said up to ReadyForQuery, or to the end of the connection.
type reply struct {
	code, message string // of the first error
	rows          [][]string
	tags          []string
}

// openWire logs in with the settings as startup parameters.
func openWire(ctx context.Context, url string, settings map[string]string) (*wire, error) {
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["client_encoding"] = "UTF8"
	for name, value := range settings {
		config.RuntimeParams[name] = value
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &wire{PgConn: conn, status: 'I'}, nil
}

// say sends messages and takes the answers, up to the first ReadyForQuery.
func (w *wire) say(t testing.TB, messages ...pgproto3.FrontendMessage) (r reply) {
	t.Helper()
	if err := w.Conn().SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		w.Frontend().Send(m)
	}
	if err := w.Frontend().Flush(); err != nil {
		w.closed = true
		return r
	}
	for {
		m, err := w.Frontend().Receive()
		if err != nil {
			w.closed = true
			return r
		}
		if z, ok := m.(*pgproto3.ReadyForQuery); ok {
			w.status = z.TxStatus
			return r
		}
		if err := w.take(m, &r); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *wire) take(m pgproto3.BackendMessage, r *reply) error {
	switch m := m.(type) {
	case *pgproto3.ErrorResponse:
		if r.code == "" {
			r.code, r.message = m.Code, m.Message
		}
	case *pgproto3.DataRow:
		row := make([]string, len(m.Values))
		for i, value := range m.Values {
			row[i] = string(value)
		}
		r.rows = append(r.rows, row)
	case *pgproto3.CommandComplete:
		r.tags = append(r.tags, string(m.CommandTag))
	case *pgproto3.CopyInResponse:
		w.Frontend().Send(&pgproto3.CopyData{Data: []byte(w.copyIn)})
		w.Frontend().Send(&pgproto3.CopyDone{})
		return w.Frontend().Flush()
	}
	return nil
}

// ask runs a simple query.
func (w *wire) ask(t testing.TB, sql string) reply {
	t.Helper()
	return w.say(t, &pgproto3.Query{String: sql})
}

// must runs a simple query that must succeed, and gives the rows.
func (w *wire) must(t testing.TB, sql string) [][]string {
	t.Helper()
	r := w.ask(t, sql)
	if r.code != "" || w.closed {
		t.Fatalf("%s: %s %s", sql, r.code, r.message)
	}
	return r.rows
}
