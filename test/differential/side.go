package differential

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// side is one of the two places where a conversation is held: PostgreSQL itself, or lockproxy before another one.
type side struct {
	address string // where clients connect
	direct  bool   // which is the server itself
	watch   *peer  // a connection of our own to its server
	inside  *peer  // and one to address: what it creates lockproxy knows at once, and what watch creates within a second
	peers   []*peer
	guests  []guest  // of a conversation before: directly, to connect costs more than all that they say
	lines   []string // the transcript
}

// guest is a client that has done nothing but look: its session is as good as new.
type guest struct {
	peer    *peer
	welcome [][]byte // what it was told at login
}

// newSide gives the side of a server that is new, or was used by a side before.
func newSide(server, address string) (_ *side, err error) {
	watch, answers, err := dial(server, "user", "postgres", "database", database, "application_name", "watch")
	if err != nil || watch.closed {
		return nil, fmt.Errorf("log in: %v %v", spellAll(answers), err)
	}
	s := &side{address: address, direct: address == server, watch: watch, inside: watch}
	defer func() {
		if err != nil {
			watch.close()
		}
	}()
	if address != "" && !s.direct {
		s.inside, answers, err = dial(address, "user", "postgres", "database", database, "application_name", "watch")
		if err != nil || s.inside.closed {
			return nil, fmt.Errorf("log in through lockproxy: %v %v", spellAll(answers), err)
		}
	}
	return s, nil
}

// run runs statements on the server and gives the first column of their rows.
func (s *side) run(text string) (column []string, err error) { return runOn(s.watch, text) }

func runOn(p *peer, text string) (column []string, err error) {
	p.send([]message{query(text)}, nil)
	for !p.complete() {
		f, err := p.take(answerWithin)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		switch f[0] {
		case 'E':
			return nil, fmt.Errorf("%s: %s", text, spellServer(f))
		case 'D':
			_, rest, _ := number(f[5:], 2)
			word, _, _ := value(rest)
			if text, err := strconv.Unquote(word); err == nil {
				word = text
			}
			column = append(column, word)
		}
	}
	return column, nil
}

// reset brings the database to where each conversation begins, once the one before is over. Directly, clients that are gone may wait for
// each other for ever (Settings).
func (s *side) reset() error {
	s.peers, s.lines = nil, nil
	if s.direct {
		if _, err := s.run("SELECT pg_terminate_backend(pid)" + ungranted); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(answerWithin); time.Now().Before(deadline); {
		busy, err := s.run("SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name !~ '^(watch|noise)' AND state <> 'idle')" +
			" + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))")
		if err != nil {
			return err
		}
		if busy[0] == "0" {
			break
		}
		time.Sleep(time.Millisecond)
	}
	prepared, err := s.run("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
	if err != nil {
		return err
	}
	for _, gid := range prepared {
		if _, err := s.run("ROLLBACK PREPARED '" + gid + "'"); err != nil {
			return err
		}
	}
	_, err = runOn(s.inside, resetTables)
	return err
}

// connect has a client log in, and gives what it was told.
func (s *side) connect(client int, parameters []string) (answers [][]byte, err error) {
	p, answers, err := dial(s.address, append([]string{"database", database}, parameters...)...)
	s.join(client, p)
	return answers, err
}

func (s *side) join(client int, p *peer) {
	for len(s.peers) <= client {
		s.peers = append(s.peers, nil)
	}
	s.peers[client] = p
}

// invite has a guest come, as connect does. Directly it may be one of another conversation.
func (s *side) invite(client, n int, parameters []string) (answers [][]byte, err error) {
	if n < len(s.guests) {
		s.join(client, s.guests[n].peer)
		return s.guests[n].welcome, nil
	}
	if answers, err = s.connect(client, parameters); err == nil && s.direct {
		s.guests = append(s.guests, guest{s.peers[client], answers})
	}
	return answers, err
}

// hear collects a client's answers, until there are all or the client waits for a lock: it is seen to wait twice, since servers wait
// for moments as well, to extend a table for one.
func (s *side) hear(client int) (waits bool, err error) {
	p := s.peers[client]
	for began, seen := time.Now(), 0; !p.complete() && !p.closed; {
		f, err := p.take(10 * time.Millisecond)
		switch {
		case err == nil:
			p.got = append(p.got, f)
		case p.closed:
		case err != errSilent:
			p.got = append(p.got, f)
			return false, err
		case s.allWait():
			if seen++; seen == 2 {
				return true, nil
			}
			continue
		case time.Since(began) > answerWithin:
			return false, err
		}
		seen = 0
	}
	return false, nil
}

// ungranted are the locks that are waited for on one side: pg_locks shows those of the other, too.
const ungranted = " FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()"

// allWait tells whether each client that has not all its answers waits for a lock. Another one may have got its answers meanwhile.
func (s *side) allWait() bool {
	owed := 0
	for _, p := range s.peers {
		if p != nil && p.stillOwed() {
			owed++
		}
	}
	waiting, err := s.run("SELECT count(DISTINCT pid)" + ungranted)
	return err == nil && waiting[0] == strconv.Itoa(owed)
}

// race tells whether several clients wait for the end of a transaction, or for a table. Who of them comes first then is chance: they may be
// woken together (lmgr.c, XactLockTableWait; proc.c, ProcLockWakeup), and not one after the other as those who wait for an advisory lock are.
func (s *side) race() bool {
	waiting, err := s.run("SELECT count(*) > 1" + ungranted + " AND locktype IN ('transactionid', 'relation') GROUP BY locktype = 'relation' ORDER BY 1 DESC")
	return err == nil && len(waiting) > 0 && waiting[0] == "t"
}

// leave ends the conversation: some clients say goodbye, some do not. Guests stay, unless it broke off under one.
func (s *side) leave() {
	s.guests = slices.DeleteFunc(s.guests, func(g guest) bool {
		i := slices.Index(s.peers, g.peer)
		if i < 0 {
			return false
		}
		if len(g.peer.due) > 0 || g.peer.closed {
			return true
		}
		if _, err := runOn(g.peer, "ROLLBACK"); err != nil {
			return true
		}
		s.peers[i] = nil
		return false
	})
	for i, p := range s.peers {
		if p == nil {
			continue
		}
		if i%2 == 0 {
			p.write(frame('X'))
		}
		p.close()
	}
}

// close closes what outlives a conversation.
func (s *side) close() {
	s.watch.close()
	if s.inside != s.watch {
		s.inside.close()
	}
	for _, g := range s.guests {
		g.peer.close()
	}
}

func (s *side) note(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func spellAll(frames [][]byte) string {
	var all []string
	for _, f := range frames {
		all = append(all, spellServer(f))
	}
	return strings.Join(all, "\n")
}
