//go:build !linux

package backend

import "time"

// setUserTimeout does nothing: libpq ignores tcp_user_timeout too where there is no such thing.
func setUserTimeout(int, time.Duration) error { return nil }
