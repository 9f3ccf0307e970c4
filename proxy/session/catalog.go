package session

import (
	"fmt"
	"strconv"

	"github.com/lockproxy/lockproxy/protocol/sql"
)

// Catalog is which functions of a database take advisory locks, or leave something else in the server session that a
// text does not show. Immutable.
type Catalog struct {
	reader    *sql.Reader
	builtin   map[uint32]sql.Effect   // PostgreSQL's own lock functions by oid, for FunctionCall messages
	users     map[uint32]sql.Function // the user's likewise
	settings  []string                // that any function changes
	question  string                  // whether functions changed since
	version   string                  // its answer, if they did not; "": none were read
	sequences bool
	doubt     doubt
	resets    int // how often functions changed where lockproxy could not see it
}

// doubt says whether functions may have changed since a catalog was read.
type doubt uint8

const (
	certain    doubt = iota
	unread           // it is being read again: whoever ends a transaction waits for it
	unreadable       // it could not be read in time: who has run anything asks the server what it knows
)

// AskVersion is an expression of SQL whose value changes whenever functions do. The oids from 16384 on are the user's and
// the extensions' (transam.h, FirstNormalObjectId); what is replaced has another xmin.
const AskVersion = `pg_catalog.concat((SELECT pg_catalog.concat(pg_catalog.count(*), ' ', pg_catalog.sum(` + xminNumber + `))` +
	` FROM pg_catalog.pg_proc WHERE oid OPERATOR(pg_catalog.>=) 16384), ' ', (SELECT pg_catalog.sum(` + xminNumber + `)` +
	` FROM pg_catalog.pg_namespace WHERE oid OPERATOR(pg_catalog.>=) 16384 AND nspname OPERATOR(pg_catalog.!~) '^pg_'))`

const xminNumber = `xmin::pg_catalog.text::pg_catalog.int8`

// AskCallers begins an expression whose value changes whenever what calls certain functions unseen does: triggers, views,
// policies, defaults. Their oids follow, and two parentheses.
const AskCallers = `(SELECT pg_catalog.concat(pg_catalog.count(*), ' ', pg_catalog.sum(` + xminNumber + `)) FROM pg_catalog.pg_depend` +
	` WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND refobjid IN (`

// Routine is a function or procedure as a database's catalog has it.
type Routine struct {
	OID uint32
	sql.Routine
	Callers, CallersSum int64 // what calls it unseen, as AskCallers counts it
}

// How a routine is called without being named.
const (
	UnseenNever  = sql.UnseenNever
	UnseenWrites = sql.UnseenWrites
	UnseenAlways = sql.UnseenAlways
)

// Definitions are a database's functions as they were read at one moment.
type Definitions struct {
	Routines  []Routine // PostgreSQL's own lock functions, and all of the user's
	Version   string    // as AskVersion gives it
	Sequences bool      // a column's default reads what nextval left in the session
}

// NewCatalog makes a catalog of the lock functions that the configuration names, as SQL names them, and of a database's
// functions, whose bodies it reads. The error names the entry of the configuration that is no function's name.
func NewCatalog(configured []string, d *Definitions) (*Catalog, error) {
	c := &Catalog{
		builtin: make(map[uint32]sql.Effect), users: make(map[uint32]sql.Function), sequences: d.Sequences,
	}
	var users []Routine
	var bodies []sql.Routine
	for _, r := range d.Routines {
		if r.Schema == "pg_catalog" {
			c.builtin[r.OID] = sql.FunctionEffect(r.Name)
			continue
		}
		users, bodies = append(users, r), append(bodies, r.Routine)
	}
	found, err := sql.Study(configured, bodies)
	if err != nil {
		return nil, err
	}
	var lasting []Routine
	for i, f := range found {
		c.sequences = c.sequences || f.Sequences
		if f.Matters() {
			c.settings = append(c.settings, f.Settings...)
		}
		if f.Name == "" {
			continue // no function
		}
		if f.Matters() {
			c.users[users[i].OID] = f
		}
		if f.Leaves() {
			lasting = append(lasting, users[i])
		}
	}
	c.ask(d.Version, lasting)
	c.reader, err = sql.NewReader(configured, found...)
	return c, err
}

// calls notes what a FunctionCall message does.
func (c *Catalog) calls(r *request, oid uint32) {
	f := c.users[oid]
	runs := runTexts[oid] || f.RunsTexts()
	if runs {
		f.Touches |= sql.TouchDynamic
	}
	if runs || oid == setConfig {
		f.Settings = []string{""} // which, its arguments would tell
	}
	if r.lock = c.builtin[oid]; f.Locks {
		r.lock = sql.Unknown
	}
	r.touches = f.Touches
	if r.lock == 0 && len(f.Settings) == 0 {
		return
	}
	u := &sql.Unit{Lock: r.lock, Simple: r.lock&sql.Unknown == 0}
	u.Columns[0] = r.lock
	for _, name := range f.Settings {
		u.Settings = append(u.Settings, sql.Setting{Name: name})
		r.touches |= sql.TouchSettings
	}
	r.unit = u
}

// ask makes the question whether functions changed, or what calls those that matter, and its answer.
func (c *Catalog) ask(version string, lasting []Routine) {
	if version == "" {
		return // none were read
	}
	c.question, c.version = "SELECT 'f',"+AskVersion+",", version+" "
	if len(lasting) == 0 {
		c.question += "NULL;"
		return
	}
	separator, callers, sum := AskCallers, int64(0), int64(0)
	for _, r := range lasting {
		c.question += separator + strconv.FormatUint(uint64(r.OID), 10)
		separator, callers, sum = ",", callers+r.Callers, sum+r.CallersSum
	}
	c.question += "));"
	c.version += fmt.Sprint(callers, " ")
	if callers > 0 {
		c.version += strconv.FormatInt(sum, 10)
	}
}

// Doubted gives the catalog as one that may be old.
func (c *Catalog) Doubted() *Catalog { return c.with(unread, c.resets) }

// Unreadable gives the catalog as one that is old, and can not be read again for now.
func (c *Catalog) Unreadable() *Catalog { return c.with(unreadable, c.resets) }

// After gives the catalog as that of a database whose functions changed so many times where lockproxy could not see it.
func (c *Catalog) After(resets int) *Catalog { return c.with(c.doubt, resets) }

func (c *Catalog) with(d doubt, resets int) *Catalog {
	if c.doubt == d && c.resets == resets {
		return c
	}
	other := *c
	other.doubt, other.resets = d, resets
	return &other
}

// Sequences tells whether a column's default or a function reads what nextval left in the session (currval, lastval).
func (c *Catalog) Sequences() bool { return c.sequences }
