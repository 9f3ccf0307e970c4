package sim

import (
	"fmt"
	"strings"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// trace keeps the latest events of a run, readable. A run has one only when it is repeated because it failed.
type trace struct {
	lines []string
	keep  int
}

func (t *trace) add(w *world, format string, args []any) {
	for i := range args {
		if p, ok := args[i].([]byte); ok {
			args[i] = spell(p)
		}
	}
	line := fmt.Sprintf("%5d %9.3fs  %s", w.steps, w.now.Sub(epoch).Seconds(), fmt.Sprintf(format, args...))
	if t.lines = append(t.lines, line); len(t.lines) > 2*t.keep {
		t.lines = append([]string(nil), t.lines[len(t.lines)-t.keep:]...)
	}
}

func (t *trace) String() string {
	return strings.Join(t.lines[max(0, len(t.lines)-t.keep):], "\n")
}

var operations = map[session.Op]string{
	session.Checkout: "checkout", session.Promote: "promote", session.Leave: "leave", session.Release: "release",
	session.Remove: "remove", session.Hold: "hold", session.CancelServer: "cancel", session.CloseClient: "close client",
	session.Pinned: "pinned", session.Welcomed: "welcomed", session.Stray: "stray", session.ReadsSequences: "reads sequences",
}

func describe(a *session.Action) string {
	switch a.Op {
	case session.Checkout:
		return "checkout " + a.Kind.String()
	case session.Hold:
		return fmt.Sprintf("hold %t", a.On)
	case session.Remove, session.CloseClient:
		return operations[a.Op] + ": " + a.Reason.String() + ", " + a.Text
	}
	return operations[a.Op] + " " + a.Text
}

func describeEvent(e *pools.Event) string {
	text := e.Op.String()
	if e.Waiter != nil {
		text += " " + e.Waiter.Owner.(*front).String()
	}
	if e.Backend != nil {
		text += " " + e.Backend.Conn.(*serverLink).String()
	}
	if e.Refusal != nil {
		text += " " + e.Refusal.Error()
	}
	return text
}

// tally counts what a run has seen, so that a simulation that sees too little is found out.
type tally struct {
	acts    [actCount]int
	events  [pools.Demotable + 1]int
	errors  map[string]int // that applications were told for a reason that only the world knows
	deaths  int
	cancels int
	signals int
	astray  int
	left    int
	gates   int
	stops   int

	demotions int
	redefined [session.RedefinedElsewhere + 1]int
}

func (t *tally) add(o *tally) {
	for i := range t.events {
		t.events[i] += o.events[i]
	}
	for code, n := range o.errors {
		t.errors[code] += n
	}
	for how := range t.redefined {
		t.redefined[how] += o.redefined[how]
	}
	t.deaths, t.cancels, t.left, t.gates, t.stops = t.deaths+o.deaths, t.cancels+o.cancels, t.left+o.left, t.gates+o.gates, t.stops+o.stops
	t.signals, t.demotions, t.astray = t.signals+o.signals, t.demotions+o.demotions, t.astray+o.astray
}

func (t *tally) String() string {
	var b strings.Builder
	for op := pools.Granted; op <= pools.Demotable; op++ {
		fmt.Fprintf(&b, "%d %v, ", t.events[op], op)
	}
	return fmt.Sprintf("%sSQLSTATEs %v, %d servers died, %d cancels, %d of them astray, %d more by somebody else, %d clients vanished, %d gates, %d stops, functions changed %v, %d demotions", &b, t.errors,
		t.deaths, t.cancels, t.astray, t.signals, t.left, t.gates, t.stops, t.redefined, t.demotions)
}

// lacks names what was seen too rarely in a thousand seeds.
func (t *tally) lacks() (list []string) {
	few := func(what string, n, least int) {
		if n < least {
			list = append(list, fmt.Sprintf("%s: %d, not %d", what, n, least))
		}
	}
	for op := pools.Granted; op <= pools.CloseWanted; op++ {
		few(op.String(), t.events[op], 100)
	}
	few("demotions", t.demotions, 100)
	few("functions that changed before a session's eyes", t.redefined[session.RedefinedHere], 100)
	few("functions that changed elsewhere", t.redefined[session.RedefinedElsewhere], 100)
	for _, code := range []string{protocol.TooManyConnections, protocol.QueryCanceled, protocol.LockNotAvailable, deadlockDetected,
		protocol.ConnectionFailure, protocol.TransactionResolutionUnknown, protocol.AdminShutdown,
		protocol.IdleInTransactionSessionTimeout} {
		few("SQLSTATE "+code, t.errors[code], 5)
	}
	few("servers that died", t.deaths, 500)
	few("cancel requests", t.cancels, 500)
	few("cancel requests of which nobody knows", t.astray, 50)
	few("statements cancelled by somebody else", t.signals, 200)
	few("clients that vanished", t.left, 200)
	few("waits for work that a lock gates", t.gates, 200)
	few("sessions stopped", t.stops, 20)
	return list
}
