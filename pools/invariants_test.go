package pools

import (
	"strings"
	"testing"
)

// TestInvariantsFindDamage damages a sound pair in one way at a time.
func TestInvariantsFindDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(r *rig)
		want   string
	}{
		{"nothing", func(*rig) {}, ""},
		{"a count that drifted", func(r *rig) { r.p.pools[Admin].active.n++ }, "in a list that counts"},
		{"a count that drifted down", func(r *rig) { r.p.pools[Admin].active.n-- }, "more than the"},
		{"a link that points nowhere", func(r *rig) { r.p.pools[Admin].active.last.prev = nil }, "broken link"},
		{"a record that thinks it is elsewhere", func(r *rig) { r.p.pools[Lock].waiting.first.in = nil }, "broken link"},
		{"a queue out of order", func(r *rig) { r.waiter("l3").seq = 1 }, "waits behind arrival"},
		{"a backend of the other kind", func(r *rig) { r.backend("a1").kind = Lock }, "whose holder does not have it"},
		{"a holder that lost its backend", func(r *rig) { r.waiter("a1").backend = nil }, "whose holder does not have it"},
		{"an idle backend with a holder", func(r *rig) {
			r.run("release a2")
			r.p.pools[Admin].idle.front().holder = r.waiter("a1")
		}, "an idle backend"},
		{"a dial of the other kind", func(r *rig) {
			r.run("remove a2")
			r.run("checkout a3 admin")
			r.p.pools[Admin].dials.front().kind = Lock
		}, "a dial of the lock pool"},
		{"holding without being active", func(r *rig) {
			b := &Backend{}
			r.p.pools[Lock].holding.pushBack(&b.held, b)
		}, "not active"},
		{"a checkout by a holder", func(r *rig) { r.waiter("l2").backend = r.backend("l1") }, "while it holds"},
		{"waiting beside an idle backend", func(r *rig) {
			b := &Backend{kind: Lock}
			r.p.pools[Lock].idle.pushBack(&b.place, b)
		}, "beside 1 idle"},
		{"idle in a pool that shrank", func(r *rig) {
			r.run("release a2")
			r.p.pools[Admin].Max = 1
		}, "idle backends in a pool with -1"},
		{"waiting after the close", func(r *rig) { r.p.closed = true }, "after Close"},
		{"a promotion without a backend", func(r *rig) {
			w := &Waiter{seq: 99}
			r.p.promoting.pushBack(&w.place, w)
		}, "without an active admin backend"},
		{"a promotion while an admin waiter starves", func(r *rig) {
			w := &Waiter{seq: 99}
			r.p.pools[Admin].waiting.pushBack(&w.place, w)
		}, "somebody waits for an admin slot"},
		{"a promotion beside a free slot", func(r *rig) { r.p.pools[Lock].Max = 9 }, "free slots"},
		{"a fifth dial", func(r *rig) {
			for range 5 {
				d := &Dial{}
				r.p.pools[Admin].dials.pushBack(&d.place, d)
			}
		}, "5 dials under way"},
		{"a dial that is missing", func(r *rig) { r.run("leave a1"); r.p.pools[Lock].Max = 9 }, "a dial is needed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "admin.max=2", "lock.max=1")
			r.active(Lock, "l1")
			r.active(Admin, "a1", "a2")
			r.run("checkout l2 lock")
			r.run("checkout l3 lock")
			r.run("promote a1 a1")
			c.damage(r)
			err := r.p.Invariants()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want an error about %q", err, c.want)
			}
		})
	}
}

func TestListsRefuseARecordThatIsElsewhere(t *testing.T) {
	for name, misuse := range map[string]func(a, b *list[Dial], d *Dial){
		"put into two": func(a, b *list[Dial], d *Dial) { a.pushBack(&d.place, d); b.pushFront(&d.place, d) },
		"taken off the wrong one": func(a, b *list[Dial], d *Dial) {
			a.pushBack(&d.place, d)
			b.remove(&d.place)
		},
		"taken off twice": func(a, _ *list[Dial], d *Dial) {
			a.pushBack(&d.place, d)
			a.remove(&d.place)
			a.remove(&d.place)
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			misuse(&list[Dial]{}, &list[Dial]{}, &Dial{})
		})
	}
}
