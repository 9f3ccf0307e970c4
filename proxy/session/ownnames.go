package session

import (
	"maps"
	"slices"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// ownNames are the clients' own names that one server knows, the oldest first.
type ownNames struct {
	list     []ownName
	encoding string // of those with other letters than ASCII's; "": there are none
}

type ownName struct {
	name string
	key  string     // what it means there; "" is not known, or nothing
	of   *statement // whose making is under way
	parsing
}

// means tells whether the name stands for a statement with that key.
func (n *ownName) means(st *statement, key string) bool { return n.of == st || n.key == key }

// maxOwnNames bounds how many a server keeps beyond those that are in use.
const maxOwnNames = 100

func (o *ownNames) find(name string) *ownName {
	for i := range o.list {
		if o.list[i].name == name {
			return &o.list[i]
		}
	}
	return nil
}

func (o *ownNames) add(n ownName) {
	o.drop(n.name)
	o.list = append(o.list, n)
}

// addOwn notes a name that the server comes to know. One with letters is another to a client with another encoding.
func (s *Session) addOwn(n ownName) {
	if hasLetters(n.name) {
		switch encoding := s.encoding(); s.srv.own.encoding {
		case "", encoding:
			s.srv.own.encoding = encoding
		default:
			s.srv.own.encoding = severalEncodings
		}
	}
	s.srv.own.add(n)
}

// severalEncodings is no encoding's name.
const severalEncodings = "several"

func (s *Session) encoding() string {
	encoding, _ := s.state.told.Get(encodingSetting)
	return encoding
}

// dropForeign has the server forget the names with letters that others gave in another encoding: they are not to be said in this one,
// nor to be told apart from the client's. With them goes all that it has prepared.
func (s *Session) dropForeign() {
	if in := s.srv.own.encoding; in == "" || in == s.encoding() {
		return
	}
	s.sendQuery(forSettings, "DEALLOCATE ALL")
	s.srv.prepared.clear()
	s.srv.own.clear()
}

func (o *ownNames) drop(name string) {
	o.list = slices.DeleteFunc(o.list, func(n ownName) bool { return n.name == name })
}

// full gives the name that makes room for another, or "".
func (o *ownNames) full() string {
	if len(o.list) < maxOwnNames {
		return ""
	}
	return o.list[0].name
}

// doubt notes that it is not known what a name means, or any of them.
func (o *ownNames) doubt(name string, all bool) {
	if n := o.find(name); n == nil && !all {
		o.add(ownName{name: name})
	}
	for i := range o.list {
		if all || o.list[i].name == name {
			o.list[i].key, o.list[i].of = "", nil
		}
	}
}

// settle notes that a statement is there.
func (o *ownNames) settle(st *statement) {
	for i := range o.list {
		if o.list[i].of == st {
			o.list[i].of = nil
		}
	}
}

func (o *ownNames) clear() { *o = ownNames{} }

func (o *ownNames) names() (list []string) {
	for _, n := range o.list {
		list = append(list, n.name)
	}
	return list
}

// namesGone forgets the names that the server knew and does not know any more, after a statement that may have forgotten some. It comes
// before it is heard which settings that statement has changed: what the server knew was made under those before.
func (s *Session) namesGone(list []Setting) {
	s.lookAgain()
	for _, name := range s.srv.own.names() {
		if slices.ContainsFunc(list, func(one Setting) bool { return one.Name == name }) {
			continue
		}
		if st := s.statements[name]; st != nil && s.hasKey(st, s.srv.own.find(name).key) {
			delete(s.statements, name)
		}
		s.srv.own.drop(name)
	}
}

// namesHeard takes over the names that the server has come to know.
func (s *Session) namesHeard(list []Setting) {
	for _, one := range list {
		if s.srv.own.find(one.Name) == nil {
			s.nameHeard(one.Name, []byte(one.Value))
		}
	}
}

// sharedHeard forgets what a server had prepared under names of ours, where a function deallocated it. It can have done so only
// with all of it, and so with all that the client had prepared; what is there now was prepared later.
func (s *Session) sharedHeard(names string, there []Setting) {
	if names == "" {
		return
	}
	left := make(map[string]bool)
	for name := range strings.FieldsSeq(names) {
		left[name] = true
	}
	if !s.srv.prepared.lacking(left) {
		return
	}
	maps.DeleteFunc(s.statements, func(name string, st *statement) bool {
		sh := s.srv.prepared.byKey[s.sharedKey(st)]
		return name != "" && (sh == nil || !left[sh.name]) &&
			!slices.ContainsFunc(there, func(one Setting) bool { return one.Name == name })
	})
	s.srv.prepared.clear()
}

// nameHeard takes over a statement that was prepared where no text showed it.
func (s *Session) nameHeard(name string, text []byte) {
	own := ownName{name: name}
	unit := s.readText(text)
	for _, op := range unit.Prepared {
		if op.Op == sql.OpPrepare && op.Name == name {
			st := preparedBySQL(&op, text, unit.Statements)
			st.there, st.unseen = true, true
			s.setName(name, st)
			own.key = s.sharedKey(st)
		}
	}
	s.addOwn(own)
}

// namesSent notes what a message on its way will do to the server's names.
func (s *Session) namesSent(r *request) {
	r.sent = true
	for i := range r.names {
		switch use := &r.names[i]; {
		case use.op == sql.OpDeallocateAll:
			s.srv.own.doubt("", true)
		case use.before == use.after:
		case use.after == nil:
			s.srv.own.drop(use.name)
		default:
			if r.kind == protocol.Execute {
				use.after.batch = s.batch
			}
			if use.op == sql.OpPrepare && use.before == nil {
				s.setApart(use.after)
			}
			key := s.sharedKey(use.after)
			s.addOwn(ownName{name: use.name, key: key, of: use.after, parsing: s.parsingNow(use.after)})
		}
	}
}

// describesWell tells whether what a text prepares may be described to us behind it. Should that fail, for the text has
// failed or what it prepared has gone again, no transaction of the client's may be open that would fail with it.
func (s *Session) describesWell(r *request) bool {
	switch u := r.unit; {
	case u == nil || u.Prepared == nil:
		return false
	case u.Statements == 1:
		return u.Verb == sql.Prepare // if that has failed, so has the transaction
	default:
		return s.tx == 'I' && !s.opens && !u.TransactionInside
	}
}

// describeLate has what a text has prepared described, now that it is known that it left no transaction.
func (s *Session) describeLate(r *request) {
	if r.kind != protocol.Query || !r.unit.TransactionInside || s.srv.flight.len() > 0 {
		return
	}
	stays := func(use nameUse) bool {
		return use.op == sql.OpPrepare && use.before == nil && s.statements[use.name] == use.after && !use.after.shape.known()
	}
	if slices.ContainsFunc(r.names, stays) {
		s.describeNames(r.names, forColumns)
		s.syncOurs(forColumns)
	}
}

// describeNames has the server describe to us what a message of the client's that is on its way prepares by SQL.
func (s *Session) describeNames(uses []nameUse, why purpose) {
	for i := range uses {
		again := func(later nameUse) bool { return later.name == uses[i].name || later.op == sql.OpDeallocateAll }
		if use := &uses[i]; use.op == sql.OpPrepare && use.before == nil && !slices.ContainsFunc(uses[i+1:], again) {
			s.describeOurs(use.name, use.after.shape, why)
		}
	}
}

// namesRan notes that the next statement of a message's text has come to its end.
func (s *Session) namesRan(r *request) {
	for i := range r.names {
		use := &r.names[i]
		if use.index != r.done && r.kind == protocol.Query {
			continue
		}
		switch {
		case use.op == sql.OpDeallocateAll:
			s.srv.own.clear()
		case use.op == sql.OpPrepare && use.after != nil:
			use.after.there = true
			s.srv.own.settle(use.after)
		}
	}
	r.done++
	r.flags &^= flagEnded
}
