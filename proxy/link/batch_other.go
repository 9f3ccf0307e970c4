//go:build !linux

package link

import "time"

// Batch is for event loops.
type Batch struct{}

// Write writes at once.
func (*Batch) Write(to Link, p ...[]byte) { to.Write(p...) }

// Now is the time.
func (*Batch) Now() time.Time { return time.Now() }
