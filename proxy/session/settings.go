package session

import (
	"slices"
	"strings"

	"github.com/lockproxy/lockproxy/protocol/sql"
)

// Settings is an immutable set of session settings, what SET and set_config leave behind. A nil *Settings is the
// empty set. Names are in lower case, as PostgreSQL compares them (guc.c, guc_name_compare).
type Settings struct {
	list  []Setting // sorted by name
	order *[]string // in which a server reports them; nil: by name; a pointer, since few sets have one
	print string    // tells equal sets: the list, written out
	plans string    // the same of those settings that a prepared statement may depend on
	acts  bool      // some say who the session acts as
	idles bool      // some bound how long the session may idle
}

// Setting is one session setting with its value in the words of current_setting().
type Setting struct{ Name, Value string }

// NewSettings gives the set of the list; of a name that occurs twice the last counts.
func NewSettings(list []Setting) *Settings {
	if len(list) == 0 {
		return nil
	}
	sorted := make([]Setting, 0, len(list))
	for _, one := range list {
		one.Name = strings.ToLower(one.Name)
		if i, found := slices.BinarySearchFunc(sorted, one.Name, compareName); found {
			sorted[i] = one
		} else {
			sorted = slices.Insert(sorted, i, one)
		}
	}
	return build(sorted, nil)
}

// StartupSettings gives the set of a startup message. Who the session belongs to stands above what is said there of
// session_authorization (miscinit.c, InitializeSessionUserId: PGC_S_OVERRIDE), and a seed counts where somebody sets it in the session
// alone (variable.c, check_random_seed).
func StartupSettings(list []Setting) *Settings {
	return NewSettings(list).Without(authorization).Without("seed")
}

// NewReported gives the set of what a server reports, which remembers the order.
func NewReported(list []Setting) *Settings {
	s := NewSettings(list)
	if s != nil {
		order := make([]string, len(list))
		for i, one := range list {
			order[i] = strings.ToLower(one.Name)
		}
		s.order = &order
	}
	return s
}

// Get gives the value of a setting, and whether it is in the set.
func (s *Settings) Get(name string) (string, bool) {
	if s == nil {
		return "", false
	}
	i, found := slices.BinarySearchFunc(s.list, name, compareName)
	if !found {
		return "", false
	}
	return s.list[i].Value, true
}

// With gives the set with one setting added or changed.
func (s *Settings) With(name, value string) *Settings {
	name = strings.ToLower(name)
	var list []Setting
	var order *[]string
	if s != nil {
		list, order = s.list, s.order
	}
	i, found := slices.BinarySearchFunc(list, name, compareName)
	if found && list[i].Value == value {
		return s
	}
	list = slices.Clone(list)
	if found {
		list[i].Value = value
	} else {
		list = slices.Insert(list, i, Setting{name, value})
	}
	return build(list, order)
}

// Without gives the set without one setting.
func (s *Settings) Without(name string) *Settings {
	if s == nil {
		return nil
	}
	i, found := slices.BinarySearchFunc(s.list, strings.ToLower(name), compareName)
	if !found {
		return s
	}
	if len(s.list) == 1 {
		return nil
	}
	return build(slices.Delete(slices.Clone(s.list), i, i+1), s.order)
}

// only gives the set without all but some.
func (s *Settings) only(names []string) *Settings {
	var left *Settings
	for _, name := range names {
		if value, has := s.Get(name); has {
			left = left.With(name, value)
		}
	}
	return left
}

// All gives the settings, sorted by name. Not to be changed.
func (s *Settings) All() []Setting {
	if s == nil {
		return nil
	}
	return s.list
}

// reported gives the settings as a server reports them when a session begins: in its order, and what it did not report then
// behind that.
func (s *Settings) reported() (list []Setting) {
	if s == nil || s.order == nil {
		return s.All()
	}
	list = make([]Setting, 0, len(s.list))
	for _, name := range *s.order {
		if value, is := s.Get(name); is {
			list = append(list, Setting{name, value})
		}
	}
	for _, one := range s.list {
		if !slices.Contains(*s.order, one.Name) {
			list = append(list, one)
		}
	}
	return list
}

// Equal tells whether both sets hold the same settings.
func (s *Settings) Equal(t *Settings) bool {
	return s == t || s.Fingerprint() == t.Fingerprint()
}

// Fingerprint gives a text that is the same for equal sets, and no others.
func (s *Settings) Fingerprint() string {
	if s == nil {
		return ""
	}
	return s.print
}

func build(list []Setting, order *[]string) *Settings {
	built := &Settings{list: list, order: order, print: spelt(list, nil)}
	built.plans = built.print
	for _, one := range list {
		if neverPlanned[one.Name] {
			built.plans = spelt(list, neverPlanned)
			break
		}
	}
	built.acts = slices.ContainsFunc(list, func(one Setting) bool { return slices.Contains(identity, one.Name) })
	built.idles = slices.ContainsFunc(list, func(one Setting) bool {
		return one.Name == idleTimeout || one.Name == idleSession || one.Name == wholeTransaction
	})
	return built
}

// spelt writes settings out, apart from some.
func spelt(list []Setting, without map[string]bool) string {
	size := 0
	for _, one := range list {
		size += len(one.Name) + len(one.Value) + 2
	}
	text := make([]byte, 0, size)
	for _, one := range list {
		if without[one.Name] {
			continue
		}
		text = append(append(text, one.Name...), 0)
		text = append(append(text, one.Value...), 0)
	}
	return string(text)
}

// neverPlanned are the settings that clients often set and that change no statement's meaning.
var neverPlanned = map[string]bool{
	"application_name": true, "client_min_messages": true, statementTimeout: true, lockTimeout: true, idleTimeout: true,
}

// planned gives what a prepared statement may depend on, as a text.
func (s *Settings) planned() string {
	if s == nil {
		return ""
	}
	return s.plans
}

// resolvesAs tells whether a text's names mean the same under both sets, as far as settings tell.
func (s *Settings) resolvesAs(other *Settings) bool {
	return s.agrees(other, "search_path") && s.agrees(other, roleSetting) && s.agrees(other, authorization)
}

func compareName(s Setting, name string) int { return strings.Compare(s.Name, name) }

// change writes the statements that turn the settings in place into those wanted. It writes nothing where they are
// equal. Every value goes through set_config, whose arguments are data: nothing of a value is read as SQL (PITFALLS,
// D#698). Who the session acts as comes last, and is laid down first: another role may not be allowed the rest. A change
// of session_authorization resets role (guc.c, set_config_option). It gives what each statement is about as well.
func change(dst []byte, names []string, inPlace, wanted *Settings) ([]byte, []string) {
	for _, name := range identity {
		if _, is := inPlace.Get(name); is {
			dst, names = appendReset(dst, name, false), append(names, name)
			inPlace = inPlace.Without(name)
		}
	}
	for _, old := range inPlace.All() {
		if _, still := wanted.Get(old.Name); !still {
			dst, names = appendReset(dst, old.Name, false), append(names, old.Name)
		}
	}
	recoded := !wanted.agrees(inPlace, encodingSetting)
	for _, one := range wanted.All() {
		now, ok := inPlace.Get(one.Name)
		same := ok && now == one.Value && !(recoded && hasLetters(now)) // else the same bytes are other letters
		if !same && !slices.Contains(identity, one.Name) {
			if one.Name == "datestyle" && ok {
				dst, names = appendReset(dst, one.Name, false), append(names, one.Name) // a value may be half of it, and leaves the other half as it was
			}
			dst, names = appendSet(dst, one.Name, one.Value, false), append(names, one.Name)
		}
	}
	for _, name := range slices.Backward(identity) {
		if value, is := wanted.Get(name); is {
			dst, names = appendSet(dst, name, value, false), append(names, name)
		}
	}
	return dst, names
}

const (
	roleSetting   = "role"
	authorization = "session_authorization"

	noRole = "none" // the value of roleSetting where nobody has taken one
)

// identity are the settings that say who the session acts as, in the order in which they are laid down. RESET ALL leaves
// them (guc_tables.c: GUC_NO_RESET_ALL), and no view shows them (GUC_NO_SHOW_ALL).
var identity = []string{roleSetting, authorization}

// acting gives the part of the set that says who the session acts as.
func (s *Settings) acting() (part *Settings) {
	for _, name := range identity {
		if value, is := s.Get(name); is {
			part = part.With(name, value)
		}
	}
	return part
}

// custom tells whether a setting has a class of its own before a dot: an extension defines it, or nobody does.
func custom(name string) bool { return strings.Contains(name, ".") }

func (s *Settings) hasCustom() bool {
	return slices.ContainsFunc(s.All(), func(one Setting) bool { return custom(one.Name) })
}

// Over gives the set with all that is in another one as it is there.
func (s *Settings) Over(other *Settings) *Settings {
	for _, one := range other.All() {
		s = s.With(one.Name, one.Value)
	}
	return s
}

// appendReset gives a setting its default back. RESET has no local form; SET LOCAL ... TO DEFAULT is one.
func appendReset(dst []byte, name string, local bool) []byte {
	return append(appendSetName(dst, name, local), " TO DEFAULT;"...)
}

// appendSetName writes the beginning of a SET.
func appendSetName(dst []byte, name string, local bool) []byte {
	if local {
		dst = append(dst, "SET LOCAL "...)
	} else {
		dst = append(dst, "SET "...)
	}
	for i, part := range strings.Split(name, ".") {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = append(dst, '"')
		dst = append(dst, strings.ReplaceAll(part, `"`, `""`)...)
		dst = append(dst, '"')
	}
	return dst
}

func appendSet(dst []byte, name, value string, local bool) []byte {
	dst = append(dst, "SELECT pg_catalog.set_config("...)
	dst = sql.AppendLiteral(dst, name)
	dst = append(dst, ',')
	dst = appendValue(dst, value)
	if local {
		dst = append(dst, ",true)"...)
	} else {
		dst = append(dst, ",false)"...)
	}
	if strings.HasPrefix(value, escaped) {
		dst = append(dst, " IS NULL"...) // it gives the value
	}
	return append(dst, ';')
}
