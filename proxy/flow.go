package proxy

import "github.com/lockproxy/lockproxy/proxy/session"

// Backpressure: whoever sends more than the other side takes is not read from until it does. What is kept for a socket
// is bounded by max_buffer and what a read or two bring.

// flow is which of a client's two links are not read from, and why. Under the client's mutex.
type flow struct {
	sessionFull bool // the session keeps as much from the client as it may
	serverFull  bool // its server has not taken what it sent
	clientFull  bool // the client has not taken what its server sent
	paused      bool // so reading from the client is paused
}

// write hands on what a step put out, and tells how much of it is the client's.
func (c *client) write(o *session.Output) (sent int) {
	if sc := c.server; sc != nil && len(o.Server) > 0 {
		c.batch.Write(sc.link, o.Server...)
		c.flow.serverFull = sc.link.Buffered() > c.session.MaxBuffer()
	}
	if c.link != nil && len(o.Client) > 0 {
		c.batch.Write(c.link, o.Client...)
		for _, p := range o.Client {
			sent += len(p)
		}
		if !c.flow.clientFull && c.server != nil && c.link.Buffered() > c.session.MaxBuffer() {
			c.flow.clientFull = true
			c.server.link.Pause()
		}
	}
	return sent
}

// steer pauses reading from the client, or resumes it. There is always a call of Drained to come when serverFull was
// set: the buffer was not empty then.
func (c *client) steer() {
	c.flow.sessionFull = c.session.Paused()
	if full := c.flow.sessionFull || c.flow.serverFull; full != c.flow.paused && c.link != nil {
		c.flow.paused = full
		if full {
			c.link.Pause()
		} else {
			c.link.Resume()
		}
	}
}

// Drained lets the server go on that had sent more than the client took.
func (c *client) Drained() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resumeServer()
}

func (c *client) resumeServer() {
	if c.flow.clientFull {
		c.flow.clientFull = false
		if c.server != nil {
			c.server.link.Resume()
		}
	}
}

// serverDrained lets the client go on that had sent more than its server took.
func (c *client) serverDrained(sc *serverConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == sc {
		c.flow.serverFull = false
		c.steer()
	}
}
