package test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// appVariable makes the test binary an application with pgx, run by a test: see serveApp.
const appVariable = "LOCKPROXY_TEST_APP"

// appRequest is a line that an application reads. Driver_test.go writes them.
type appRequest struct {
	ID   int      `json:"id"`
	Op   string   `json:"op"` // connect, pool, acquire, query, hear, end
	URL  string   `json:"url,omitempty"`
	Max  int      `json:"max,omitempty"`
	Pool int      `json:"pool,omitempty"`
	Conn int      `json:"conn,omitempty"`
	SQL  string   `json:"sql,omitempty"`
	Args []string `json:"args,omitempty"` // none: the simple query protocol
}

// appAnswer is a line that an application writes.
type appAnswer struct {
	ID      int        `json:"id"`
	Conn    int        `json:"conn,omitempty"`
	Pool    int        `json:"pool,omitempty"`
	Rows    [][]string `json:"rows,omitempty"`
	Payload string     `json:"payload,omitempty"`
	Error   *appError  `json:"error,omitempty"`
}

// appError is an error as a driver showed it to its application.
type appError struct {
	Severity string `json:"severity,omitempty"`
	Code     string `json:"code,omitempty"` // the SQLSTATE; "": the driver's own words
	Message  string `json:"message"`
	Detail   string `json:"detail,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

// Error gives it in a line.
func (e *appError) Error() string {
	return fmt.Sprintf("%s %s: %s (%s) (%s)", e.Severity, e.Code, e.Message, e.Detail, e.Hint)
}

// serveApp is an application with pgx: it does what the lines that it reads say, and answers each with a line. The same
// program for node is node/app.js.
func serveApp(in io.Reader, out io.Writer) {
	a := &goApp{conns: map[int]*goConn{}, pools: map[int]chan *pgx.Conn{}, out: json.NewEncoder(out)}
	lines := bufio.NewReader(in)
	for decoder := json.NewDecoder(lines); ; {
		var request appRequest
		if decoder.Decode(&request) != nil {
			return
		}
		go a.do(request)
	}
}

type goApp struct {
	mu      sync.Mutex // guards all
	conns   map[int]*goConn
	pools   map[int]chan *pgx.Conn // the idle connections of a pool; nil stands for one not yet made
	urls    map[int]string
	numbers int
	out     *json.Encoder
}

type goConn struct {
	*pgx.Conn
	pool chan *pgx.Conn
}

func (a *goApp) do(request appRequest) {
	answer, err := a.answer(&request)
	if err != nil {
		answer = &appAnswer{Error: describe(err)}
	}
	answer.ID = request.ID
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.out.Encode(answer) // Nobody reads it any more: the next read tells.
}

func (a *goApp) answer(r *appRequest) (*appAnswer, error) {
	ctx := context.Background()
	switch r.Op {
	case "connect":
		conn, err := pgx.Connect(ctx, r.URL)
		if err != nil {
			return nil, err
		}
		return a.adopt(&goConn{Conn: conn}), nil
	case "pool":
		return a.newPool(r), nil
	case "acquire":
		return a.acquire(ctx, r.Pool)
	case "query":
		rows, err := a.conn(r.Conn).query(ctx, r.SQL, r.Args)
		return &appAnswer{Rows: rows}, err
	case "hear":
		n, err := a.conn(r.Conn).WaitForNotification(ctx)
		if err != nil {
			return nil, err
		}
		return &appAnswer{Payload: n.Payload}, nil
	case "end":
		return new(appAnswer), a.end(ctx, r.Conn)
	}
	return nil, errors.New("unknown operation " + r.Op)
}

func (a *goApp) adopt(c *goConn) *appAnswer {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.numbers++
	a.conns[a.numbers] = c
	return &appAnswer{Conn: a.numbers}
}

func (a *goApp) conn(number int) *goConn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conns[number]
}

// newPool makes a pool of a fixed number of connections, made when they are first needed.
func (a *goApp) newPool(r *appRequest) *appAnswer {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.numbers++
	pool := make(chan *pgx.Conn, r.Max)
	for range r.Max {
		pool <- nil
	}
	a.pools[a.numbers] = pool
	if a.urls == nil {
		a.urls = map[int]string{}
	}
	a.urls[a.numbers] = r.URL
	return &appAnswer{Pool: a.numbers}
}

func (a *goApp) acquire(ctx context.Context, number int) (*appAnswer, error) {
	a.mu.Lock()
	pool, url := a.pools[number], a.urls[number]
	a.mu.Unlock()
	conn := <-pool
	if conn == nil || conn.IsClosed() {
		var err error
		if conn, err = pgx.Connect(ctx, url); err != nil {
			pool <- nil
			return nil, err
		}
	}
	return a.adopt(&goConn{conn, pool}), nil
}

// end closes a connection, or gives it back to its pool.
func (a *goApp) end(ctx context.Context, number int) error {
	a.mu.Lock()
	c := a.conns[number]
	delete(a.conns, number)
	a.mu.Unlock()
	if c.pool != nil {
		c.pool <- c.Conn
		return nil
	}
	return c.Close(ctx)
}

// query runs SQL: without arguments by the simple protocol, else as pgx does by default, with prepared statements that
// it keeps and results in binary.
func (c *goConn) query(ctx context.Context, sql string, args []string) ([][]string, error) {
	if args == nil {
		return c.simple(ctx, sql)
	}
	values := make([]any, len(args))
	for i, arg := range args {
		values[i] = arg
	}
	rows, err := c.Query(ctx, sql, values...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]string, error) {
		values, err := row.Values()
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = valueText(v)
		}
		return texts, err
	})
}

func (c *goConn) simple(ctx context.Context, sql string) ([][]string, error) {
	results, err := c.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	last := results[len(results)-1]
	var rows [][]string
	for _, row := range last.Rows {
		texts := make([]string, len(row))
		for i, v := range row {
			const boolean = 16 // pg_type.dat
			if texts[i] = string(v); last.FieldDescriptions[i].DataTypeOID == boolean {
				texts[i] = fmt.Sprint(texts[i] == "t")
			}
		}
		rows = append(rows, texts)
	}
	return rows, nil
}

// valueText writes a value as the program for node does.
func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []byte:
		return `\x` + hex.EncodeToString(v)
	}
	return fmt.Sprint(v)
}

func describe(err error) *appError {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return &appError{Severity: e.Severity, Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint}
	}
	return &appError{Message: err.Error()}
}
