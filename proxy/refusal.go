package proxy

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/protocol"
)

// refusal puts into PostgreSQL's words why the pools gave no server: the server's own error if it has one, else 53300
// with the pool's numbers, who holds it longest, and what to change.
func (c *client) refusal(r *pools.Refusal) *protocol.Error {
	var server *backend.Error
	if errors.As(r.Err, &server) {
		return fromServer(server)
	}
	e := &protocol.Error{Severity: "ERROR", Code: protocol.TooManyConnections, Message: r.Error(), Hint: r.Hint()}
	switch r.Cause {
	case pools.DialFailed:
		e.Code = protocol.CannotConnect
	case pools.Closed:
		e.Code = protocol.AdminShutdown
	}
	if holder, ok := r.Holder.(*about); ok && holder != nil {
		e.Detail = fmt.Sprintf("Held longest, for %v, by %s.", time.Since(r.HolderSince).Round(time.Millisecond), holder)
	}
	return e
}

// String names a client as others are told about it.
func (a *about) String() string {
	name := "application " + a.application
	if a.application == "" {
		name = "an application without a name"
	}
	return fmt.Sprintf("%s at %s (user %s, process %d)", name, addressText(a.peer), a.user, a.Pid)
}

func (c *client) logRefusal(r *pools.Refusal) {
	c.logger().Warn("a checkout was refused", "pool", r.Kind.String(), "cause", r.Cause.String(), "error", r.Error())
}

func stack() string { return string(debug.Stack()) }

// fromServer gives the server's own error as the client is to see it.
func fromServer(e *backend.Error) *protocol.Error {
	if e.Server == nil {
		return &protocol.Error{Severity: "ERROR", Code: protocol.CannotConnect, Message: e.Error()}
	}
	return &protocol.Error{Severity: "ERROR", Code: e.Server.Code, Message: e.Server.Message, Detail: e.Server.Detail, Hint: e.Server.Hint}
}

// isPermanent tells whether it is pointless to dial again at once.
func isPermanent(err error) bool {
	var e *backend.Error
	return errors.As(err, &e) && e.Permanent()
}
