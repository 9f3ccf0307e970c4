package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/lockproxy/lockproxy/spelling"
)

// importINI writes a lockproxy.toml that does what a pgbouncer.ini does.
func importINI(_ context.Context, args []string, w streams) error {
	flags := newFlags("import", w)
	output := flags.String("o", "", "the `file` to write, which must not be there yet; without it, standard output")
	flags.Usage = func() {
		fmt.Fprintln(w.err, "Usage of lockproxy import: lockproxy import [-o lockproxy.toml] pgbouncer.ini")
		flags.PrintDefaults()
	}
	path, err := parseOne(flags, args, "a pgbouncer.ini")
	if err != nil {
		return err
	}
	t, err := translate(path, os.ReadFile)
	if err != nil {
		return err
	}
	text := t.text(filepath.Base(path))
	if *output == "" {
		_, err = io.WriteString(w.out, text)
	} else {
		err = writeNew(*output, text)
	}
	if err == nil {
		t.sayWarnings(w.err)
	}
	return err
}

// sayWarnings repeats to whoever does not read the file what must not be overlooked in it.
func (t *translation) sayWarnings(out io.Writer) {
	for _, warning := range t.warnings {
		fmt.Fprintln(out, "warning:", warning.text)
	}
}

// writeNew writes a file that only its owner may read, since there are passwords in it.
func writeNew(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s: is there already: move it away, or name another file", path)
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// translation is a pgbouncer.ini on its way to a lockproxy.toml.
type translation struct {
	main map[string]iniSetting
	// Of the admin pools: the largest size, and how many connections are kept.
	max, min int
	// always and overTCP are parameters of all urls, the latter of those that do not lead to a unix socket.
	always, overTCP url.Values
	databases       []*databaseImport
	tables          []*importTable
	notes, warnings []iniNote
	problems        problems
}

// iniNote says of a place that something there has no counterpart.
type iniNote struct {
	iniEntry
	text string
}

// translate has a pgbouncer.ini read, with what it includes. Its error holds everything that is wrong, a line each.
func translate(path string, read func(path string) ([]byte, error)) (*translation, error) {
	ini := &iniReader{read: read}
	if err := ini.readFile(path, 0); err != nil {
		return nil, err
	}
	t := &translation{main: map[string]iniSetting{}, always: url.Values{}, overTCP: url.Values{}}
	for _, e := range ini.again {
		t.note(e, e.key, "not taken over: [pgbouncer] begins again below, where PgBouncer forgets all that stands before")
	}
	t.readMain(path, ini.entries)
	for _, key := range mainKeys() {
		if key.becomes != nil {
			key.becomes(t, t.main[key.name])
		}
	}
	t.lockPool()
	t.note(iniEntry{file: path}, "SIGTERM", fmt.Sprintf("PgBouncer waits until its clients have gone, however long, lockproxy for "+
		"server.drain_timeout (%v); then each is told to go once it is in no transaction, and after server.shutdown_timeout (%v) at once",
		defaults().drainTimeout, defaults().server.ShutdownTimeout))
	t.readOthers(path, ini.entries)
	t.authQuery()
	if err := t.problems.orNil(); err != nil {
		return nil, err
	}
	return t, nil
}

// lockPool switches off what PgBouncer does not have. The rest of the lock pool's settings have been taken with the admin pool's.
func (t *translation) lockPool() {
	lock := defaults().lockPool
	from := func(d time.Duration) string { return fmt.Sprintf("PgBouncer has none; lockproxy's default is %v", d) }
	t.set("pools.lock", "lock_timeout", "0s", from(lock.lockTimeout))
	t.set("pools.lock", "idle_in_transaction_session_timeout", "0s", from(lock.idleTransactionTimeout))
}

// readMain takes the settings of [pgbouncer], and the defaults of those that are not there.
func (t *translation) readMain(path string, entries []iniEntry) {
	var names []string
	for _, key := range mainKeys() {
		t.main[key.name] = iniSetting{iniEntry: iniEntry{file: path, key: key.name, value: key.fallback}}
		names = append(names, key.name)
	}
	for _, e := range entries {
		if e.section != mainSection {
			continue
		}
		if _, known := t.main[e.key]; !known {
			what := "PgBouncer has no setting " + e.key
			if found := spelling.Nearest(e.key, names); found != "" {
				what += "; did you mean " + found + "?"
			}
			t.wrong(e, "%s", what)
			continue
		}
		t.main[e.key] = iniSetting{e, true}
	}
}

// readOthers takes the sections of connection strings. Of two entries of one name the second counts.
func (t *translation) readOthers(path string, entries []iniEntry) {
	last := map[[2]string]int{}
	for i, e := range entries {
		last[[2]string{e.section, e.key}] = i
	}
	for i, e := range entries {
		if last[[2]string{e.section, e.key}] != i {
			continue
		}
		switch e.section {
		case mainSection:
		case "databases":
			t.database(e)
		case "users":
			t.user(e)
		case "peers":
			t.peer(e)
		default:
			t.wrong(e, "PgBouncer has no section [%s]", e.section)
		}
	}
	if len(t.databases) == 0 {
		t.problems = append(t.problems, problem{path + ": [databases]", "is empty, so there is nothing to connect to"})
	}
}

// note says of something in the file that it has no counterpart, and why.
func (t *translation) note(e iniEntry, name, why string) {
	t.notes = append(t.notes, iniNote{e, fmt.Sprintf("%s: %s: %s.", e.place(), name, why)})
}

// warn says of something in the file that lockproxy lets in others than PgBouncer does.
func (t *translation) warn(e iniEntry, name, why string) {
	t.warnings = append(t.warnings, iniNote{e, fmt.Sprintf("%s: %s: %s.", e.place(), name, why)})
}

// wrong says that something cannot be taken over.
func (t *translation) wrong(e iniEntry, format string, args ...any) {
	t.add(e.wrong(format, args...))
}

func (t *translation) add(err error) {
	var found problems
	if errors.As(err, &found) {
		for _, p := range found {
			if !slices.Contains(t.problems, p) { // what is wrong for several databases is told once
				t.problems = append(t.problems, p)
			}
		}
	}
}
