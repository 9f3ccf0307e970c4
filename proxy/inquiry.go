package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/login"
)

// inquiry asks servers for the secrets of users that no list has: auth.query. It asks on a connection of its own, whose
// settings are its own, so that nothing that a client says reaches it but the user's name, as a parameter.
type inquiry struct {
	query  string
	salts  *login.Salts
	keep   time.Duration    // how long an answer counts
	within time.Duration    // bounds one question
	desks  map[string]*desk // by the names of databases
	any    *desk            // of the names that there are not

	mu      sync.Mutex
	known   *answers // of users that there are
	unknown *answers // of users that there are not: a flood of them does not drive out the others
	asking  map[question]*asked
}

// desk is where a database's questions are asked: one after the other, on one connection.
type desk struct {
	target *backend.Target
	turn   chan *backend.Line // holds one value: the connection, or nil
	idle   *time.Timer        // closes a connection that nobody uses
}

type question struct {
	desk *desk
	user string
}

type answers = login.Memory[question, answer]

type answer struct {
	secret login.Secret
	at     time.Time
	until  time.Time
}

// asked is a question under way, for all who wait for its answer.
type asked struct {
	waiting int                // how many they are; under the inquiry's mutex
	cancel  context.CancelFunc // for when they are all gone

	done   chan struct{}
	secret login.Secret
	known  bool
	err    error
}

const (
	// maxAnswers bounds the answers that are kept, of either kind.
	maxAnswers = 8192
	// maxQuestions bounds the questions under way. Whoever asks for one more is refused.
	maxQuestions = 1024
	// firm is how long an answer counts although somebody fails by it, so that who tries again and again has nothing asked
	// each time.
	firm = time.Second
	// deskIdle is how long a connection is kept that nobody uses.
	deskIdle = 30 * time.Second
)

// newInquiry makes what asks, on the connection of queryURL or else of each database's URL.
func newInquiry(auth *Auth, salts *login.Salts, within time.Duration, targets map[string]*backend.Target) (*inquiry, error) {
	q := &inquiry{
		query: auth.Query, salts: salts, keep: auth.QueryCache, within: within,
		desks: make(map[string]*desk), known: login.NewMemory[question, answer](maxAnswers),
		unknown: login.NewMemory[question, answer](maxAnswers), asking: make(map[question]*asked),
	}
	if auth.QueryURL != "" {
		target, err := backend.ParseTarget(auth.QueryURL)
		if err != nil {
			return nil, inSetting("auth.query_url", err)
		}
		q.any = newDesk(target, "postgres")
		return q, nil
	}
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		target := targets[name]
		if !target.ForcesUser() || name == AnyDatabase && !target.ForcesDatabase() {
			return nil, inSetting("databases."+name+".url", errors.New("names no user, or no database, to ask auth.query with: set auth.query_url"))
		}
		q.desks[name] = newDesk(target, name)
		if q.any == nil || name == AnyDatabase {
			q.any = q.desks[name]
		}
	}
	return q, nil
}

// newDesk uses a target's own user. Names mean what the server's catalog means by them, whatever is said elsewhere
// (CVE-2025-12819).
func newDesk(target *backend.Target, database string) *desk {
	d := &desk{turn: make(chan *backend.Line, 1)}
	d.target = target.With(target.User(), database).Setting("search_path", "pg_catalog").Setting("application_name", "lockproxy auth.query")
	d.turn <- nil
	d.idle = time.AfterFunc(time.Hour, d.hangUp)
	d.idle.Stop()
	return d
}

// ask finds the secret of a user for the database that it names, until ctx ends. Of several who ask the same the first asks
// the server.
func (q *inquiry) ask(ctx context.Context, user, database string) (login.Secret, bool, error) {
	what := q.questionOf(user, database)
	q.mu.Lock()
	if secret, known, ok := q.recall(what); ok {
		q.mu.Unlock()
		return secret, known, nil
	}
	a, others := q.asking[what]
	if !others && len(q.asking) >= maxQuestions {
		q.mu.Unlock()
		return login.Secret{}, false, errors.New("auth.query: too many users are looked up at once")
	}
	within := context.Background()
	if !others {
		a = &asked{done: make(chan struct{})}
		within, a.cancel = context.WithTimeout(within, q.within)
		defer a.cancel()
		q.asking[what] = a
	}
	a.waiting++
	q.mu.Unlock()
	defer context.AfterFunc(ctx, func() { q.leave(what, a) })()
	if !others {
		q.answer(within, what, a)
	}
	select {
	case <-a.done:
		return a.secret, a.known, a.err
	case <-ctx.Done():
		return login.Secret{}, false, ctx.Err()
	}
}

func (q *inquiry) questionOf(user, database string) question {
	d := q.desks[database]
	if d == nil {
		d = q.any
	}
	return question{d, user}
}

// doubt has a question asked again at the next login of a user who has failed by its answer: the password may have changed
// meanwhile, or the user have been created.
func (q *inquiry) doubt(user, database string) {
	what := q.questionOf(user, database)
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, list := range []*answers{q.known, q.unknown} {
		if a, ok := list.Get(what); ok && time.Since(a.at) >= firm {
			list.Forget(what)
		}
	}
}

// recall gives an answer that still counts. Called with the mutex held.
func (q *inquiry) recall(what question) (secret login.Secret, known, ok bool) {
	now := time.Now()
	if a, ok := q.known.Get(what); ok && now.Before(a.until) {
		return a.secret, true, true
	}
	a, ok := q.unknown.Get(what)
	return login.Secret{}, false, ok && now.Before(a.until)
}

// leave gives a question up for which nobody waits any more.
func (q *inquiry) leave(what question, a *asked) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a.waiting--; a.waiting > 0 {
		return
	}
	a.cancel()
	if q.asking[what] == a {
		delete(q.asking, what)
	}
}

// answer finds the answer for all who wait for it.
func (q *inquiry) answer(ctx context.Context, what question, a *asked) {
	if a.secret, a.known, a.err = what.desk.ask(ctx, q, what.user); a.err != nil {
		a.err = fmt.Errorf("auth.query: %w", a.err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.asking[what] == a {
		delete(q.asking, what)
	}
	close(a.done)
	if a.err == nil {
		q.learn(what, a)
	}
}

// learn keeps an answer. Called with the mutex held.
func (q *inquiry) learn(what question, a *asked) {
	q.known.Forget(what)
	q.unknown.Forget(what)
	list := q.unknown
	if a.known {
		list = q.known
	}
	if q.keep == 0 {
		return
	}
	now := time.Now()
	list.Put(what, answer{a.secret, now, now.Add(q.keep)})
}

// ask asks one question, when it is its turn.
func (d *desk) ask(ctx context.Context, q *inquiry, user string) (login.Secret, bool, error) {
	var line *backend.Line
	select {
	case line = <-d.turn:
	case <-ctx.Done():
		return login.Secret{}, false, ctx.Err()
	}
	d.idle.Stop()
	defer func() {
		if line != nil {
			d.idle.Reset(deskIdle)
		}
		d.turn <- line
	}()
	p := &backend.Probe{Name: "a user's secret", SQL: q.query, Arguments: []string{user}}
	err := d.put(ctx, &line, p)
	switch {
	case isNoName(err):
		return login.Secret{}, false, nil
	case err != nil:
		return login.Secret{}, false, err
	}
	return readAnswer(q.salts, user, p.Rows)
}

// put asks on a line, which it opens where there is none. One that was kept may have ended meanwhile.
func (d *desk) put(ctx context.Context, line **backend.Line, p *backend.Probe) (err error) {
	for again := *line != nil; ; again = false {
		if *line == nil {
			if *line, err = backend.Open(ctx, d.target); err != nil {
				*line = nil
				return err
			}
		}
		if err = (*line).Ask(ctx, p); err == nil || isStatementError(err) {
			return err
		}
		(*line).Close()
		*line = nil
		if !again {
			return err
		}
	}
}

// isStatementError tells whether the server refused what was asked and nothing else.
func isStatementError(err error) bool {
	var e *backend.Error
	return errors.As(err, &e) && e.Server != nil && e.Server.Severity == "ERROR"
}

// isNoName tells whether the server could not even read the name: nobody has it. (Class 22 is "Data Exception", such as
// bytes that its encoding does not have.)
func isNoName(err error) bool {
	var e *backend.Error
	return isStatementError(err) && errors.As(err, &e) && strings.HasPrefix(e.Server.Code, "22")
}

// readAnswer reads the one row with the user's name and secret, as PgBouncer has it. No row means that there is no such
// user, and never that it is somebody else (CVE-2015-6817); a secret that is NULL is one that nobody can log in with.
func readAnswer(salts *login.Salts, user string, rows [][]string) (login.Secret, bool, error) {
	const columns = 2
	switch {
	case len(rows) == 0:
		return login.Secret{}, false, nil
	case len(rows) > 1:
		return login.Secret{}, false, fmt.Errorf("it gives %d rows in the place of one", len(rows))
	case len(rows[0]) != columns:
		return login.Secret{}, false, fmt.Errorf("it gives %d columns in the place of two, the user's name and secret", len(rows[0]))
	case rows[0][0] != user:
		return login.Secret{}, false, fmt.Errorf("it gives the secret of user %q in the place of %q", rows[0][0], user)
	}
	secret, err := salts.ReadSecret(user, rows[0][1])
	return secret, err == nil, err
}

// hangUp closes the connection, unless it is in use.
func (d *desk) hangUp() {
	select {
	case line := <-d.turn:
		if line != nil {
			line.Close()
		}
		d.turn <- nil
	default:
	}
}

// TryQuery asks auth.query for a user that there cannot be, wherever it is asked. It says what is wrong with it. A server
// that tries it need not serve.
func (s *Server) TryQuery(ctx context.Context) error {
	q := s.rules.Load().inquiry
	if q == nil {
		return nil
	}
	defer q.close()
	if len(q.desks) == 0 {
		return q.any.try(ctx, q)
	}
	for _, name := range slices.Sorted(maps.Keys(q.desks)) {
		if err := q.desks[name].try(ctx, q); err != nil {
			return fmt.Errorf("in database %s: %w", name, err)
		}
	}
	return nil
}

// nobody is longer than a role's name can be (NAMEDATALEN of pg_config_manual.h).
var nobody = strings.Repeat("nobody ", 10)

func (d *desk) try(ctx context.Context, q *inquiry) error {
	switch _, known, err := d.ask(ctx, q, nobody); {
	case err != nil:
		return fmt.Errorf("as user %s: %w", d.target.User(), err)
	case known:
		return fmt.Errorf("it has a secret for %q, a name that nobody has: it is to give that of user $1", nobody)
	}
	return nil
}

// close ends the connections, once nobody asks any more.
func (q *inquiry) close() {
	if q == nil {
		return
	}
	for _, d := range q.desks {
		d.hangUp()
	}
	q.any.hangUp()
}
