// Package sim runs sessions, their pools and a scripted PostgreSQL in one thread, in virtual time, under a scheduler
// that draws all its choices from one seed: whose bytes come next and how many, when the time jumps, what breaks.
// After every step the rules hold, and every answer is the one that a direct connection would have given. The same seed
// does the same again.
package sim

import (
	"fmt"
	"hash/crc64"
	"math/rand"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// world is one seed's run: all that there is, and all that it draws from the seed.
type world struct {
	rng  *rand.Rand
	plan plan
	now  time.Time
	log  *trace

	pair     *pools.Pair
	sessions *session.Config
	welcomes map[string]*session.Settings

	definitions definitions

	output  session.Output
	events  []pools.Event // of the pools, not yet delivered
	dials   []*pools.Dial // under way
	cancels []*cancel     // under way from the proxy to servers

	apps    []*app
	fronts  []*front // that have not ended
	servers []*server
	pids    int
	audits  int

	rows    map[string]int  // what was committed, and how often
	sure    map[string]bool // rows that an application was told are committed
	doubts  map[string]bool // rows of which no application knows
	drafted []string        // rows of the unit that is being made
	stopped map[*front]bool

	calm         bool // nothing breaks any more
	refusedDials int
	done         int // units answered
	steps        int
	sum          uint64 // over all choices and outputs
	seen         tally
	broken       string // the first rule that did not hold
}

// plan is what a seed sets up.
type plan struct {
	admin, lock pools.Config
	apps        int
	units       int
	depth       int
	think       int // percent: of pauses between units
	locks       int // percent: of statements about locks
	keys        []string
	room        int // bytes that a connection holds
	maxBuffer   int
	piece       int // bytes that come at once, at most
	deaths      int // of servers, in steps of 1/10000
	cancels     int
	signals     int
	vanish      int
	failedDials int  // percent
	upheavals   int  // reconfigurations, drains
	changes     int  // of functions
	gates       bool // locks gate work on other connections, and nothing but that ends a wait
	startup     bool
	atOnce      bool // sessions are granted servers within their steps, where there are some
	sessionMode bool
	ownTimeouts int // percent of apps that have timeouts of their own
	lockTimeout time.Duration
	idleTimeout time.Duration
}

// cancel is a cancel request on its way to a server.
type cancel struct {
	front  *front
	link   *serverLink
	hit    bool
	astray bool // the session was told that nobody knows
}

// schema counts what changed it.
type schema struct{ version uint64 }

func (s *schema) Version() uint64 { return s.version }
func (s *schema) Changed()        { s.version++ }

var table = crc64.MakeTable(crc64.ECMA)

func newWorld(seed int64, log *trace) *world {
	w := &world{
		rng: rand.New(rand.NewSource(seed)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), log: log,
		welcomes: map[string]*session.Settings{}, rows: map[string]int{}, sure: map[string]bool{}, doubts: map[string]bool{},
		stopped: map[*front]bool{}, pids: 1000, seen: tally{errors: map[string]int{}},
	}
	w.drawPlan()
	w.plan.atOnce = seed%2 == 0
	w.newDefinitions()
	w.sessions = &session.Config{
		Catalog: func() *session.Catalog { return w.definitions.catalog }, Schema: new(schema), LockTimeout: w.plan.lockTimeout, IdleTimeout: w.plan.idleTimeout,
		MaxStatement: 1 << 20, MaxPrepared: 200, MaxBuffer: w.plan.maxBuffer, SessionMode: w.plan.sessionMode,
	}
	w.pair = new(pools.Budget).NewPair(w.plan.admin, w.plan.lock)
	w.pair.Tick(w.now)
	w.collect()
	for i := range w.plan.apps {
		w.newApp(i + 1)
	}
	return w
}

func (w *world) drawPlan() {
	r := w.rng
	rare := func(percent, most int) int {
		if r.Intn(100) < percent {
			return 1 + r.Intn(most)
		}
		return 0
	}
	defer w.drawGates()
	w.plan = plan{
		admin: w.drawPool(), lock: w.drawPool(), apps: 2 + r.Intn(6) + rare(20, 4), units: 3 + r.Intn(14),
		depth: 1 + rare(50, 3), think: r.Intn(60), locks: r.Intn(70), keys: []string{"1", "2", "3", "1,2"}[:1+r.Intn(4)],
		room: []int{40, 500, 8 << 10, 64 << 10}[r.Intn(4)], maxBuffer: []int{100, 2000, 64 << 10}[r.Intn(3)],
		piece: []int{3, 40, 500, 64 << 10}[r.Intn(4)], deaths: rare(40, 120), cancels: rare(40, 200), vanish: rare(40, 60),
		failedDials: rare(30, 60), upheavals: rare(20, 60), changes: rare(30, 60), startup: r.Intn(2) == 0, sessionMode: r.Intn(8) == 0,
		ownTimeouts: rare(30, 60), signals: rare(30, 100),
		lockTimeout: time.Duration(r.Intn(4)) * 10 * time.Second, idleTimeout: time.Duration(r.Intn(3)) * 10 * time.Second,
	}
}

// drawGates has some seeds do what brought lockproxy about: whoever holds a lock waits for work on another connection. No
// timeout ends a wait there, so that a circle of them is found out.
func (w *world) drawGates() {
	p := &w.plan
	if p.gates = !p.sessionMode && w.chance(30); p.gates {
		p.admin.CheckoutTimeout, p.lock.CheckoutTimeout = 0, 0
		p.lockTimeout, p.idleTimeout = 0, 0
		p.upheavals = 0
	}
}

func (w *world) drawPool() pools.Config {
	some := func(n int) time.Duration { return time.Duration(w.rng.Intn(n)) * time.Second }
	return pools.Config{
		Max: 1 + w.rng.Intn(4), MinIdle: max(0, w.rng.Intn(4)-2), MaxWaiting: max(0, w.rng.Intn(12)-8),
		CheckoutTimeout: time.Second + some(10), IdleTimeout: some(30), MaxLifetime: some(3) * 20,
	}
}

// newApp connects an application.
func (w *world) newApp(id int) {
	a := &app{w: w, id: id, told: map[string]string{}, left: w.plan.units, depth: w.plan.depth, works: w.plan.gates && id%2 == 0}
	standard := standardValues()
	var startup []session.Setting
	set := func(v int, value string) {
		standard[v].text, _ = canonical(v, value)
		startup = append(startup, session.Setting{Name: variables[v].name, Value: value})
	}
	if w.plan.startup {
		set(varApplication, fmt.Sprintf("app%d", id%2))
		if w.chance(50) {
			set(varZone, fmt.Sprintf("zone%d", id%3))
		}
		if w.chance(20) {
			set(varEncoding, "LATIN1")
		}
	}
	if w.chance(w.plan.ownTimeouts) {
		set(varLockTimeout, "5s")
	}
	a.oracle = newOracle(a, standard)
	f := &front{w: w, app: a, id: id, wire: true, startup: session.NewSettings(startup)}
	f.in.room, f.out.room = w.plan.room, w.plan.room
	f.session = session.New(w.sessions, &session.Client{Pid: uint32(id), Key: make([]byte, 4), Settings: f.startup})
	f.waiter.Owner = f
	a.front = f
	w.apps, w.fronts = append(w.apps, a), append(w.fronts, f)
	known := w.welcomes[f.startup.Without("application_name").Fingerprint()]
	if known != nil {
		name, _ := f.startup.Get("application_name")
		known = known.With("application_name", name)
	}
	f.step(func(s *session.Session, o *session.Output, now time.Time) { s.Start(o, now, known) })
}

func (w *world) chance(percent int) bool { return w.rng.Intn(100) < percent }

func (w *world) one(of ...string) string { return of[w.rng.Intn(len(of))] }

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int63n(int64(d))) }

// mix takes bytes into the sum over all that happened.
func (w *world) mix(p []byte) { w.sum = crc64.Update(w.sum, table, p) }

func (w *world) note(format string, args ...any) {
	if w.log != nil {
		w.log.add(w, format, args)
	}
}

// fail notes that a rule does not hold.
func (w *world) fail(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
	}
}

func (w *world) strange(what string) { w.fail("the scripted server does not understand: %s", what) }

// collect takes what the pools want. Answers are under way from now on.
func (w *world) collect() {
	for _, e := range w.pair.Events() {
		w.seen.events[e.Op]++
		if e.Waiter != nil && e.Op != pools.Demotable { // which is no answer
			f := e.Waiter.Owner.(*front)
			if f.answers++; f.answers > 1 {
				w.fail("%v has two answers of the pools under way", f)
			}
		}
		w.events = append(w.events, e)
	}
}

// deliver carries out the i-th of the pools' wishes.
func (w *world) deliver(i int) {
	e := w.events[i]
	w.events = append(w.events[:i], w.events[i+1:]...)
	w.note("pools: %s", describeEvent(&e))
	switch e.Op {
	case pools.DialWanted:
		w.dials = append(w.dials, e.Dial)
	case pools.CloseWanted:
		e.Backend.Conn.(*serverLink).hangUp()
	default:
		e.Waiter.Owner.(*front).hear(&e)
	}
}

// dialed ends a dial, well or not.
func (w *world) dialed(i int) {
	d := w.dials[i]
	w.dials = append(w.dials[:i], w.dials[i+1:]...)
	if !w.calm && w.chance(w.plan.failedDials) {
		w.refusedDials++
		w.note("a dial fails")
		w.pair.DialFailed(w.now, d, fmt.Errorf("connection refused"), w.chance(10))
		w.collect()
		return
	}
	w.pids++
	v := newServer(w, w.pids)
	var reported []session.Setting
	for _, one := range variables {
		if one.spelled != "" {
			reported = append(reported, session.Setting{Name: one.spelled, Value: one.standard})
		}
	}
	v.link = &serverLink{w: w, far: v, facts: session.NewServer(uint32(v.pid), session.NewSettings(reported), w.now)}
	w.servers = append(w.servers, v)
	w.note("server %d is there", v.pid)
	v.link.slot = w.pair.Dialed(w.now, d, v.link)
	w.collect()
}

// publish takes a transaction's rows.
func (w *world) publish(rows []string) {
	for _, row := range rows {
		w.note("row %s is committed", row)
		if w.rows[row]++; w.rows[row] > 1 {
			w.fail("row %s was committed twice", row)
		}
	}
}

// promised notes that an application was told that a row is committed.
func (w *world) promised(row string) {
	w.sure[row] = true
	if w.rows[row] == 0 {
		w.fail("row %s was said to be committed and is not", row)
	}
}

func (w *world) doubted(rows []string) {
	for _, row := range rows {
		w.doubts[row] = true
	}
}
