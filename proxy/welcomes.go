package proxy

import "github.com/lockproxy/lockproxy/proxy/session"

// welcomes remember what servers of a pool report to a client that begins, by its startup settings: whoever begins with the same
// is told the same without a server. Clients share both sets, so that an idle one keeps none of its own.
type welcomes struct {
	told    map[string]welcome
	others  map[string]welcome // whatever the application's name is, which they hold as empty
	unnamed string             // the application's name for whoever gives none
}

// welcome is what a server reports to whoever begins with a startup message's settings.
type welcome struct{ startup, reported *session.Settings }

// maxWelcomes bounds each of them. Programs may put a number into the application's name that is another for each client.
const maxWelcomes = 256

// find gives what is reported for startup settings; nil: that is not known yet.
func (w *welcomes) find(startup *session.Settings) *session.Settings {
	if known, is := w.told[startup.Fingerprint()]; is {
		return known.reported
	}
	name, given := startup.Get(applicationName)
	if !given {
		name = w.unnamed
	} else if !reportedAsIs(name) {
		return nil
	}
	known, is := w.others[nameless(startup).Fingerprint()]
	if !is {
		return nil
	}
	reported := known.reported.With(applicationName, name)
	keep(&w.told, welcome{startup, reported})
	return reported
}

// share gives startup settings as somebody else has them who began with the same.
func (w *welcomes) share(startup *session.Settings) *session.Settings {
	if known, is := w.told[startup.Fingerprint()]; is {
		return known.startup
	}
	return startup
}

// learn takes what a server has reported for startup settings.
func (w *welcomes) learn(startup, reported *session.Settings) {
	if w.told[startup.Fingerprint()].reported == reported {
		return // by which the client was welcomed
	}
	keep(&w.told, welcome{startup, reported})
	keep(&w.others, welcome{nameless(startup), reported.With(applicationName, "")})
}

// forget forgets all.
func (w *welcomes) forget() {
	clear(w.told)
	clear(w.others)
}

func keep(known *map[string]welcome, one welcome) {
	if len(*known) >= maxWelcomes {
		clear(*known)
	}
	if *known == nil {
		*known = make(map[string]welcome)
	}
	(*known)[one.startup.Fingerprint()] = one
}

const applicationName = "application_name"

func nameless(startup *session.Settings) *session.Settings { return startup.With(applicationName, "") }

// reportedAsIs tells whether servers report an application's name as it is: short, and plain ASCII (guc_funcs.c,
// check_application_name; names are cut at 63 bytes).
func reportedAsIs(name string) bool { return len(name) < 64 && printable(name) == name }

// printable puts a question mark for each byte that is no printable ASCII, as PostgreSQL does to the name in a startup packet
// (pg_clean_ascii in src/common/string.c): from us it comes in a SET, where bytes that are no text are an error.
func printable(name string) string {
	p := []byte(name)
	for i, c := range p {
		if c < ' ' || c > '~' {
			p[i] = '?'
		}
	}
	return string(p)
}
