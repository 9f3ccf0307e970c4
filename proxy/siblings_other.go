//go:build !linux

package proxy

import "github.com/lockproxy/lockproxy/proxy/login"

// siblings are other lockproxies at the same address. They reach each other on Linux only, where sockets have abstract names.
type siblings struct{ number uint32 }

func (s *Server) meetSiblings() { s.siblings.number = anyNumber() }

func (s *siblings) close() {}

func (s *Server) cancelElsewhere(*login.Cancel) {}
