package session

import (
	"strings"

	"github.com/lockproxy/lockproxy/protocol/sql"
)

// Catalog is which functions of a database take advisory locks, or leave something else in the server session that a
// text does not show. Immutable.
type Catalog struct {
	reader *sql.Reader
	locks  map[uint32]sql.Effect // by oid, for FunctionCall messages
	leaves map[uint32]bool       // likewise
}

// Function is one function as a database's catalog has it.
type Function struct {
	OID          uint32
	Schema, Name string
	Locks        bool // it takes or releases advisory locks
	Leaves       bool // it changes settings or makes temporary tables, for longer than a transaction
}

// NewCatalog makes a catalog of the functions that the configuration names, as SQL names them, and of those that were
// found: PostgreSQL's own lock functions, and the users' whose bodies call them. The error names the entry of the
// configuration that is no function's name.
func NewCatalog(configured []string, found []Function) (*Catalog, error) {
	c := &Catalog{locks: make(map[uint32]sql.Effect), leaves: make(map[uint32]bool)}
	locks := append([]string(nil), configured...)
	var leaves []string
	for _, f := range found {
		name := quoteName(f.Schema) + "." + quoteName(f.Name)
		if f.Schema == "pg_catalog" {
			c.locks[f.OID] = sql.FunctionEffect(f.Name)
			continue
		}
		if f.Locks {
			c.locks[f.OID] = sql.Unknown
			locks = append(locks, name)
		}
		if f.Leaves {
			c.leaves[f.OID] = true
			leaves = append(leaves, name)
		}
	}
	var err error
	c.reader, err = sql.NewReader(locks, leaves...)
	return c, err
}

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
