package proxy

import (
	"sync"

	"github.com/lockproxy/lockproxy/proxy/session"
)

// beginning is a session.Beginning, which many sessions may ask at once.
type beginning struct {
	mu    sync.Mutex
	old   *session.Settings            // the values of what is another one in the next
	next  *beginning                   // nil: it is still so
	taken map[string]*session.Settings // the defaults of sessions with this in addition, by what they had: they share them
}

// end ends it, and gives the next. Old are the settings whose defaults are others from now on, as they have been.
func (b *beginning) end(old *session.Settings) (next *beginning) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.old, b.next = old, &beginning{}
	return b.next
}

// maxTaken bounds the sets of defaults that are shared.
const maxTaken = 256

// Keep adds to a session's defaults what it had of the beginning.
func (b *beginning) Keep(defaults *session.Settings) (kept *session.Settings, next session.Beginning) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		return defaults, nil
	}
	if b.old == nil {
		return defaults, b.next
	}
	print := defaults.Fingerprint()
	if kept = b.taken[print]; kept == nil {
		if kept = b.old.Over(defaults); b.taken == nil || len(b.taken) >= maxTaken {
			b.taken = make(map[string]*session.Settings)
		}
		b.taken[print] = kept
	}
	return kept, b.next
}
