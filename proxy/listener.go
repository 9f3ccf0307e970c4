package proxy

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/lockproxy/lockproxy/proxy/link"
)

// listener is one address that clients connect to.
type listener struct {
	net.Listener
	inherited bool        // it is somebody else's, who goes on with it
	shared    socket      // whose TCP address other processes' sockets have, too; nil: it is not
	path      string      // of a unix socket
	made      os.FileInfo // there

	stop func() // ends accepting; nil: it has not begun
}

// Listen opens the listeners. A taken address is an error; so is a unix socket that another process answers at, unless both
// are to share their addresses.
func (s *Server) Listen() error {
	r := s.rules.Load()
	for _, address := range r.Listen {
		if len(s.listeners) > 0 && s.listeners[0].inherited {
			break
		}
		l, err := r.listen(address)
		if err != nil {
			s.closeListeners()
			return inSetting("server.listen", err)
		}
		s.listeners = append(s.listeners, l)
	}
	if len(s.listeners) == 0 {
		return errors.New("server.listen names no address")
	}
	s.unixSocket = noAddress
	for _, address := range s.Addrs() {
		if path, ok := address.(*net.UnixAddr); ok && s.unixSocket == noAddress {
			s.unixSocket = unixAddress(path.Name)
		}
	}
	return s.listenHTTP()
}

// Inherit has the server accept from sockets that whoever started it has opened, in place of those of the configuration.
// They stay open for the next when it ends, with the connections that wait there.
func (s *Server) Inherit(sockets []net.Listener) {
	for _, l := range sockets {
		if path, ok := l.(*net.UnixListener); ok {
			path.SetUnlinkOnClose(false)
		}
		s.listeners = append(s.listeners, &listener{Listener: l, inherited: true})
	}
}

// Addrs gives the addresses that Listen opened, with the ports that port 0 became.
func (s *Server) Addrs() []net.Addr {
	var list []net.Addr
	for _, l := range s.listeners {
		list = append(list, l.Addr())
	}
	return list
}

// Addr gives the address that clients know.
func (l *listener) Addr() net.Addr {
	if l.path != "" {
		return &net.UnixAddr{Net: "unix", Name: l.path}
	}
	return l.Listener.Addr()
}

// serve has the connections of a listener accepted, by the event loops where there are any.
func (l *listener) serve(s *Server) {
	if s.loops != nil {
		if gate, err := s.loops.Accept(l.Listener, s, s.rules.Load().keepAlive()); err == nil {
			l.stop = func() { gate.Close(!l.inherited) }
			if l.shared != nil {
				l.shared = gate // the listener's own socket is closed by now
			}
			return
		}
	}
	var ended sync.WaitGroup
	ended.Go(func() { s.accept(l) })
	l.stop = func() {
		if until, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok && !l.inherited {
			_ = until.SetDeadline(time.Now().Add(takeRest))
			ended.Wait()
		}
		_ = l.Listener.Close()
		ended.Wait()
	}
}

// takeRest is how long what waits at a listener's end may take to be accepted.
const takeRest = 10 * time.Millisecond

// end ends accepting, once those are accepted who wait at a socket of our own.
func (l *listener) end() {
	if l.stop == nil {
		_ = l.Listener.Close()
	} else {
		l.stop()
	}
	if l.path == "" {
		return
	}
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.made) {
		_ = os.Remove(l.path) // else it is another process's by now
	}
}

// lastHandshakes is how long connections that are being made may take once no others begin, to arrive at a socket that shares
// its address. The kernel resets those which come after the last accept, though another process listens there.
const lastHandshakes = 100 * time.Millisecond

// retire has nobody else begin to connect to a shared socket, where the system can do that.
func (l *listener) retire() (retired bool) {
	return l.shared != nil && setOnSocket(l.shared, dropRequests) == nil
}

func (s *Server) closeListeners() {
	retired := false
	for _, l := range s.listeners {
		retired = l.retire() || retired
	}
	if retired {
		time.Sleep(lastHandshakes)
	}
	for _, l := range s.listeners {
		l.end()
	}
	s.listeners = nil
}

// accept takes connections from one listener, without event loops.
func (s *Server) accept(l *listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			s.AcceptFailed(err) // or the peer was faster
			time.Sleep(link.AcceptAgain)
			continue
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetKeepAliveConfig(s.rules.Load().keepAlive()) // a peer that is gone already is found out soon enough
		}
		v := &visitor{server: s}
		v.mu.Lock()
		if l := link.Start(conn, v); !v.begin(l, link.PeerOf(conn)) {
			l.Close()
		}
		v.mu.Unlock()
	}
}
