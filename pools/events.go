package pools

import "time"

// Event is one thing for the caller to do or to pass on, of Op's kind. Only the fields that Op names are set.
type Event struct {
	Op      Op
	Pair    *Pair         // whose event it is: where pairs share a Budget, a call of one may cause events of another
	Waiter  *Waiter       // Granted, Refused, Promoted, PromotionRefused, StillWaiting, Demotable
	Backend *Backend      // Granted, Promoted, PromotionRefused, CloseWanted, Demotable
	Dial    *Dial         // DialWanted
	Refusal *Refusal      // Refused, PromotionRefused; StillWaiting: what it waits for
	Reason  CloseReason   // CloseWanted
	Waited  time.Duration // Granted, Promoted: from the request to this event
}

// Op says what an Event asks for.
type Op uint8

const (
	// Granted gives Backend to Waiter, which must end with Release or Remove, even if the waiter
	// meanwhile lost interest.
	Granted Op = iota + 1
	// Refused ends Waiter's checkout with Refusal.
	Refused
	// Promoted says that Waiter's Backend is from now on counted in the lock pool.
	Promoted
	// PromotionRefused ends Waiter's promotion with Refusal; it still has Backend, in the admin pool.
	PromotionRefused
	// DialWanted asks for a new server connection; Dialed or DialFailed must follow, exactly once.
	DialWanted
	// CloseWanted asks to close Backend, for Reason. It has left the pools; no call about it may follow
	// but Remove, which then does nothing.
	CloseWanted
	// StillWaiting says that Waiter has waited for its pool's Notice. It ends nothing.
	StillWaiting
	// Demotable says that the admin pool has room for Waiter's Backend now, which Demote could not move. It ends nothing.
	Demotable
)

// String names the operation as traces and logs show it.
func (o Op) String() string {
	return name(int(o), "none", "granted", "refused", "promoted", "promotion refused", "dial wanted", "close wanted", "still waiting", "demotable")
}

// CloseReason says why the pools want a backend closed.
type CloseReason uint8

const (
	// IdleExpired: it was idle for the pool's IdleTimeout.
	IdleExpired CloseReason = iota + 1
	// LifetimeExpired: it is older than the pool's MaxLifetime.
	LifetimeExpired
	// Shrunk: the pool has more slots in use than its Max now allows.
	Shrunk
	// Drained: it was opened before the last Drain.
	Drained
	// ShutDown: the pair was closed.
	ShutDown
	// Yielded: the server's Budget is used up, and another pair needs the backend more.
	Yielded
)

// String names the reason as traces and logs show it.
func (r CloseReason) String() string {
	return name(int(r), "none", "idle timeout", "max lifetime", "pool shrank", "drained", "shutdown", "yielded to another pool")
}

// Events returns what is to be done since the last call, by all pairs of the Budget. The slice holds until the next call of any
// method: who delivers events after unlocking copies them first.
func (p *Pair) Events() []Event {
	b := p.budget
	out := b.events
	b.events = b.events[:0]
	if cap(b.events) > keptEvents {
		b.events = nil // A burst's buffer would keep its clients' records alive for ever.
	}
	return out
}

// keptEvents is how many events' room a pair keeps between calls of Events.
const keptEvents = 16

func (p *Pair) emit(e Event) {
	e.Pair = p
	p.budget.events = append(p.budget.events, e)
}

// name returns names[i], or "unknown" when there is no such name.
func name(i int, names ...string) string {
	if i < 0 || i >= len(names) {
		return "unknown"
	}
	return names[i]
}
