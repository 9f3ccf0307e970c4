package console

import (
	"context"
	"fmt"
	"time"
)

// table is the answer to a SHOW command.
type table struct {
	columns []column
	rows    func(ctx context.Context, s Server) ([][]any, error)
}

// column has the type that PgBouncer gives it (src/admin.c): dashboards may be particular about that.
type column struct {
	name string
	kind kind
}

// kind is a type, by its oid (src/include/catalog/pg_type.dat).
type kind uint32

const (
	text    kind = 25   // string, or nil for NULL
	int4    kind = 23   // int64
	int8    kind = 20   // int64
	numeric kind = 1700 // int64
)

// field is a column with its value for one of what the rows stand for.
type field[T any] struct {
	name  string
	kind  kind
	value func(T) any
}

// of makes a table with a row for each of what a list of a snapshot has.
func of[T any](list func(*Snapshot) []T, fields ...field[T]) *table {
	t := &table{}
	for _, f := range fields {
		t.columns = append(t.columns, column{f.name, f.kind})
	}
	t.rows = func(_ context.Context, s Server) ([][]any, error) {
		return rowsOf(list(s.Snapshot()), fields), nil
	}
	return t
}

func rowsOf[T any](list []T, fields []field[T]) [][]any {
	var rows [][]any
	for _, one := range list {
		row := make([]any, len(fields))
		for i, f := range fields {
			row[i] = f.value(one)
		}
		rows = append(rows, row)
	}
	return rows
}

// empty is a table of something that there is not here.
func empty(columns ...column) *table {
	return &table{columns, func(context.Context, Server) ([][]any, error) { return nil, nil }}
}

// pair is a row of a table that has names and values.
type pair struct {
	name  string
	value any
}

func pairs(name, value string, of kind, list func(*Snapshot) []pair) *table {
	return &table{[]column{{name, text}, {value, of}}, func(_ context.Context, s Server) ([][]any, error) {
		var rows [][]any
		for _, p := range list(s.Snapshot()) {
			rows = append(rows, []any{p.name, p.value})
		}
		return rows, nil
	}}
}

// flag is a truth as PgBouncer shows it.
func flag(b bool) any {
	if b {
		return int64(1)
	}
	return int64(0)
}

func count(n int) any { return int64(n) }

// moment shows a time as PgBouncer does, and nothing where it is not known.
func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// optional is NULL for an empty text.
func optional(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func micros(d time.Duration) int64 { return d.Microseconds() }

// whole and rest are a duration as PgBouncer shows it in two columns.
func whole(d time.Duration) any { return int64(max(d, 0) / time.Second) }
func rest(d time.Duration) any  { return int64(max(d, 0) % time.Second / time.Microsecond) }

// pointer is what stands for the address of something in PgBouncer's memory: it tells rows apart, and "link" names "ptr".
func pointer(pid uint32) any {
	if pid == 0 {
		return ""
	}
	return fmt.Sprintf("0x%x", pid)
}

// ofOne is a table of one value.
func ofOne(c column, value any) *table {
	return &table{[]column{c}, func(context.Context, Server) ([][]any, error) { return [][]any{{value}}, nil }}
}
