package login

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// The PROXY protocol, version 2 (haproxy's doc/proxy-protocol.txt, 2.2): what a proxy says before anything else about whom
// it speaks for.
const (
	proxiedMark = "\r\n\r\n\x00\r\nQUIT\n"
	proxiedHead = 16 // the mark, version and command, families, and the length of what follows

	// maxProxied is the most that may follow the head: addresses, and what a proxy knows beside them, such as a certificate.
	maxProxied = 4 << 10
)

// introduce reads whom a peer speaks for that is one of our proxies. From then on that is who the peer is.
func (v *visit) introduce() error {
	if !v.isProxy() {
		return nil
	}
	client, proxied, err := readProxied(v.post)
	if err != nil {
		if v.post.end != nil {
			return err
		}
		return &unspoken{"PROXY protocol", err}
	}
	if proxied {
		v.who.Address, v.who.Port = client.Addr(), client.Port()
	}
	return nil
}

func (v *visit) isProxy() bool {
	address := v.who.Address.Unmap().WithZone("")
	for _, one := range v.door.Proxies {
		if one.Contains(address) {
			return true
		}
	}
	return false
}

// readProxied reads a header, and no byte behind it. Proxied is false where the proxy speaks for itself, to see whether we
// live, or for somebody without an address that means anything here.
func readProxied(r io.Reader) (client netip.AddrPort, proxied bool, err error) {
	var head [proxiedHead]byte
	// Byte by byte at first: who speaks something else may wait for an answer.
	for i := range proxiedMark {
		if _, err := io.ReadFull(r, head[i:i+1]); err != nil {
			return client, false, err
		}
		if head[i] != proxiedMark[i] {
			return client, false, errors.New("there is no header of version 2")
		}
	}
	rest := head[len(proxiedMark):]
	if _, err := io.ReadFull(r, rest); err != nil {
		return client, false, err
	}
	size := int(binary.BigEndian.Uint16(rest[2:]))
	if size > maxProxied {
		return client, false, fmt.Errorf("a header of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return client, false, err
	}
	return parseProxied(rest[0], rest[1], body)
}

// parseProxied takes a header's command and families, and what follows its head. What stands behind the addresses is of no
// interest.
func parseProxied(command, families byte, body []byte) (client netip.AddrPort, proxied bool, err error) {
	const local, forAnother = 0x20, 0x21
	const unspecified, tcp4, tcp6, unixStream = 0x00, 0x11, 0x21, 0x31
	const size4, size6, sizeUnix = 12, 36, 216 // of both addresses, with their ports
	switch command {
	case local:
		return client, false, nil
	case forAnother:
	default:
		return client, false, fmt.Errorf("version and command are %#x", command)
	}
	switch {
	case families == unspecified, families == unixStream && len(body) >= sizeUnix:
		return client, false, nil
	case families == tcp4 && len(body) >= size4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:])), true, nil
	case families == tcp6 && len(body) >= size6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:])), true, nil
	}
	return client, false, fmt.Errorf("families %#x with addresses of %d bytes", families, len(body))
}
