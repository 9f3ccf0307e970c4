package session

import (
	"strings"

	"github.com/lockproxy/lockproxy/protocol/sql"
)

// Catalog is which functions of a database take advisory locks. Immutable.
type Catalog struct {
	reader *sql.Reader
	locks  map[uint32]sql.Effect // by oid, for FunctionCall messages
}

// Function is one function as a database's catalog has it.
type Function struct {
	OID          uint32
	Schema, Name string
}

// NewCatalog makes a catalog of the functions that the configuration names, as SQL names them, and of those that were
// found: PostgreSQL's own lock functions, and the users' whose bodies call them. The error names the entry of the
// configuration that is no function's name.
func NewCatalog(configured []string, found []Function) (*Catalog, error) {
	c := &Catalog{locks: make(map[uint32]sql.Effect)}
	names := append([]string(nil), configured...)
	for _, f := range found {
		if f.Schema == "pg_catalog" {
			c.locks[f.OID] = sql.FunctionEffect(f.Name)
			continue
		}
		c.locks[f.OID] = sql.Unknown
		names = append(names, quoteName(f.Schema)+"."+quoteName(f.Name))
	}
	var err error
	c.reader, err = sql.NewReader(names)
	return c, err
}

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
