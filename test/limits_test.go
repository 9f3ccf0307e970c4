package test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy"
)

// outcome logs in and tells how that ended, by the last error.
func (s *socket) outcome(address string) string {
	s.t.Helper()
	s.send(startup(address))
	return s.verdict()
}

// verdict reads up to ReadyForQuery, which is "in", or to the end, and then tells the last error: severity, code, message.
func (s *socket) verdict() string { return s.verdictOf(protocol.ReadyForQuery) }

// verdictOf is verdict, which ends with a message of the given kind too.
func (s *socket) verdictOf(last byte) string {
	said := "closed without a word"
	for {
		kind, body, failed := s.message()
		switch {
		case failed == "(end)":
			return said
		case failed != "":
			return failed
		case kind == protocol.ErrorResponse:
			e := protocol.ReadError(body)
			if said = e.Severity + " " + e.Code + " " + e.Message; last == kind {
				return said
			}
		case kind == protocol.ReadyForQuery:
			return "in"
		}
	}
}

// wantOutcome fails the test if a login ends otherwise.
func wantOutcome(t testing.TB, address, want string) *socket {
	t.Helper()
	s := openSocket(t, address)
	if got := s.outcome(address); got != want {
		t.Errorf("the login at %s ends with %q, want %q", address, got, want)
	}
	return s
}

// byUser gives the address for another user.
func byUser(user, address string) string {
	_, rest, _ := strings.Cut(address, "@")
	return "postgres://" + user + "@" + rest
}

const tooMany = "FATAL 53300 sorry, too many clients already"

func TestMaxClientsIsToldInPostgreSQLsWordsAndLeftRoomIsTaken(t *testing.T) {
	r := startProxy(t, func(c *proxy.Config) { c.MaxClients = 2 })
	first := wantOutcome(t, r.url, "in")
	second := wantOutcome(t, r.url, "in")
	wantOutcome(t, r.url, tooMany)
	second.conn.Close()
	await(t, "the room is free again", func() bool { return openSocket(t, r.url).outcome(r.url) == "in" })
	first.wants("the others go on", one, "Z", text("SELECT 1"))
}

// D#1362, B#542: a cancel request must get through when nothing else does.
func TestCancelRequestsGetThroughWhenMaxClientsIsReached(t *testing.T) {
	r := startProxy(t, func(c *proxy.Config) { c.MaxClients, c.MaxClientsPerAddress = 1, 1 })
	s := logIn(t, r.url)
	s.runs(r, "SELECT pg_sleep(64)")
	wantOutcome(t, r.url, `FATAL 53300 too many connections for address "127.0.0.1"`)
	if err := s.cancel(); err != nil {
		t.Fatal(err)
	}
	if got := s.until("Z"); !strings.HasSuffix(got, "E(57014) Z(I)") {
		t.Errorf("the statement ends with %s", got)
	}
}

func TestWhoIsOneTooManyIsToldWhichSettingToChange(t *testing.T) {
	any := withDatabase(func(d *proxy.Database) { d.MaxClients = 1 })
	for setting, edit := range map[string]func(*proxy.Config){
		"server.max_clients":             func(c *proxy.Config) { c.MaxClients = 1 },
		"server.max_clients_per_address": func(c *proxy.Config) { c.MaxClientsPerAddress = 1 },
		"server.max_clients_per_user":    func(c *proxy.Config) { c.MaxClientsPerUser = 1 },
		"users.postgres.max_clients":     func(c *proxy.Config) { c.Users = map[string]proxy.User{"postgres": {MaxClients: 1}} },
		`databases."*".max_clients`:      any,
	} {
		r := startProxy(t, edit)
		connect(t, r.url)
		_, err := pgx.Connect(t.Context(), r.url)
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "53300" || !strings.HasSuffix(e.Hint, " raise "+setting+".") || !strings.HasSuffix(e.Detail, ": 1.") {
			t.Errorf("%s: got %v: %+v", setting, err, e)
		}
	}
}

func TestLimitsOfUsersDatabasesAndAddresses(t *testing.T) {
	const (
		noRole     = `FATAL 53300 too many connections for role "one"`
		noAddress  = `FATAL 53300 too many connections for address "127.0.0.1"`
		noDatabase = `FATAL 53300 too many connections for database "`
	)
	t.Run("of all users", func(t *testing.T) {
		r := startProxy(t, func(c *proxy.Config) {
			c.MaxClientsPerUser, c.Users = 1, map[string]proxy.User{"two": {MaxClients: 2}}
		})
		first := wantOutcome(t, byUser("one", r.url), "in")
		wantOutcome(t, byUser("one", r.elsewhere()), noRole)
		wantOutcome(t, byUser("two", r.url), "in")
		wantOutcome(t, byUser("two", r.elsewhere()), "in")
		wantOutcome(t, byUser("two", r.url), strings.Replace(noRole, "one", "two", 1))
		first.conn.Close()
		await(t, "the user may come again", func() bool {
			return openSocket(t, r.url).outcome(byUser("one", r.url)) == "in"
		})
	})
	t.Run("of one user", func(t *testing.T) {
		r := startProxy(t, func(c *proxy.Config) { c.Users = map[string]proxy.User{"one": {MaxClients: 1}} })
		wantOutcome(t, byUser("one", r.url), "in")
		wantOutcome(t, byUser("one", r.url), noRole)
		wantOutcome(t, byUser("two", r.url), "in")
		wantOutcome(t, byUser("two", r.url), "in")
	})
	t.Run("of a database", func(t *testing.T) {
		r := startProxy(t, withDatabase(func(d *proxy.Database) { d.MaxClients = 2 }))
		wantOutcome(t, r.url, "in")
		wantOutcome(t, r.url, "in")
		wantOutcome(t, r.url, noDatabase+r.database+`"`)
		wantOutcome(t, r.elsewhere(), "in")
	})
	t.Run("of an address, logins included", func(t *testing.T) {
		r := startProxy(t, func(c *proxy.Config) { c.MaxClientsPerAddress = 2 })
		silent := openSocket(t, r.url)
		silent.send(startup(r.url)[:4])
		in := wantOutcome(t, r.url, "in")
		wantOutcome(t, r.url, noAddress)
		silent.conn.Close()
		await(t, "another may come", func() bool { return openSocket(t, r.url).outcome(r.url) == "in" })
		in.wants("the first goes on", one, "Z", text("SELECT 1"))
	})
}

// A reload counts those who are there against the limits that it brings, and ends nobody.
func TestLimitsThatAReloadBringsCountWhoIsThere(t *testing.T) {
	r := startProxy(t)
	before := r.config
	first, second := wantOutcome(t, r.url, "in"), wantOutcome(t, byUser("one", r.url), "in")
	for _, c := range []struct {
		edit func(*proxy.Config)
		told string
	}{
		{func(c *proxy.Config) { c.MaxClients = 1 }, tooMany},
		{func(c *proxy.Config) { c.MaxClientsPerAddress = 2 }, `FATAL 53300 too many connections for address "127.0.0.1"`},
		{func(c *proxy.Config) { c.MaxClientsPerUser = 1 }, `FATAL 53300 too many connections for role "one"`},
		{func(c *proxy.Config) { c.Users = map[string]proxy.User{"one": {MaxClients: 1}} }, `FATAL 53300 too many connections for role "one"`},
		{withDatabase(func(d *proxy.Database) { d.MaxClients = 2 }), `FATAL 53300 too many connections for database "` + r.database + `"`},
		{func(c *proxy.Config) { c.MaxClients = 3 }, "in"},
	} {
		r.config = before
		r.reload(t, c.edit)
		wantOutcome(t, byUser("one", r.url), c.told).conn.Close()
	}
	for _, s := range []*socket{first, second} {
		s.wants("who was there goes on", one, "Z", text("SELECT 1"))
	}
}

func TestADatabaseThatThereIsNotIsToldAfterLogin(t *testing.T) {
	r := startProxy(t, func(c *proxy.Config) {
		c.Databases = map[string]proxy.Database{"only": c.Databases[proxy.AnyDatabase]}
	})
	wantOutcome(t, r.url, `FATAL 3D000 database "`+r.database+`" does not exist`)
}

// Nobody is closed silently, and nothing stays behind: what the first crowd had filled once does for the second.
func TestFiveThousandClientsAtOnceForTwoThousandPlaces(t *testing.T) {
	r := startProxy(t, sized(8, 2), checkouts(time.Minute), func(c *proxy.Config) { c.MaxClients = 2000 })
	t.Run("first", r.throng)
	before := r.usageOf(t, 0)
	t.Run("second", r.throng)
	after := r.usageOf(t, before.descriptors)
	if after.goroutines > before.goroutines || after.heap > before.heap+1<<20 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// throng has 5000 clients at once at a proxy with room for 2000.
func (r *rig) throng(t *testing.T) {
	const places, clients = 2000, 5000
	sockets, outcomes := make([]*socket, clients), make([]string, clients)
	var start, all sync.WaitGroup
	start.Add(1)
	for i := range clients {
		all.Go(func() {
			start.Wait()
			sockets[i] = openSocket(t, r.url)
			outcomes[i] = sockets[i].outcome(r.url)
		})
	}
	start.Done()
	all.Wait()
	count := map[string]int{}
	for _, o := range outcomes {
		count[o]++
	}
	if count["in"] != places || count[tooMany] != clients-places {
		t.Errorf("the logins ended with %v", count)
	}
	inParallel(50, clients, func(i int) {
		if outcomes[i] == "in" {
			sockets[i].wants("whoever is in works", one, "Z", text("SELECT 1"))
		}
	})
}

// usageOf measures the proxy when nobody is connected any more, and it has no more descriptors than before, if that is known.
func (r *rig) usageOf(t testing.TB, descriptors int) (u usage) {
	t.Helper()
	await(t, "all clients are gone", func() bool {
		r.log.forget()
		u = measure(t)
		return len(r.server.Sessions()) == 0 && (descriptors == 0 || u.descriptors <= descriptors)
	})
	return u
}

// Whoever goes on and on, byte by byte, is ended in time as well, at every stage of a login.
func TestASlowLoginEndsInTimeAtEveryStage(t *testing.T) {
	const timeout = 400 * time.Millisecond
	file := filepath.Join(t.TempDir(), "users.txt")
	if err := os.WriteFile(file, []byte(`"postgres" "secret"`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startProxy(t, func(c *proxy.Config) {
		c.LoginTimeout, c.Auth = timeout, proxy.Auth{Type: proxy.SCRAM, File: file}
	})
	first := framed('p', 4+14+4+32, "SCRAM-SHA-256\x00\x00\x00\x00\x20n,,n=,r=abcdefghijklmnopqrstuvwx")
	final := framed('p', 4+200, strings.Repeat("c", 200))
	for _, stage := range []struct {
		name   string
		whole  []byte // said at once
		slowly []byte
	}{
		{"the startup packet", nil, startup(r.url, "application_name", strings.Repeat("x", 200))},
		{"the first SASL message", startup(r.url), first},
		{"the second SASL message", append(startup(r.url), first...), final},
	} {
		t.Run(stage.name, func(t *testing.T) {
			began := time.Now()
			s := openSocket(t, r.url)
			s.send(stage.whole)
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				for _, b := range stage.slowly {
					if _, err := s.conn.Write([]byte{b}); err != nil {
						return
					}
					select {
					case <-time.After(20 * time.Millisecond):
					case <-stop:
						return
					}
				}
			}()
			got := s.verdict()
			if took := time.Since(began); got != "FATAL 57014 canceling authentication due to timeout" || took < timeout || took > timeout+2*time.Second {
				t.Errorf("got %s after %v", got, took)
			}
		})
	}
}
