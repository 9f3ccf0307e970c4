package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"
)

// address is what was really dialled: of several hosts, or of several addresses of one name, the one that answered.
type address struct{ network, name string }

// dialled is a connection that knows its address. A variable beside the dial would not do: pgconn dials from goroutines
// of its own too, when it gives up a connection that is half logged in.
type dialled struct {
	net.Conn
	to      address
	asked   time.Time
	silence *silence // of the server, until it has said something; nil: there is none to tell of
}

// Read notes whether the server says anything.
func (d *dialled) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if d.silence != nil {
		d.silence.heard(d.asked, n > 0)
		d.silence = nil
	}
	return n, err
}

// dial opens one connection with the target's timeouts and keepalives.
func (t *Target) dial(ctx context.Context, network, name string) (net.Conn, error) {
	d := net.Dialer{Timeout: t.config.ConnectTimeout, KeepAliveConfig: t.keepAlive}
	if t.userTimeout > 0 && network == "tcp" {
		d.Control = func(_, _ string, conn syscall.RawConn) error {
			var failed error
			err := conn.Control(func(fd uintptr) { failed = setUserTimeout(int(fd), t.userTimeout) })
			return errors.Join(err, failed)
		}
	}
	to, asked := address{network, name}, time.Now()
	var its *silence
	if t.silences != nil {
		its = t.silences.at(to)
	}
	conn, err := d.DialContext(ctx, network, name)
	if err != nil {
		if its != nil {
			its.heard(asked, false)
		}
		return nil, err
	}
	return &dialled{conn, to, asked, its}, nil
}

// addressOf finds the address of a connection that dial made, below its TLS if need be.
func addressOf(conn net.Conn) address {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return conn.(*dialled).to
}
