package sim

import (
	"strconv"
	"time"

	"github.com/lockproxy/lockproxy/proxy/session"
)

// definitions is what proxy/definitions.go knows of functions. Those here stay what they are, but their version changes:
// where sessions see it, and where they have to find out.
type definitions struct {
	version int // on the servers
	catalog *session.Catalog
	read    *session.Catalog // as it was read last
	readAs  int              // its version
	resets  int
	reading bool
	blind   bool
}

// catalogOf reads the functions of a version.
func catalogOf(version int) *session.Catalog {
	d := &session.Definitions{Version: strconv.Itoa(version), Routines: []session.Routine{{OID: oidLock}, {OID: oidUnlock}}}
	for i, name := range []string{"pg_advisory_lock", "pg_advisory_unlock"} {
		d.Routines[i].Schema, d.Routines[i].Name = "pg_catalog", name
	}
	catalog, err := session.NewCatalog([]string{"app.acquire"}, d)
	if err != nil {
		panic(err)
	}
	return catalog
}

func (w *world) newDefinitions() {
	c := catalogOf(0)
	w.definitions = definitions{catalog: c, read: c}
}

// redefine has the version change, and maybe a session notice it at once.
func (w *world) redefine() {
	w.definitions.version++
	w.note("functions change")
	if w.chance(50) {
		w.redefined(session.RedefinedHere)
	}
}

// redefined is proxy/definitions.go's.
func (w *world) redefined(how session.Redefinition) {
	d := &w.definitions
	w.note("functions are to be read again")
	w.seen.redefined[how]++
	if how == session.RedefinedElsewhere {
		d.resets++
	}
	if d.reading = true; !d.blind {
		d.catalog = d.catalog.Doubted()
		w.pair.Withhold(w.now, true)
	}
}

// readingEnds ends a reading of the functions, well or not.
func (w *world) readingEnds() {
	d := &w.definitions
	if failed := !w.calm && w.chance(30); failed {
		d.blind = true
		d.catalog = d.catalog.Unreadable()
		w.note("functions cannot be read")
	} else {
		w.note("functions are read")
		if d.readAs != d.version {
			d.read, d.readAs = catalogOf(d.version), d.version
		}
		if d.blind {
			d.resets++
		}
		d.read = d.read.After(d.resets)
		d.catalog, d.reading, d.blind = d.read, false, false
	}
	w.pair.Withhold(w.now, false)
	w.collect()
	for _, f := range append([]*front(nil), w.fronts...) {
		if f.server != nil {
			f.step(func(s *session.Session, o *session.Output, now time.Time) { s.Reconsider(o, now) })
		}
	}
}
