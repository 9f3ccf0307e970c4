package pools

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rig drives a pair by commands of one line, as golden traces write them, and names what comes out:
// waiters as the commands do, backends b1, b2..., dials d1, d2... After every command the invariants hold.
type rig struct {
	t        testing.TB
	p        *Pair
	begin    time.Time
	now      time.Time
	configs  [2]Config
	waiters  map[string]*Waiter
	backends map[string]*Backend
	dials    map[string]*Dial
	dialNo   int
	demoted  bool // what the last Demote said
}

// newPair gives a pair that shares its server with no other.
func newPair(admin, lock Config) *Pair { return new(Budget).NewPair(admin, lock) }

func newRig(t testing.TB, settings ...string) *rig {
	begin := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	r := &rig{
		t: t, begin: begin, now: begin,
		configs: [2]Config{
			{Max: 2, CheckoutTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second},
			{Max: 1, CheckoutTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second},
		},
		waiters: map[string]*Waiter{}, backends: map[string]*Backend{}, dials: map[string]*Dial{},
	}
	r.set(settings)
	r.p = newPair(r.configs[Admin], r.configs[Lock])
	return r
}

// set changes configs by settings such as "lock.max=3" or "admin.idle_timeout=5s".
func (r *rig) set(settings []string) {
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		pool, field, _ := strings.Cut(key, ".")
		cfg := &r.configs[r.kind(pool)]
		switch field {
		case "max":
			cfg.Max = r.number(value)
		case "min_idle":
			cfg.MinIdle = r.number(value)
		case "max_waiting":
			cfg.MaxWaiting = r.number(value)
		case "checkout_timeout":
			cfg.CheckoutTimeout = r.duration(value)
		case "idle_timeout":
			cfg.IdleTimeout = r.duration(value)
		case "notice":
			cfg.Notice = r.duration(value)
		case "max_lifetime":
			cfg.MaxLifetime = r.duration(value)
		default:
			r.t.Fatalf("no setting %q", s)
		}
	}
}

// run carries out one command and returns the events that came of it.
func (r *rig) run(command string) []string {
	r.t.Helper()
	args := strings.Fields(command)
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	r.apply(command, args[0], arg(1), arg(2), args[1:])
	events := r.take()
	if err := r.p.Invariants(); err != nil {
		r.t.Fatalf("after %q: %v", command, err)
	}
	return events
}

func (r *rig) apply(command, verb, x, y string, rest []string) {
	r.t.Helper()
	switch verb {
	case "checkout":
		r.p.Checkout(r.now, r.waiter(x), r.kind(y))
	case "leave":
		r.p.Leave(r.now, r.waiter(x))
	case "release":
		r.p.Release(r.now, r.backend(x))
	case "remove":
		r.p.Remove(r.now, r.backend(x))
	case "promote":
		r.p.Promote(r.now, r.waiter(x), r.backend(y))
	case "demote":
		r.demoted = r.p.Demote(r.now, r.backend(x))
	case "hold":
		r.p.Hold(r.backend(x), true)
	case "withhold":
		r.p.Withhold(r.now, x == "on")
	case "pause":
		r.p.Pause(r.now, x == "on")
	case "unhold":
		r.p.Hold(r.backend(x), false)
	case "dialed":
		b := r.p.Dialed(r.now, r.dial(x), nil)
		r.backends["b"+strconv.Itoa(len(r.backends)+1)] = b
	case "fail":
		r.p.DialFailed(r.now, r.dial(x), errors.New("connection refused"), false)
	case "fail-for-good":
		r.p.DialFailed(r.now, r.dial(x), errors.New("password authentication failed"), true)
	case "later": // the clock goes on, and nobody has called Tick yet
		r.now = r.now.Add(r.duration(x))
	case "tick":
		if x != "" {
			r.now = r.now.Add(r.duration(x))
		}
		r.p.Tick(r.now)
	case "configure":
		r.set(rest)
		r.p.Configure(r.now, r.configs[Admin], r.configs[Lock])
	case "drain":
		r.p.Drain(r.now)
	case "retire":
		r.p.Retire(r.now)
	case "vacate":
		r.p.Vacate(r.now)
	case "close":
		r.p.Close(r.now)
	default:
		r.t.Fatalf("no command %q", command)
	}
}

// want runs a command and demands exactly these events; rule is what a failure prints.
func (r *rig) want(rule, command string, events ...string) {
	r.t.Helper()
	if got := r.run(command); !slices.Equal(got, events) {
		r.t.Fatalf("%s\n%s\n got: %s\nwant: %s", rule, command, strings.Join(got, "; "), strings.Join(events, "; "))
	}
}

// wantNext demands that Tick is due next after so long; less than 0: never.
func (r *rig) wantNext(rule string, in time.Duration) {
	r.t.Helper()
	got := r.p.Next()
	if in < 0 && got.IsZero() || in >= 0 && got.Equal(r.now.Add(in)) {
		return
	}
	r.t.Fatalf("%s: Next is %v from now (%v), want %v", rule, got.Sub(r.now), got, in)
}

// active gives the waiters, which come into being, a backend each of pool k.
func (r *rig) active(k Kind, waiters ...string) {
	r.t.Helper()
	for _, w := range waiters {
		for _, e := range r.run("checkout " + w + " " + k.String()) {
			if d, ok := strings.CutPrefix(e, "dial "); ok {
				r.run("dialed " + strings.Fields(d)[0])
			}
		}
		if r.waiter(w).Backend() == nil {
			r.t.Fatalf("%s got no %s backend", w, k)
		}
	}
}

// idle fills pool k with n idle backends, of which the last one opened is used first.
func (r *rig) idle(k Kind, n int) {
	r.t.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("filler-%s-%d", k, i))
	}
	r.active(k, names...)
	for _, name := range names {
		r.p.Release(r.now, r.waiter(name).Backend())
	}
	r.take()
}

func (r *rig) take() []string {
	var out []string
	for _, e := range r.p.Events() {
		out = append(out, r.describe(e))
	}
	return out
}

func (r *rig) describe(e Event) string {
	switch e.Op {
	case Granted:
		return fmt.Sprintf("granted %v %s%s", e.Waiter.Owner, r.nameOf(e.Backend), waited(e.Waited))
	case Promoted:
		return fmt.Sprintf("promoted %v %s%s", e.Waiter.Owner, r.nameOf(e.Backend), waited(e.Waited))
	case Refused:
		return fmt.Sprintf("refused %v %s%s", e.Waiter.Owner, e.Refusal.Cause, waited(e.Refusal.Waited))
	case PromotionRefused:
		return fmt.Sprintf("promotion refused %v %s %s%s", e.Waiter.Owner, r.nameOf(e.Backend), e.Refusal.Cause, waited(e.Refusal.Waited))
	case Demotable:
		return fmt.Sprintf("demotable %v %s", e.Waiter.Owner, r.nameOf(e.Backend))
	case StillWaiting:
		return fmt.Sprintf("still waiting %v as number %d, %d others%s", e.Waiter.Owner, e.Refusal.Place, e.Refusal.Waiting, waited(e.Refusal.Waited))
	case DialWanted:
		r.dialNo++
		name := "d" + strconv.Itoa(r.dialNo)
		r.dials[name] = e.Dial
		return fmt.Sprintf("dial %s %s", name, e.Dial.Kind())
	case CloseWanted:
		return fmt.Sprintf("close %s %s", r.nameOf(e.Backend), e.Reason)
	}
	return fmt.Sprintf("event %v", e)
}

func waited(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return " after " + d.String()
}

// counts describes a pool by its counts that are not zero.
func (r *rig) counts(k Kind) string {
	c := r.p.Counts(k)
	out := fmt.Sprintf("%s max %d", k, c.Max)
	for _, f := range []struct {
		name string
		n    int
	}{
		{"idle", c.Idle}, {"active", c.Active}, {"dialing", c.Dialing}, {"waiting", c.Waiting},
		{"promotions", c.PromotionsWaiting}, {"holding", c.Holding},
	} {
		if f.n != 0 {
			out += fmt.Sprintf(", %s %d", f.name, f.n)
		}
	}
	return out
}

func (r *rig) wantCounts(rule string, counts ...string) {
	r.t.Helper()
	for _, want := range counts {
		k := r.kind(strings.Fields(want)[0])
		if got := r.counts(k); got != want {
			r.t.Fatalf("%s: %q, want %q", rule, got, want)
		}
	}
}

func (r *rig) nameOf(b *Backend) string {
	for name, known := range r.backends {
		if known == b {
			return name
		}
	}
	return "b" + strconv.Itoa(len(r.backends)+1) // Its event comes before its name.
}

func (r *rig) waiter(name string) *Waiter {
	if r.waiters[name] == nil {
		r.waiters[name] = &Waiter{Owner: name, Label: "label of " + name}
	}
	return r.waiters[name]
}

// backend finds a backend by its name, or by that of the waiter that holds it.
func (r *rig) backend(name string) *Backend {
	r.t.Helper()
	if w := r.waiters[name]; w != nil && w.backend != nil {
		return w.backend
	}
	if r.backends[name] == nil {
		r.t.Fatalf("no backend %q", name)
	}
	return r.backends[name]
}

func (r *rig) dial(name string) *Dial {
	r.t.Helper()
	if r.dials[name] == nil {
		r.t.Fatalf("no dial %q", name)
	}
	return r.dials[name]
}

func (r *rig) kind(s string) Kind {
	r.t.Helper()
	switch s {
	case "admin":
		return Admin
	case "lock":
		return Lock
	}
	r.t.Fatalf("no pool %q", s)
	return 0
}

func (r *rig) number(s string) int {
	r.t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *rig) duration(s string) time.Duration {
	r.t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}
