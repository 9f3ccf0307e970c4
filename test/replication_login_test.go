package test

import (
	"fmt"
	"strings"
	"testing"
)

func TestReplicationIsAskedForAsPostgresHasIt(t *testing.T) {
	r := startProxyBefore(t, publisher(t))
	for _, value := range []string{"", "database", "Database", "DATABASE", "true", "TRUE", "t", "tr", "yes", "Y", "on", "1", "false", "f", "no", "n", "off",
		"of", "o", "0", "2", "10", " on", "on ", "truee", "maybe", "\xff"} {
		ends := func(address string) string {
			s := openSocket(t, address)
			s.send(startup(address, "replication", value))
			if said := s.verdict(); said != "in" {
				return said
			}
			_, told, _ := strings.Cut(s.asks("Z", text("IDENTIFY_SYSTEM")), "C(") // the row has a position, and the database, if any
			return "in, and then " + told + s.asks("Z", text("SELECT current_database()"))
		}
		if direct, got := ends(r.direct), ends(r.url); got != direct {
			t.Errorf("replication = %q ends with %q, and directly with %q", value, got, direct)
		}
	}
}

func TestAReplicationConnectionIsFoundByItsProcessId(t *testing.T) {
	r := startProxyBefore(t, publisher(t))
	replica, other := logIn(t, r.url, "replication", "database"), logIn(t, r.url)
	if got := other.value(fmt.Sprintf("SELECT backend_type FROM pg_stat_activity WHERE pid = %d", replica.pid)); got != "walsender" {
		t.Errorf("it is a %s", got)
	}
	if got := other.value(fmt.Sprintf("SELECT pg_terminate_backend(%d)", replica.pid)); got != "t" {
		t.Errorf("ending it gives %s", got)
	}
	if got := replica.verdict(); got != "FATAL 57P01 terminating connection due to administrator command" {
		t.Errorf("it is told %q", got)
	}
}
