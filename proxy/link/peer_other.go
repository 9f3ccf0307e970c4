//go:build !linux

package link

import (
	"net"
	"net/netip"
)

// PeerOf gives who is at the other end of a connection.
func PeerOf(conn net.Conn) Peer {
	p := Peer{Account: Unknown}
	p.Address, _ = netip.ParseAddrPort(conn.RemoteAddr().String()) // the zero one for a unix socket
	return p
}
