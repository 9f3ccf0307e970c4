package proxy

import (
	"context"
	"sync"
)

// bell wakes everybody who waits for something to have happened. Nobody waits most of the time.
type bell struct {
	mu     sync.Mutex
	struck chan struct{} // closed at the next ring; nil: nobody waits
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.struck != nil {
		close(b.struck)
		b.struck = nil
	}
}

func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.struck == nil {
		b.struck = make(chan struct{})
	}
	return b.struck
}

// await waits until a condition holds that may have come true whenever the bell rings, or until ctx ends.
func (b *bell) await(ctx context.Context, condition func() bool) error {
	for {
		next := b.next() // before the look, so that no ring is missed
		if condition() {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
