package proxy

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// findLocks gives the advisory locks of a database, those that somebody waits for first. The database's own view is the
// only one that knows of locks taken by functions, by other lockproxies and without any.
const findLocks = `SELECT l.classid::pg_catalog.int8, l.objid::pg_catalog.int8, l.objsubid,
l.mode OPERATOR(pg_catalog.=) 'ShareLock', l.granted, l.pid, a.usename, a.application_name, a.client_addr, a.client_port, a.query
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid
WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database
WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
ORDER BY pg_catalog.bool_and(l.granted) OVER (PARTITION BY l.classid, l.objid, l.objsubid), l.granted DESC LIMIT 10000`

// lockRow is one advisory lock that a server session holds or waits for.
type lockRow struct {
	key     session.LockKey
	shared  bool
	granted bool
	pid     uint32 // of the server process; 0: a prepared transaction's

	// Of the session, for one that is none of ours.
	user, application, address, query string
}

func newLockRow(row []string) lockRow {
	number := func(i int) uint64 {
		n, _ := strconv.ParseUint(row[i], 10, 64) // NULL is 0
		return n
	}
	l := lockRow{
		key:    session.LockKey{Class: uint32(number(0)), Object: uint32(number(1)), Sub: uint16(number(2))},
		shared: row[3] == "t", granted: row[4] == "t", pid: uint32(number(5)),
		user: row[6], application: row[7], address: row[8], query: row[10],
	}
	if l.address == "" {
		l.address = noAddress
	} else {
		l.address += ":" + row[9]
	}
	return l
}

// lookWithin bounds one look at a database's locks, the login included.
const lookWithin = 5 * time.Second

// lockLooks are the looks at the advisory locks of one database. However many ask, one runs at a time, on a connection of
// its own, and all who asked before it began have its answer.
type lockLooks struct {
	mu   sync.Mutex
	next *lockLook // that has not begun; nil: none is wanted
	turn sync.Mutex
}

// lockLook is one of them.
type lockLook struct {
	done chan struct{} // closed when the rest is there
	rows []lockRow
	err  error
}

// locks gives the advisory locks of the database as they are after the call, if they can be had before ctx ends. The rows
// are not to be changed.
func (d *definitions) locks(ctx context.Context, target *backend.Target) ([]lockRow, error) {
	d.looks.mu.Lock()
	l := d.looks.next
	if l == nil {
		l = &lockLook{done: make(chan struct{})}
		d.looks.next = l
		d.server.work.Add(1)
		go d.look(l, target)
	}
	d.looks.mu.Unlock()
	select {
	case <-l.done:
		return l.rows, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// look takes a look when its turn has come.
func (d *definitions) look(l *lockLook, target *backend.Target) {
	defer d.server.work.Done()
	defer close(l.done)
	d.looks.turn.Lock()
	defer d.looks.turn.Unlock()
	d.looks.mu.Lock()
	d.looks.next = nil
	d.looks.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), lookWithin)
	defer cancel()
	defer context.AfterFunc(closing{d.done}, cancel)()
	line, err := backend.Open(ctx, target)
	if err != nil {
		l.err = err
		return
	}
	defer line.Close()
	probe := backend.Probe{Name: "advisory locks", SQL: findLocks}
	if l.err = line.Ask(ctx, &probe); l.err == nil {
		for _, row := range probe.Rows {
			l.rows = append(l.rows, newLockRow(row))
		}
	}
}
