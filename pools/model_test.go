package pools

import (
	"fmt"
	"slices"
	"time"
)

// model is the pools once more, naively: slices that are searched, and rules that judge each event by what
// was known before it. It decides nothing; it only says whether what the pair did was right.
type model struct {
	cfg       [2]Config
	idle      [2][]*Backend // the last one was used last
	active    [2][]*Backend
	dials     [2][]*Dial
	waiting   [2][]*Waiter
	promoting []*Waiter
	order     []*Waiter // all who wait, in the order in which they came
	came      map[*Waiter]time.Time
	rested    map[*Backend]time.Time
	born      map[*Backend]time.Time
	holds     map[*Backend]bool
	surplus   []*Backend // that are to be demoted
	wrong     bool       // one was demoted where it should not be, or not where it should
	has       map[*Waiter]*Backend
	old       map[any]bool // backends and dials from before the last drain
	now       time.Time
	failing   bool
	failedAt  time.Time
	withheld  bool
	paused    bool
	closed    bool
	vacant    bool // nobody has asked since the pair was vacated, or since a dial failed for good
	verb      string
}

func newModel(admin, lock Config) *model {
	return &model{
		cfg: [2]Config{admin, lock}, came: map[*Waiter]time.Time{}, rested: map[*Backend]time.Time{},
		born: map[*Backend]time.Time{}, holds: map[*Backend]bool{}, has: map[*Waiter]*Backend{}, old: map[any]bool{},
	}
}

// current is how many backends there are that are not to be replaced.
func (m *model) current(k Kind) (n int) {
	for _, b := range slices.Concat(m.idle[k], m.active[k]) {
		if !m.old[b] {
			n++
		}
	}
	return n
}

func (m *model) live(k Kind) int { return len(m.idle[k]) + len(m.active[k]) }
func (m *model) used(k Kind) int { return m.live(k) + len(m.dials[k]) }
func (m *model) free(k Kind) int { return m.cfg[k].Max - m.used(k) }

// need is how many more backends pool k could use than are being dialled.
func (m *model) need(k Kind) int {
	ready := max(0, m.cfg[k].MinIdle-len(m.idle[k]))
	if m.vacant {
		ready = 0
	}
	return max(0, len(m.waiting[k])-len(m.idle[k])) + ready - len(m.dials[k])
}

func (m *model) adminStarves() bool {
	hope := len(m.idle[Admin]) + len(m.dials[Admin])
	if !m.failing {
		hope += max(0, m.free(Admin))
	}
	return len(m.waiting[Admin]) > hope
}

func (m *model) enqueue(w *Waiter, queue *[]*Waiter) {
	*queue = append(*queue, w)
	m.order = append(m.order, w)
	m.came[w] = m.now
}

func (m *model) dequeue(w *Waiter) bool {
	n := len(m.order)
	for _, q := range []*[]*Waiter{&m.order, &m.promoting, &m.waiting[Admin], &m.waiting[Lock]} {
		*q = without(*q, w)
	}
	return len(m.order) < n
}

// free a backend: from active to the top of idle, where a close may find it.
func (m *model) release(b *Backend) {
	k := m.poolOf(b)
	m.takeBack(b)
	m.idle[k] = append(m.idle[k], b)
	m.rested[b] = m.now
}

func (m *model) takeBack(b *Backend) {
	for k := range m.active {
		m.active[k] = without(m.active[k], b)
		m.idle[k] = without(m.idle[k], b)
	}
	for w, has := range m.has {
		if has == b {
			delete(m.has, w)
			m.dequeue(w)
		}
	}
	delete(m.holds, b)
	m.surplus = without(m.surplus, b)
}

// poolOf is the pool that the model has b in.
func (m *model) poolOf(b *Backend) Kind {
	if slices.Contains(m.active[Lock], b) || slices.Contains(m.idle[Lock], b) {
		return Lock
	}
	return Admin
}

func (m *model) endDial(d *Dial) Kind {
	k := Admin
	if slices.Contains(m.dials[Lock], d) {
		k = Lock
	}
	m.dials[k] = without(m.dials[k], d)
	return k
}

// judge takes an event into account, or says why it is wrong.
func (m *model) judge(e Event) error {
	switch e.Op {
	case Granted:
		return m.granted(e.Waiter, e.Backend)
	case Promoted:
		return m.promoted(e.Waiter, e.Backend)
	case Refused, PromotionRefused:
		return m.refused(e)
	case Demotable:
		return m.demotable(e.Waiter, e.Backend)
	case DialWanted:
		return m.dialWanted(e.Dial)
	case CloseWanted:
		return m.closeWanted(e.Backend, e.Reason)
	}
	return fmt.Errorf("no such event: %v", e.Op)
}

// lends moves an idle backend to the other pool if that explains why somebody there was given it.
func (m *model) lends(w *Waiter, b *Backend) {
	from := m.poolOf(b)
	to := 1 - from
	if !m.failing || len(m.waiting[to]) == 0 || m.waiting[to][0] != w || len(m.idle[from]) <= len(m.waiting[from]) || len(m.waiting[to]) <= len(m.idle[to]) || m.idle[from][0] != b || m.free(to) <= 0 {
		return
	}
	m.idle[from] = without(m.idle[from], b)
	m.idle[to] = append(m.idle[to], b)
	m.rested[b] = m.now
}

func (m *model) granted(w *Waiter, b *Backend) error {
	m.lends(w, b)
	k := m.poolOf(b)
	switch {
	case m.withheld, m.paused:
		return fmt.Errorf("granted while checkouts are withheld, or paused")
	case len(m.waiting[k]) == 0 || m.waiting[k][0] != w:
		return fmt.Errorf("granted to one who is not the first that waits for the %s pool", k)
	case k == Lock && len(m.promoting) > 0 && slices.Index(m.order, m.promoting[0]) < slices.Index(m.order, w):
		return fmt.Errorf("granted to one behind a promotion")
	case len(m.idle[k]) == 0 || m.idle[k][len(m.idle[k])-1] != b:
		return fmt.Errorf("granted a backend that is not the last one used")
	case m.used(k) > m.cfg[k].Max:
		return fmt.Errorf("granted from a pool that should shrink")
	case m.old[b]:
		return fmt.Errorf("granted a backend from before the drain")
	case m.has[w] != nil:
		return fmt.Errorf("granted to one who has a backend")
	}
	m.idle[k] = without(m.idle[k], b)
	m.active[k] = append(m.active[k], b)
	m.has[w] = b
	m.dequeue(w)
	return nil
}

func (m *model) promoted(w *Waiter, b *Backend) error {
	if len(m.promoting) == 0 || m.promoting[0] != w {
		return fmt.Errorf("promoted one who is not the first")
	}
	if m.has[w] != b || m.poolOf(b) != Admin {
		return fmt.Errorf("promoted a backend that is not the waiter's, or not of the admin pool")
	}
	m.dequeue(w)
	full := m.free(Lock) <= 0
	m.active[Admin] = without(m.active[Admin], b)
	m.active[Lock] = append(m.active[Lock], b)
	if !full {
		return nil
	}
	if n := len(m.idle[Lock]); n > 0 {
		given := m.idle[Lock][n-1]
		m.idle[Lock] = m.idle[Lock][:n-1]
		m.idle[Admin] = append(m.idle[Admin], given)
		m.rested[given] = m.now
		return nil
	}
	for _, d := range m.dials[Lock] {
		if d.Kind() == Admin && len(m.dials[Lock]) > len(m.waiting[Lock]) {
			m.dials[Lock] = without(m.dials[Lock], d)
			m.dials[Admin] = append(m.dials[Admin], d)
			return nil
		}
	}
	return fmt.Errorf("promoted into a full pool")
}

func (m *model) adminHasRoom() bool {
	return !m.closed && !m.paused && len(m.waiting[Admin]) == 0 && (m.free(Admin) > 0 || len(m.idle[Admin]) > 0)
}

// demote moves a lock backend to the admin pool, if that has room, and tells whether it had.
func (m *model) demote(b *Backend) bool {
	m.surplus = without(m.surplus, b)
	if !m.adminHasRoom() {
		m.surplus = append(m.surplus, b)
		return false
	}
	if m.free(Admin) <= 0 {
		given := m.idle[Admin][0]
		m.idle[Admin] = m.idle[Admin][1:]
		m.idle[Lock] = append(m.idle[Lock], given)
		m.rested[given] = m.now
	}
	m.active[Lock] = without(m.active[Lock], b)
	m.active[Admin] = append(m.active[Admin], b)
	return true
}

func (m *model) demotable(w *Waiter, b *Backend) error {
	if m.has[w] != b || !slices.Contains(m.surplus, b) || !m.adminHasRoom() {
		return fmt.Errorf("told that it could be demoted by mistake")
	}
	m.surplus = without(m.surplus, b)
	return nil
}

func (m *model) refused(e Event) error {
	w, k := e.Waiter, Lock
	if slices.Contains(m.waiting[Admin], w) {
		k = Admin
	}
	if promotion := slices.Contains(m.promoting, w); promotion != (e.Op == PromotionRefused) || promotion != e.Refusal.Promotion {
		return fmt.Errorf("a promotion's refusal and a checkout's are mixed up")
	}
	waited, cfg, last := m.now.Sub(m.came[w]), m.cfg[k], len(m.order) > 0 && m.order[len(m.order)-1] == w
	late := cfg.CheckoutTimeout > 0 && waited >= cfg.CheckoutTimeout
	right := map[Cause]bool{
		Timeout:       late,
		QueueFull:     cfg.MaxWaiting > 0 && last && len(m.waiting[k])+len(m.promoting) > cfg.MaxWaiting,
		DialFailed:    (m.verb == "fail" || late && m.failing) && m.current(k) == 0 && e.Op == Refused && e.Refusal.Err != nil,
		PromotionBusy: e.Op == PromotionRefused && m.adminStarves(),
		Closed:        m.closed,
	}
	if !right[e.Refusal.Cause] || e.Refusal.Kind != k || e.Refusal.Waited != waited {
		return fmt.Errorf("refused by mistake: %+v", e.Refusal)
	}
	if !m.dequeue(w) {
		return fmt.Errorf("refused one who does not wait")
	}
	return nil
}

func (m *model) dialWanted(d *Dial) error {
	k, under := d.Kind(), len(m.dials[Admin])+len(m.dials[Lock])
	switch {
	case m.closed, m.paused:
		return fmt.Errorf("a dial after Close or Pause")
	case under >= 4:
		return fmt.Errorf("a fifth dial")
	case m.failing && (under > 0 || m.now.Before(m.failedAt.Add(firstRetry))):
		return fmt.Errorf("a hasty dial, %d under way, %v after a failure", under, m.now.Sub(m.failedAt))
	case m.need(k) <= 0 && m.need(Admin)+m.need(Lock) <= 0:
		return fmt.Errorf("a dial that nobody needs")
	case m.free(k) <= 0:
		return fmt.Errorf("a dial without a slot")
	}
	m.dials[k] = append(m.dials[k], d)
	return nil
}

func (m *model) closeWanted(b *Backend, reason CloseReason) error {
	k := m.poolOf(b)
	i := slices.Index(m.idle[k], b)
	if i < 0 {
		return fmt.Errorf("a close of a backend that is not idle")
	}
	// What is exchanged may be closed by the other pool's limits, in the same call.
	lived := func(c Config) bool { return c.MaxLifetime > 0 && m.now.Sub(m.born[b]) >= c.MaxLifetime }
	exchanged := k == Lock && len(m.promoting) > 0
	cfg, lazy := m.cfg[k], m.now.Sub(m.rested[b])
	right := map[CloseReason]bool{
		IdleExpired:     cfg.IdleTimeout > 0 && lazy >= cfg.IdleTimeout && len(m.idle[k]) > cfg.MinIdle && i == 0,
		LifetimeExpired: lived(cfg) || exchanged && lived(m.cfg[Admin]),
		Shrunk:          m.used(k) > cfg.Max || exchanged && m.used(Admin) > m.cfg[Admin].Max,
		Drained:         m.old[b],
		ShutDown:        m.closed,
	}
	if !right[reason] {
		return fmt.Errorf("closed by mistake for %q: %s pool %+v, idle %d, used %d", reason, k, cfg, len(m.idle[k]), m.used(k))
	}
	m.idle[k] = without(m.idle[k], b)
	return nil
}

// compare says where the pair and the model differ between calls, or what was left undone.
func (m *model) compare(p *Pair) error {
	for k := Admin; k <= Lock; k++ {
		c := p.Counts(k)
		holding := 0
		for _, b := range m.active[k] {
			if m.holds[b] {
				holding++
			}
		}
		want := Counts{
			Max: m.cfg[k].Max, Idle: len(m.idle[k]), Active: len(m.active[k]), Dialing: len(m.dials[k]),
			Waiting: len(m.waiting[k]), Holding: holding, WaitingSince: c.WaitingSince, ActiveSince: c.ActiveSince,
		}
		if k == Lock {
			want.PromotionsWaiting = len(m.promoting)
		}
		if c != want {
			return fmt.Errorf("%s pool: %+v, want %+v", k, c, want)
		}
	}
	return m.undone(p)
}

func (m *model) undone(p *Pair) error {
	for k := Admin; k <= Lock; k++ {
		if len(m.idle[k]) > 0 && len(m.waiting[k]) > 0 && !m.withheld {
			return fmt.Errorf("somebody waits beside an idle backend")
		}
		under := len(m.dials[Admin]) + len(m.dials[Lock])
		if m.need(k) > 0 && m.free(k) > 0 && under < 4 && !m.failing && !m.closed && !m.paused {
			return fmt.Errorf("a dial of the %s pool is missing", k)
		}
	}
	if m.wrong || len(m.surplus) > 0 && m.adminHasRoom() {
		return fmt.Errorf("a lock backend was not demoted, or by mistake")
	}
	if len(m.promoting) > 0 && (m.adminStarves() || m.free(Lock) > 0 || len(m.idle[Lock]) > 0) {
		return fmt.Errorf("a promotion waits that should not")
	}
	if due := m.due(); !due.IsZero() && (p.Next().IsZero() || p.Next().After(due)) {
		return fmt.Errorf("Next is %v, late for %v", p.Next(), due)
	}
	if due := m.due(); m.verb == "tick" && !due.IsZero() && !due.After(m.now) {
		return fmt.Errorf("something was due at %v, and Tick left it undone", due)
	}
	return nil
}

// due is when the first thing is due, found by looking at everything.
func (m *model) due() time.Time {
	var all []time.Time
	for _, w := range m.order {
		k := Lock
		if slices.Contains(m.waiting[Admin], w) {
			k = Admin
		}
		if t := m.cfg[k].CheckoutTimeout; t > 0 {
			all = append(all, m.came[w].Add(t))
		}
	}
	for k := range m.idle {
		for i, b := range m.idle[k] {
			if t := m.cfg[k].IdleTimeout; t > 0 && i < len(m.idle[k])-m.cfg[k].MinIdle {
				all = append(all, m.rested[b].Add(t))
			}
			if t := m.cfg[k].MaxLifetime; t > 0 {
				all = append(all, m.born[b].Add(t))
			}
		}
	}
	if len(all) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(all, time.Time.Compare)
}

func without[T comparable](s []T, x T) []T {
	if i := slices.Index(s, x); i >= 0 {
		return slices.Delete(s, i, i+1)
	}
	return s
}
