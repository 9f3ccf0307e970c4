package proxy

import "testing"

func TestErrorsNameTheSettingThatCounts(t *testing.T) {
	d := Database{Own: map[string]string{"pools.lock.max": "databases.a.lock_pool.max", "pools.lock.checkout_timeout": "databases.a.lock_pool.checkout_timeout"}}
	for hint, want := range map[string]string{
		"raise pools.lock.max (DATABASE_LOCK_POOL_MAX), or wait longer with pools.lock.checkout_timeout.": "raise databases.a.lock_pool.max, or wait longer with databases.a.lock_pool.checkout_timeout.",
		"raise pools.lock.max (DATABASE_LOCK_POOL_MAX) or pools.lock.max_waiting.":                        "raise databases.a.lock_pool.max or pools.lock.max_waiting.",
		"raise pools.admin.max (DATABASE_POOL_MAX), or wait longer with pools.admin.checkout_timeout.":    "raise pools.admin.max (DATABASE_POOL_MAX), or wait longer with pools.admin.checkout_timeout.",
		"": "",
	} {
		if got := d.advise(hint); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := (&Database{}).advise("raise pools.lock.max (DATABASE_LOCK_POOL_MAX)"); got != "raise pools.lock.max (DATABASE_LOCK_POOL_MAX)" {
		t.Errorf("without settings of its own: %q", got)
	}
}
