package proxy

import (
	"testing"

	"github.com/lockproxy/lockproxy/proxy/session"
)

func TestWelcomesAreKnownFromThoseWithAnotherName(t *testing.T) {
	set := func(all ...session.Setting) *session.Settings { return session.NewSettings(all) }
	named := func(name string) session.Setting { return session.Setting{Name: applicationName, Value: name} }
	zone := session.Setting{Name: "timezone", Value: "Asia/Tokyo"}
	var w welcomes
	if w.find(set(named("a"))) != nil {
		t.Error("nobody has been welcomed yet")
	}
	w.unnamed = "of the role"
	w.learn(set(named("a")), set(named("a"), zone))
	for _, one := range []struct {
		startup *session.Settings
		told    string
	}{{set(named("a")), "a"}, {set(named("b")), "b"}, {set(named("")), ""}, {nil, "of the role"}} {
		for range 2 {
			got := w.find(one.startup)
			if name, _ := got.Get(applicationName); name != one.told {
				t.Errorf("who begins with %v is told %v", one.startup.All(), got.All())
			}
			if value, _ := got.Get("timezone"); value != zone.Value {
				t.Errorf("who begins with %v is told %v", one.startup.All(), got.All())
			}
		}
		if w.find(one.startup) != w.find(set(one.startup.All()...)) || w.share(set(one.startup.All()...)) != one.startup && one.told != "a" {
			t.Errorf("%v is not shared", one.startup.All())
		}
	}
	if w.find(set(named("é"))) != nil || w.find(set(named("a"), zone)) != nil {
		t.Error("what a server says to others is not known")
	}
	if w.forget(); w.find(set(named("a"))) != nil || w.find(set(named("b"))) != nil {
		t.Error("it is forgotten")
	}
}
