package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// oracle says what a direct connection would have answered an application, and compares: an application must not be
// able to tell the difference, but for the errors that ROUTING.md allows. It is an engine of the application's own,
// which is sent what the application sent; what only the world knows (who has a lock, when something failed) it takes
// from the answer at hand, after asking whether the world allows it.
type oracle struct {
	app    *app
	engine *engine

	seen   [][]byte // the answers to the unit at hand that are not yet compared
	short  bool     // they break off: the connection ended
	wrong  string   // the first difference
	lost   bool     // a server was lost in the unit
	failed bool     // the unit has had an error
	stale  bool     // one was lost, and no other has run anything since: the client may be told settings late
	gone   bool     // and that was the unit\'s error
	before snapshot // of the transaction that the unit finds, or of now
	held   []hold   // before the unit
	from   byte     // the transaction status before the unit

	time time.Time
	pid  string // of the server process, as last seen
	ties bool   // it must stay the same
}

func newOracle(a *app, standard values) *oracle {
	o := &oracle{app: a}
	o.engine = newEngine(hooks{
		now: o.later, emit: o.compare, free: o.free, fault: o.fault, publish: o.publish, pid: o.process, parsed: o.parsed, frozen: o.frozen, strange: a.w.strange,
	}, standard)
	return o
}

// later lets an hour pass with every look at the clock: nothing makes an oracle wait.
func (o *oracle) later() time.Time {
	o.time = o.time.Add(time.Hour)
	return o.time
}

// judge compares the answers to one unit with what they should be.
func (o *oracle) judge(u *unitOfWork, seen [][]byte, short bool) {
	e := o.engine
	o.seen, o.short, o.wrong, o.lost, o.failed, o.from = seen, short, "", false, false, e.tx
	if o.engine.skipping && u.sent[0] != protocol.Sync {
		o.app.w.fail("%v: a batch goes on after its Sync", o.app)
	}
	if o.gone, o.before = false, e.start; !e.open {
		o.before = e.snapshot()
	}
	o.held = slices.Clone(e.locks.holds)
	e.in = append(e.in, u.sent...)
	for o.wrong == "" && !(o.short && len(o.seen) == 0) && (e.step() || o.endsCopy()) {
	}
	switch {
	case o.wrong == "" && len(o.seen) > 0:
		o.wrong = "nothing more, but there came " + spell(o.seen[0])
	case o.wrong == "" && !o.short && (e.busy() || len(e.in) > 0 || e.skipping):
		o.wrong = "an answer to all of it"
	}
	if o.wrong != "" {
		o.app.w.fail("%v: %s\nwas to be answered with %s\nafter all of %s", o.app, spell(u.sent), o.wrong, spell(join(seen)))
	}
	o.ties = o.ties && (e.tx != 'I' || e.locks.onSession() > 0 || e.listening)
}

// endsCopy has a COPY fail that had its error before any data.
func (o *oracle) endsCopy() bool {
	if o.engine.copyIn == nil {
		return false
	}
	err := o.fault(atCopy)
	if err != nil {
		o.engine.fail(err)
	}
	return err != nil
}

// compare takes what the engine says.
func (o *oracle) compare(frame []byte) {
	if o.wrong != "" || frame[0] == protocol.ParameterStatus {
		return
	}
	if len(o.seen) == 0 {
		if !o.short {
			o.wrong = spell(frame)
		}
		return
	}
	got := o.seen[0]
	o.seen = o.seen[1:]
	o.failed = o.failed || got[0] == protocol.ErrorResponse
	switch {
	case got[0] == protocol.ReadyForQuery && frame[0] == protocol.ReadyForQuery:
		o.ready(got[5])
		return
	case string(got) == string(frame):
		o.stale = o.stale && got[0] != protocol.DataRow
		return
	case got[0] == frame[0] && (got[0] == protocol.ErrorResponse || got[0] == protocol.NoticeResponse):
		a, b := protocol.ReadError(got[protocol.HeadSize:]), protocol.ReadError(frame[protocol.HeadSize:])
		if a.Code == b.Code && a.Severity == b.Severity {
			return
		}
		if a.Code == protocol.InFailedSQLTransaction && o.engine.tx == 'E' {
			return // a statement that must be prepared again fails before anything else is wrong with it
		}
	}
	o.wrong = spell(frame) + "in place of " + spell(got)
}

// ready compares the status that a unit ends with, and what the client was told of its settings.
func (o *oracle) ready(status byte) {
	e := o.engine
	if o.app.losses > 0 && o.failed { // an answer that had its error already gets no second for the loss of its server
		o.lost, o.stale = true, true
	}
	if o.lost && status == 'I' && e.tx == 'E' {
		// The transaction ended in the unit, or began there: it is known to be over, if not how.
		if o.from == 'I' || o.app.ending {
			e.rollBack()
		}
	}
	if o.lost && status == 'E' && e.tx == 'I' && o.from != 'I' && o.app.ending {
		// It ended in the midst of a batch that was lost later: the application is to roll back once more.
		e.begin()
		e.tx = 'E'
	}
	if o.gone && e.tx == 'I' {
		e.set, e.base = o.before.set, o.before.base // the COMMIT was answered, and taken back: it counts as not done
	}
	if status != e.tx {
		o.wrong = fmt.Sprintf("the status %c, not %c", e.tx, status)
		return
	}
	if o.stale {
		return
	}
	for i := range variables {
		if v := &variables[i]; v.spelled != "" && o.app.told[v.spelled] != e.set[i].text {
			o.wrong = fmt.Sprintf("%s = %q told, not %q", v.spelled, e.set[i].text, o.app.told[v.spelled])
			return
		}
	}
}

// parsed tells whether a Parse was answered well though the transaction has failed. Where its server has the statement the
// session answers for it, and in a pipeline it may not know yet; the error comes with the next message.
func (o *oracle) parsed() bool { return len(o.seen) > 0 && o.seen[0][0] == protocol.ParseComplete }

// frozen takes from the row at hand what a prepared text means: as when it was prepared, or as if it were now, since the
// session may have had to prepare it again. What it means to somebody else is neither.
func (o *oracle) frozen(then, now string) string {
	v := o.cell(len(o.engine.running.cells))
	if v != then && v != now && len(o.seen) > 0 {
		o.wrong = "a text read in the time zone " + then + " or " + now + ", not " + v
	}
	return v
}

// free takes from the row at hand whether a lock could be had: a "try" shows it.
func (o *oracle) free(_ lock, try bool) bool {
	if !try {
		return true
	}
	x := o.engine.running
	if x.st.where != nil && !x.passed {
		return len(o.seen) > 0 && o.seen[0][0] == protocol.DataRow
	}
	v := o.cell(len(x.cells))
	return v == "t" || v == "\x01"
}

// cell gives a value of the row that comes next.
func (o *oracle) cell(i int) string {
	if len(o.seen) == 0 || o.seen[0][0] != protocol.DataRow {
		return ""
	}
	p := o.seen[0][protocol.HeadSize+2:]
	for ; len(p) >= 4; i-- {
		n := int(p[0])<<24 | int(p[1])<<16 | int(p[2])<<8 | int(p[3])
		if i == 0 {
			return string(p[4 : 4+n])
		}
		p = p[4+n:]
	}
	return ""
}

// process takes the server's process id from the row at hand.
func (o *oracle) process() string {
	v := o.cell(len(o.engine.running.cells))
	if o.ties && v != o.pid {
		o.wrong = "the process id " + o.pid + ", not " + v
	}
	o.pid, o.ties = v, true
	return v
}

// fault takes an error that only the world knows the reason of.
func (o *oracle) fault(moment) *protocol.Error {
	if len(o.seen) == 0 || o.seen[0][0] != protocol.ErrorResponse {
		return nil
	}
	err := protocol.ReadError(o.seen[0][protocol.HeadSize:])
	if x := o.engine.running; x != nil && err.Code == noSavepoint && o.app.losses > 0 && o.engine.savedAt(x.st.name) >= 0 {
		o.engine.saved = nil // the transaction that failed in place of the lost one has none
	}
	if strings.HasPrefix(err.Message, copyFailed) || !o.app.allows(&err) {
		return nil
	}
	o.app.w.seen.errors[err.Code]++
	if isLoss(err.Code) {
		o.gone, o.lost, o.stale = true, true, true
		o.ties = false
		o.losesLocks(&err)
		o.app.inDoubt(o.engine.rows, o.from)
	}
	return &err
}

// losesLocks takes the loss of a server with what was locked there. Who held something before is told by the end of its
// connection; who was about to take it, by the error.
func (o *oracle) losesLocks(err *protocol.Error) {
	for _, h := range o.engine.locks.holds {
		if slices.ContainsFunc(o.held, func(before hold) bool { return before.lock == h.lock }) && !err.IsFatal() {
			o.app.w.fail("%v lost the lock %s with its server, and was told no more than %v", o.app, h.key, err)
		}
	}
	o.engine.locks = lockBook{}
	o.engine.start.locks = 0
	for i := range o.engine.saved {
		o.engine.saved[i].locks = 0
	}
}

// isLoss tells the errors that stand for a lost server.
func isLoss(code string) bool {
	switch code {
	case protocol.ConnectionFailure, protocol.TransactionResolutionUnknown, protocol.AdminShutdown,
		protocol.IdleInTransactionSessionTimeout, crashShutdown:
		return true
	}
	return false
}

// publish notes what was said to be committed.
func (o *oracle) publish(rows []string) {
	for _, row := range rows {
		o.app.w.promised(row)
	}
}

// spell writes messages so that people can read them.
func spell(p []byte) string {
	var b strings.Builder
	for len(p) >= protocol.HeadSize {
		kind, size := protocol.Head(p)
		if size == 0 || size > len(p) {
			break
		}
		body := p[protocol.HeadSize:size]
		if len(body) > 180 {
			fmt.Fprintf(&b, "%c(%q...%d) ", kind, body[:60], len(body))
		} else {
			fmt.Fprintf(&b, "%c(%q) ", kind, body)
		}
		p = p[size:]
	}
	if len(p) > 0 {
		fmt.Fprintf(&b, "+%.80q ", p)
	}
	return b.String()
}

func join(frames [][]byte) (all []byte) {
	for _, f := range frames {
		all = append(all, f...)
	}
	return all
}
