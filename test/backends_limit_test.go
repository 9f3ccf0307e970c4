package test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// atMost bounds the backends of all pools together.
func atMost(admin, lock int) func(*proxy.Config) {
	return func(c *proxy.Config) { c.MaxBackends = proxy.Shares{Admin: admin, Lock: lock} }
}

// watch counts the backends that clients named counted use, again and again, and gives the most that it saw.
func (r *rig) watch(t testing.TB) (stop func() int) {
	done, most := make(chan struct{}), 0
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			n := number(t, r.value(t, `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
				AND application_name = 'counted'`))
			most = max(most, n)
		}
	})
	return func() int {
		close(done)
		all.Wait()
		return most
	}
}

// Pools of several databases on one server share what max_backends leaves, and everybody gets its turn.
func TestPoolsOfOneServerShareMaxBackends(t *testing.T) {
	r := startProxy(t, sized(4, 4), checkouts(patience), atMost(3, 1))
	names := []string{r.database}
	for range 3 {
		names = append(names, r.upstream.NewDatabase(t))
	}
	stop := r.watch(t)
	var served [4]atomic.Int32
	enough := func() bool {
		for i := range served {
			if served[i].Load() < 20 {
				return false
			}
		}
		return true
	}
	var all sync.WaitGroup
	end := time.Now().Add(patience)
	for i, name := range names {
		for range 4 {
			all.Go(func() {
				s := logIn(t, strings.Replace(r.url, "/"+r.database+"?", "/"+name+"?", 1), "application_name", "counted")
				for !enough() && time.Now().Before(end) {
					s.wants("its turn", "T D() C(SELECT 1) Z(I)", "Z", text("SELECT pg_sleep(0.002)"))
					served[i].Add(1)
				}
			})
		}
	}
	all.Wait()
	if most := stop(); most < 1 || most > 3 {
		t.Errorf("the server had %d backends of ordinary work, 3 are the bound", most)
	}
	counts := fmt.Sprint(served[0].Load(), served[1].Load(), served[2].Load(), served[3].Load())
	if !enough() {
		t.Errorf("served %s times", counts)
	}
	t.Logf("served %s times", counts)
}

// An idle backend of another pool makes room at once.
func TestAnIdleBackendOfAnotherPoolMakesRoom(t *testing.T) {
	r := startProxy(t, sized(4, 4), atMost(1, 1))
	here, there := logIn(t, r.url), logIn(t, r.elsewhere())
	for range 5 {
		here.wants("here", one, "Z", text("SELECT 1"))
		there.wants("there", one, "Z", text("SELECT 1"))
	}
	if !r.log.has("backend closed", "yielded to another pool") {
		t.Error("no backend has made room")
	}
}

// A flood of ordinary work cannot take the lock pools' share, nor the reverse; and whoever is refused learns which setting it
// was.
func TestAFloodLeavesTheOtherShareAlone(t *testing.T) {
	for _, c := range []struct{ kind, floods, works string }{
		{"admin", "SELECT 1", "SELECT pg_advisory_xact_lock(%d)"}, {"lock", "SELECT pg_advisory_xact_lock(%d)", "SELECT 1"},
	} {
		t.Run(c.kind, func(t *testing.T) {
			r := startProxy(t, sized(4, 4), checkouts(3*time.Second), atMost(2, 2))
			texts := func(format string, n int) string {
				if strings.Contains(format, "%") {
					return fmt.Sprintf(format, n)
				}
				return format
			}
			for i, address := range []string{r.url, r.elsewhere()} {
				logIn(t, address).asks("ZZ", text("BEGIN"), text(texts(c.floods, i)))
			}
			for i, address := range []string{r.url, r.elsewhere()} {
				late := logIn(t, address)
				late.send(packed(t, text(texts(c.floods, 10+i))))
				got := late.verdictOf('E')
				if want := "server.max_backends leaves the server's " + c.kind + " pools 2 backends, and all are in use"; !strings.HasPrefix(got, "ERROR 53300") || !strings.Contains(got, want) {
					t.Errorf("told %q, want %q", got, want)
				}
				late.until("Z")
				if c.kind == "admin" && i == 0 {
					e := fails(t, connect(t, address), "53300", "SELECT 1")
					for _, name := range []string{r.database, "postgres"} {
						if !strings.Contains(e.Detail, "database "+name+" (user postgres) has 1") {
							t.Errorf("who has the share is not told of %s: %q", name, e.Detail)
						}
					}
				}
				if got := late.asks("Z", text(texts(c.works, 20+i))); !strings.Contains(got, "C(SELECT 1) Z(I)") {
					t.Errorf("the other share: %s", got)
				}
			}
		})
	}
}

// A promotion must not wait for the lock share while somebody in any pool waits for the admin share: the holder of the lock
// may be who needs it.
func TestPromotionsDoNotWaitWhileAnotherPoolWaitsForTheAdminShare(t *testing.T) {
	r := startProxy(t, sized(4, 4), checkouts(patience), atMost(1, 1))
	holder := logIn(t, r.elsewhere())
	holder.asks("ZZ", text("BEGIN"), text("SELECT pg_advisory_xact_lock(1)"))
	writer := logIn(t, r.url)
	writer.asks("ZZ", text("BEGIN"), text("SELECT now()"))
	writer.send(packed(t, text("SELECT pg_advisory_xact_lock(2)"))) // waits to be promoted
	await(t, "it waits", func() bool {
		for _, i := range r.server.Sessions() {
			if i.WaitsFor == "promotion" {
				return true
			}
		}
		return false
	})
	worker := logIn(t, r.elsewhere())
	worker.send(packed(t, text("SELECT 1"))) // the lock holder's work, in a pool of another database
	if got := writer.verdictOf('E'); !strings.HasPrefix(got, "ERROR 53300") {
		t.Errorf("the promotion ends with %q", got)
	}
	writer.until("Z")
	writer.asks("Z", text("ROLLBACK"))
	if got := worker.until("Z"); got != one {
		t.Errorf("the work ends with %s", got)
	}
	holder.asks("Z", text("COMMIT"))
}

// Whoever may have one connection has it for locks as for everything else, as directly.
func TestAUserWithOneConnectionLocksWithIt(t *testing.T) {
	r := startProxy(t, sized(2, 2), withDatabase(func(d *proxy.Database) { d.URL = strings.Replace(d.URL, postgres.Superuser+"@", "", 1) }))
	role := r.database + "_one"
	r.query(t, "CREATE ROLE "+role+" LOGIN CONNECTION LIMIT 1")
	t.Cleanup(func() {
		r.stop()
		r.query(t, "DROP ROLE "+role)
	})
	s := logIn(t, strings.Replace(r.url, "postgres@", role+"@", 1))
	for range 2 {
		s.wants("an ordinary statement", "T D(1) C(SELECT 1) Z(I)", "Z", text("SELECT 1"))
		s.wants("a lock", "T D(t) C(SELECT 1) Z(I)", "Z", text("SELECT pg_try_advisory_lock(1)"))
		s.wants("and its end", "T D(t) C(SELECT 1) Z(I)", "Z", text("SELECT pg_advisory_unlock(1)"))
	}
}
