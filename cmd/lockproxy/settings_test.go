package main

import (
	"testing"

	"github.com/lockproxy/lockproxy/proxy"
)

func TestMaxBackendsIsDividedAsThePoolsAre(t *testing.T) {
	for _, c := range []struct {
		all, admin, lock int
		want             proxy.Shares
	}{
		{0, 20, 10, proxy.Shares{}},
		{2, 20, 10, proxy.Shares{Admin: 1, Lock: 1}},
		{2, 1000, 1, proxy.Shares{Admin: 1, Lock: 1}},
		{2, 1, 1000, proxy.Shares{Admin: 1, Lock: 1}},
		{90, 20, 10, proxy.Shares{Admin: 60, Lock: 30}},
		{100, 1, 1, proxy.Shares{Admin: 50, Lock: 50}},
		{maxBackends, maxBackends, 1, proxy.Shares{Admin: maxBackends - 1, Lock: 1}},
	} {
		v := &values{maxBackends: c.all}
		v.adminPool.Max, v.lockPool.Max = c.admin, c.lock
		if got := v.shares(); got != c.want {
			t.Errorf("%d for pools of %d and %d: %+v, want %+v", c.all, c.admin, c.lock, got, c.want)
		}
	}
}
