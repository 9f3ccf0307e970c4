package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// listen takes listen_addr, listen_port and unix_socket_dir together.
func (t *translation) listen(addresses iniSetting) {
	port := t.main["listen_port"]
	n := t.integer(port.iniEntry, port.key, port.value)
	if n < 0 || n > math.MaxUint16 {
		t.wrong(port.iniEntry, "listen_port must be a port")
		n = 0
	}
	var all []any
	for address := range splitList(addresses.value) {
		if address == "*" {
			address = ""
		}
		where := joinPort(address, n)
		if err := checkListen(where); err != nil || strings.HasPrefix(address, "/") {
			t.wrong(addresses.iniEntry, "listen_addr: %q is no address", address)
		}
		all = append(all, where)
	}
	if dir := t.main["unix_socket_dir"]; strings.HasPrefix(dir.value, "/") {
		all = append(all, dir.value)
		if n != defaultListenPort {
			t.note(port.iniEntry, port.key, fmt.Sprintf("the socket in %s is .s.PGSQL.%d, whatever the port", dir.value, defaultListenPort))
		}
	} else if dir.value != "" {
		t.note(dir.iniEntry, dir.key, "a socket has its place in the file system")
	}
	if len(all) == 0 {
		t.wrong(addresses.iniEntry, "neither listen_addr nor unix_socket_dir says where to listen")
		return
	}
	t.set("server", "listen", all, "listen_addr, listen_port, unix_socket_dir")
}

// defaultListenPort is PgBouncer's, and in the name of lockproxy's sockets.
const defaultListenPort = 6432

// joinPort is host:port; a host may be an IPv6 address, in brackets or not.
func joinPort(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + strings.Trim(host, "[]") + "]"
	}
	return host + ":" + strconv.Itoa(port)
}

// connectTimeout is a whole number of seconds in libpq; nought is no bound in PgBouncer.
func (t *translation) connectTimeout(s iniSetting) {
	n, err := strconv.ParseFloat(s.value, 64)
	switch {
	case t.duration(s.iniEntry, s.key, s.value) == "0s":
		t.always.Set("connect_timeout", strconv.Itoa(int(longest/time.Second)))
	case err == nil:
		t.always.Set("connect_timeout", strconv.Itoa(max(1, int(min(n, longest.Seconds())+0.5))))
	}
}

// keepAlive takes what PgBouncer says for all its sockets, towards clients and servers; nought is the system's own there, and
// ours here.
func (t *translation) keepAlive(s iniSetting) {
	if t.integer(s.iniEntry, s.key, s.value) == 0 {
		t.overTCP.Set("keepalives", "0")
		t.set("server", "tcp_keepalive", "0s", s.from())
		return
	}
	idle := t.keepAliveOfServers("tcp_keepidle", "keepalives_idle", longestKeepAlive)
	if idle > 0 {
		t.set("server", "tcp_keepalive", durationText(time.Duration(idle)*time.Second), "tcp_keepidle")
	}
	const why = "servers' connections have it; clients are asked again as often as tcp_keepidle says, up to nine times"
	if interval := t.keepAliveOfServers("tcp_keepintvl", "keepalives_interval", longestKeepAlive); interval > 0 && interval != idle {
		t.note(t.main["tcp_keepintvl"].iniEntry, "tcp_keepintvl", why)
	}
	if count := t.keepAliveOfServers("tcp_keepcnt", "keepalives_count", mostKeepAlives); count > 0 && count != clientKeepAlives {
		t.note(t.main["tcp_keepcnt"].iniEntry, "tcp_keepcnt", why)
	}
}

func (t *translation) userTimeout(s iniSetting) {
	n := t.integer(s.iniEntry, s.key, s.value)
	switch {
	case n < 0 || n > math.MaxInt32:
		t.wrong(s.iniEntry, "%s must be from 0 to %d", s.key, math.MaxInt32)
	case n > 0:
		t.overTCP.Set(s.key, strconv.Itoa(n))
		t.note(s.iniEntry, s.key, "servers' connections have it; for clients the system's own counts")
	}
}

const (
	clientKeepAlives = 9 // What server.tcp_keepalive has.
	// What Linux takes (MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL and MAX_TCP_KEEPCNT, include/net/tcp.h).
	longestKeepAlive, mostKeepAlives = 32767, 127
)

func (t *translation) keepAliveOfServers(key, parameter string, most int) int {
	one := t.main[key]
	n := t.integer(one.iniEntry, key, one.value)
	if n < 0 || n > most {
		t.wrong(one.iniEntry, "%s must be from 0 to %d", key, most)
	}
	if n > 0 {
		t.overTCP.Set(parameter, strconv.Itoa(n))
	}
	return n
}

func (t *translation) socketMode(s iniSetting) {
	mode := t.integer(s.iniEntry, s.key, s.value)
	if allowed := mode & int(os.ModePerm); allowed != mode {
		t.note(s.iniEntry, s.key, fmt.Sprintf("of %s only %04o says who may connect (a mode begins with 0)", s.value, allowed))
		mode = allowed
	}
	if s.given {
		t.set("server", "unix_socket_mode", fmt.Sprintf("%04o", mode), s.from())
	}
}

func (t *translation) reusePort(s iniSetting) {
	if t.integer(s.iniEntry, s.key, s.value) != 0 {
		t.set("server", "reuse_port", true, s.from())
	}
}
