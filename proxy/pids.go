package proxy

// pids tells sessions which client a server process works for, and the reverse.
type pids struct{ server *Server }

// ServerOf gives the process that serves the client now; 0: none.
func (p pids) ServerOf(pid uint32) uint32 {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	switch c := p.server.clients[pid].(type) {
	case *client:
		return c.serving.Load()
	case *relay:
		return c.conn.Pid
	}
	return 0
}

// NotifierOf gives the client whose NOTIFY the process ran last; 0: none.
func (p pids) NotifierOf(server uint32) uint32 {
	if sc, ok := p.server.backends.Load(server); ok {
		return sc.(*serverConn).notifier.Load()
	}
	return 0
}
