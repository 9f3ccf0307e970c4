package test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/proxy/console"
)

// soonForgotten has pools be forgotten as soon as may be.
func soonForgotten(c *proxy.Config) { c.PoolIdleTimeout = time.Second }

// everything is what all pools have done, those included that are no more.
func everything(s *console.Snapshot) console.Totals {
	all := s.Buried
	for i := range s.Pools {
		all.Add(&s.Pools[i].Totals)
	}
	return all
}

// databases gives the names of those that there are pools of.
func databases(s *console.Snapshot) (names []string) {
	for i := range s.Pools {
		names = append(names, s.Pools[i].Database)
	}
	return names
}

// Whoever may name any database makes no pool that stays, whether there is such a database or not; what was done there stays
// in the totals.
func TestPoolsThatNobodyUsesAreForgotten(t *testing.T) {
	r := startProxy(t, watched, soonForgotten, sized(1, 1), withDatabase(func(d *proxy.Database) { d.Admin.MinIdle = 1 }))
	kept := connect(t, r.url)
	var work sync.WaitGroup
	for w := range 2 {
		work.Go(func() {
			for i := range 10 {
				_, err := pgx.Connect(t.Context(), r.named(fmt.Sprintf("made_up_%d_%d", w, i)))
				if err == nil || !strings.Contains(err.Error(), "SQLSTATE 3D000") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	work.Wait()
	other := r.upstream.NewDatabase(t)
	guest := connect(t, r.named(other))
	var before console.Totals
	for range 3 {
		if _, err := guest.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Fatal(err)
		}
	}
	if all := databases(r.server.Snapshot()); !slices.Contains(all, other) {
		t.Errorf("a database in use is not among %v", all)
	}
	guest.Close(t.Context())
	await(t, "the client is gone", func() bool { return len(r.server.Sessions()) == 1 })
	before = everything(r.server.Snapshot())
	await(t, "all but what a client has are forgotten", func() bool {
		return slices.Equal(databases(r.server.Snapshot()), []string{r.database})
	})
	await(t, "the connections of a pool that is forgotten are closed", func() bool {
		return r.value(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = '"+other+"'") == "0"
	})
	if after := everything(r.server.Snapshot()); after != before || after.Queries < 3 {
		t.Errorf("the totals were %+v, and are %+v", before, after)
	}
	if _, err := kept.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("a client that was idle all the while: %v", err)
	}
}

// A database that the configuration names keeps the connections that it is to keep, and what was turned off stays in sight.
func TestPoolsThatAreToStayAreNotForgotten(t *testing.T) {
	r := startProxy(t, watched, soonForgotten, func(c *proxy.Config) {
		own := c.Databases[proxy.AnyDatabase]
		own.Admin.MinIdle = 1
		own.URL = strings.Replace(own.URL, "?", "/postgres?", 1)
		c.Databases["app"] = own
	})
	off := r.upstream.NewDatabase(t)
	for _, name := range []string{"app", off, r.database} {
		conn := connect(t, r.named(name))
		if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		if name == off {
			if err := r.server.Disable(off); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close(t.Context())
	}
	await(t, "the other is forgotten", func() bool { return !slices.Contains(databases(r.server.Snapshot()), r.database) })
	if all := databases(r.server.Snapshot()); !slices.Contains(all, "app") || !slices.Contains(all, off) {
		t.Errorf("left are %v", all)
	}
}
