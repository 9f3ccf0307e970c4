package session

import (
	"testing"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// fixedPids are the server processes of a few clients.
type fixedPids map[uint32]uint32

func (f fixedPids) ServerOf(client uint32) uint32 { return f[client] }

func (f fixedPids) NotifierOf(server uint32) uint32 {
	for client, its := range f {
		if its == server {
			return client
		}
	}
	return 0
}

// bindOne is a Bind message with one parameter of eight characters.
func bindOne(name, value string) []byte {
	return message(protocol.Bind, "\x00"+name+"\x00\x00\x00\x00\x01\x00\x00\x00\x08"+value+"\x00\x00")
}

func withPids(c *Config) { c.Pids = fixedPids{12345678: 77, 2000000000: 4194303} }

// isolationtester asks so, with the process ids of BackendKeyData in a literal and in a parameter.
func TestClientsProcessIdsAreTheirServersWhereTextsAskAboutProcesses(t *testing.T) {
	c := newConversation(t, withPids)
	c.sends(query("select pg_cancel_backend(12345678), 12345679, '{2000000000,123456789012345678}' from pg_locks"))
	c.granted(pools.Admin)
	c.wantServer("spaces keep everything where it was",
		query("select pg_cancel_backend(77      ), 12345679, '{4194303   ,123456789012345678}' from pg_locks"))
	c.answers(row("t", "", ""), selected, ready('I'))
	c.server, c.client, c.actions = nil, nil, nil
	c.sends(query("select 12345678"))
	c.again(pools.Admin)
	c.wantServer("elsewhere a number is a number", query("select 12345678"))
	c.answers(row("12345678"), selected, ready('I'))
	c.server, c.client, c.actions = nil, nil, nil
	c.sends(parse("a", "select pg_blocking_pids($1), pg_terminate_backend(12345678)"), syncMessage())
	c.again(pools.Admin)
	c.answers(parsedOurs, ready('I'))
	c.server, c.client, c.actions = nil, nil, nil
	c.sends(bindOne("a", "12345678"), execute(""), syncMessage())
	c.again(pools.Admin)
	c.wantServer("a statement is read anew for each Bind, since the processes are others by then", closing('S', "lockproxy_pids"),
		parse("lockproxy_pids", "select pg_blocking_pids($1), pg_terminate_backend(77      )"), bindOne("lockproxy_pids", "77      "), execute(""), syncMessage())
	c.answers(message('3', ""), message('1', ""), message('2', ""), row("t", "t"), selected, ready('I'))
	c.wantClient("nothing of that is seen", message('2', ""), row("t", "t"), selected, ready('I'))
}

// Many take their own process id for a key.
func TestNumbersStayWhatTheyAreWhereTextsTakeLocks(t *testing.T) {
	c := newConversation(t, withPids)
	locks := "select pg_advisory_unlock(12345678) from pg_stat_activity limit 1"
	c.sends(query(locks))
	c.granted(pools.Admin)
	c.wantServer("a key is a key", query(locks))
	c.answers(row("t"), selected, ready('I'))
	c.client, c.server, c.actions = nil, nil, nil
	c.sends(parse("", "select pg_advisory_unlock($1) from pg_locks"), bindOne("", "12345678"), execute(""), syncMessage())
	c.again(pools.Admin)
	c.wantServer("in parameters as well", parse("", "select pg_advisory_unlock($1) from pg_locks"), bindOne("", "12345678"), execute(""), syncMessage())
}

func TestProcessIdsInBinaryParametersAreTheirServers(t *testing.T) {
	s := newConversation(t, withPids).s
	s.srv = NewServer(99, nil, s.now)
	const formats, results = "\x00\x03\x00\x01\x00\x01\x00\x00", "\x00\x00"
	values := "\x00\x03\x00\x00\x00\x04\x00\xbc\x61\x4e\x00\x00\x00\x08\x00\x00\x00\x00\x77\x35\x94\x00\xff\xff\xff\xff"
	want := "\x00\x03\x00\x00\x00\x04\x00\x00\x00\x4d\x00\x00\x00\x08\x00\x00\x00\x00\x00\x3f\xff\xff\xff\xff\xff\xff"
	if got := string(s.bindWithServerPids([]byte(formats + values + results))); got != formats+want+results {
		t.Errorf("got %q", got)
	}
	whole := []byte(formats + values + results)
	for n := range whole {
		s.bindWithServerPids(whole[:n]) // whatever a client sends
	}
}

func TestNotificationsComeFromTheClientsThatSentThem(t *testing.T) {
	c := newConversation(t, withPids)
	c.sends(query("listen news"))
	c.granted(pools.Admin)
	c.answers(complete("LISTEN"), ready('I'))
	c.tellsPins("0", "1", "0")
	c.client = nil
	c.answers(message(protocol.Notification, "\x00\x00\x00\x4dnews\x00\x00"))
	c.wantClient("its process id is the one that it has here", message(protocol.Notification, "\x00\xbc\x61\x4enews\x00\x00"))
}
