package backend

import (
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgservicefile"
)

// connString is a connection string that was taken to pieces, so that what it says can be read and replaced: pgconn tells
// nobody the values of the keywords that it obeys itself.
type connString struct {
	url     string // what stands before the parameters; empty: there are pairs alone
	pairs   []pair
	service map[string]string // what the service says that the string or the environment names
}

// pair is a keyword and its value. Of several with one keyword the last one counts.
type pair struct{ keyword, value string }

const blanks = " \t\n\r\v\f"

// readConnString is false where the string is malformed: pgconn says how.
func readConnString(text string) (s *connString, ok bool) {
	scheme, rest, found := strings.Cut(text, "://")
	if s = (&connString{}); found && (scheme == "postgres" || scheme == "postgresql") {
		ok = s.readURL(scheme+"://", rest)
	} else {
		ok = s.readPairs(text)
	}
	if name := s.lookUp("service"); ok && name != "" {
		s.service = readService(s.lookUp("servicefile"), name)
	}
	return s, ok
}

func (s *connString) readURL(scheme, rest string) bool {
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		scheme, rest = scheme+rest[:i+1], rest[i+1:] // a password may have a question mark
	}
	place, query, _ := strings.Cut(rest, "?")
	s.url = scheme + place
	for query != "" {
		var one string
		one, query, _ = strings.Cut(query, "&")
		keyword, value, found := strings.Cut(one, "=")
		keyword, ok1 := decoded(keyword)
		value, ok2 := decoded(value)
		if !found || !ok1 || !ok2 {
			return false
		}
		if keyword == "ssl" && value == "true" { // JDBC's
			keyword, value = "sslmode", "require"
		}
		s.pairs = append(s.pairs, pair{keyword, value})
	}
	return true
}

// namesHost tells whether a host is named, anywhere.
func (s *connString) namesHost() bool {
	_, place, _ := strings.Cut(s.url, "://")
	if i := strings.IndexAny(place, "@/"); i >= 0 && place[i] == '@' {
		place = place[i+1:]
	}
	return place != "" && place[0] != '/' && place[0] != ':' || s.lookUp("host") != ""
}

// decoded reads a part of a URL's parameters. Blanks around it do not count.
func decoded(part string) (string, bool) {
	text, err := url.PathUnescape(strings.Trim(part, " "))
	return text, err == nil && !strings.ContainsAny(strings.Trim(part, " "), " =")
}

func (s *connString) readPairs(text string) bool {
	for rest := strings.TrimLeft(text, blanks); rest != ""; rest = strings.TrimLeft(rest, blanks) {
		keyword, after, found := strings.Cut(rest, "=")
		keyword = strings.TrimRight(keyword, blanks)
		value, behind, whole := cutValue(strings.TrimLeft(after, blanks))
		if !found || keyword == "" || strings.ContainsAny(keyword, blanks) || !whole {
			return false
		}
		s.pairs, rest = append(s.pairs, pair{keyword, value}), behind
	}
	return true
}

// cutValue takes a value off the text: up to a blank, or in quotes. A backslash takes the next character as it is.
func cutValue(text string) (value, rest string, whole bool) {
	text, quoted := strings.CutPrefix(text, "'")
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			if i++; i < len(text) {
				b.WriteByte(text[i])
			}
		case quoted && c == '\'':
			return b.String(), text[i+1:], true
		case !quoted && strings.IndexByte(blanks, c) >= 0:
			return b.String(), text[i:], true
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", !quoted
}

// with gives the text of the string with other values of some keywords.
func (s *connString) with(others ...pair) string {
	var all []string
	for _, p := range slices.Concat(s.pairs, others) {
		if s.url != "" {
			all = append(all, escaped(p.keyword)+"="+escaped(p.value))
		} else {
			all = append(all, p.keyword+"='"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(p.value)+"'")
		}
	}
	if s.url != "" {
		return s.url + "?" + strings.Join(all, "&")
	}
	return strings.Join(all, " ")
}

func escaped(part string) string { return strings.ReplaceAll(url.QueryEscape(part), "+", "%20") }

// find looks for a keyword's value where libpq does: in the string, in the service, in the environment.
func (s *connString) find(keyword string) (value string, given bool) {
	for _, p := range slices.Backward(s.pairs) {
		if p.keyword == keyword {
			return p.value, true
		}
	}
	if value, given = s.service[keyword]; given {
		return value, true
	}
	value = os.Getenv("PG" + strings.ToUpper(keyword))
	return value, value != ""
}

// lookUp is find for keywords of which an empty value says nothing.
func (s *connString) lookUp(keyword string) string {
	value, _ := s.find(keyword)
	return value
}

// readService reads what a service says. Where there is none, pgconn says so.
func readService(file, name string) map[string]string {
	if file == "" {
		file = homeFile(".pg_service.conf")
	}
	services, err := pgservicefile.ReadServicefile(file)
	if err != nil {
		return nil
	}
	service, err := services.GetService(name)
	if err != nil {
		return nil
	}
	return service.Settings
}
