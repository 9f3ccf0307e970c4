package differential

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
)

// shape is how a kind of message is spelt: its name and the fields of its body. Of the fields, s is a string that ends
// with a zero byte, c one byte, 2 and 4 are integers of so many bytes, f and o are lists of those, v is a list of values,
// x are four bytes that differ between servers, and r is the rest.
type shape struct{ name, fields string }

var clientShapes = map[byte]shape{
	'Q': {"Query", "s"}, 'P': {"Parse", "sso"}, 'B': {"Bind", "ssfvf"}, 'D': {"Describe", "cs"}, 'C': {"Close", "cs"}, 'E': {"Execute", "s4"},
	'S': {"Sync", ""}, 'H': {"Flush", ""}, 'F': {"FunctionCall", "4fv2"}, 'd': {"CopyData", "r"}, 'c': {"CopyDone", ""}, 'f': {"CopyFail", "s"},
	'X': {"Terminate", ""},
}

var serverShapes = map[byte]shape{
	'R': {"Authentication", "4"}, 'K': {"BackendKeyData", "xx"}, 'S': {"ParameterStatus", "ss"}, 'Z': {"ReadyForQuery", "c"}, 'D': {"DataRow", "v"},
	'C': {"CommandComplete", "s"}, 'I': {"EmptyQueryResponse", ""}, 's': {"PortalSuspended", ""}, '1': {"ParseComplete", ""},
	'2': {"BindComplete", ""}, '3': {"CloseComplete", ""}, 'n': {"NoData", ""}, 't': {"ParameterDescription", "o"},
	'A': {"NotificationResponse", "xss"}, 'd': {"CopyData", "r"}, 'c': {"CopyDone", ""}, 'G': {"CopyInResponse", "r"},
	'H': {"CopyOutResponse", "r"}, 'V': {"FunctionCallResponse", "r"}, 'v': {"NegotiateProtocolVersion", "r"},
}

// spellClient writes a client's message so that people can read it and readClient can read it back.
func spellClient(f []byte) string { return spell(f, clientShapes) }

// spellServer writes a server's message, without what differs between two servers, or two versions of one.
func spellServer(f []byte) string {
	body := f[protocol.HeadSize:]
	switch f[0] {
	case protocol.RowDescription:
		return spellColumns(body)
	case protocol.ErrorResponse:
		return "ErrorResponse" + spellError(body)
	case protocol.NoticeResponse:
		return "NoticeResponse" + spellError(body)
	}
	return spell(f, serverShapes)
}

func spell(f []byte, shapes map[byte]shape) string {
	s, known := shapes[f[0]]
	rest := f[protocol.HeadSize:]
	words := []string{s.name}
	for i := 0; known && i < len(s.fields); i++ {
		var word string
		if word, rest, known = field(s.fields[i], rest); word != "" {
			words = append(words, word)
		}
	}
	if !known || len(rest) > 0 {
		return fmt.Sprintf("Raw %q %q", f[0], f[protocol.HeadSize:])
	}
	return strings.Join(words, " ")
}

// field spells one field and gives what follows it.
func field(kind byte, p []byte) (word string, rest []byte, ok bool) {
	switch kind {
	case 's':
		text, rest, ok := protocol.CString(p)
		return strconv.Quote(string(text)), rest, ok
	case 'r':
		return strconv.Quote(string(p)), nil, true
	case 'c':
		if len(p) == 0 {
			return "", nil, false
		}
		return string(p[:1]), p[1:], p[0] > ' ' && p[0] < 0x7f
	case 'x':
		return "", p[min(4, len(p)):], len(p) >= 4
	case '2', '4':
		return number(p, int(kind-'0'))
	}
	return list(kind, p)
}

func number(p []byte, size int) (word string, rest []byte, ok bool) {
	switch {
	case len(p) < size:
		return "", nil, false
	case size == 2:
		return strconv.Itoa(int(int16(binary.BigEndian.Uint16(p)))), p[2:], true
	}
	return strconv.Itoa(int(int32(binary.BigEndian.Uint32(p)))), p[4:], true
}

func list(kind byte, p []byte) (word string, rest []byte, ok bool) {
	if len(p) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(p))
	p, ok = p[2:], true
	var words []string
	for i := 0; i < n && ok; i++ {
		switch kind {
		case 'f':
			word, p, ok = number(p, 2)
		case 'o':
			word, p, ok = number(p, 4)
		default:
			word, p, ok = value(p)
		}
		words = append(words, word)
	}
	return "[" + strings.Join(words, " ") + "]", p, ok
}

func value(p []byte) (word string, rest []byte, ok bool) {
	if len(p) < 4 {
		return "", nil, false
	}
	n := int(int32(binary.BigEndian.Uint32(p)))
	switch p = p[4:]; {
	case n == -1:
		return "NULL", p, true
	case n < 0 || n > len(p):
		return "", nil, false
	}
	return strconv.Quote(string(p[:n])), p[n:], true
}

// spellColumns writes a RowDescription: each column with the oid of its type, and a b where it is binary.
func spellColumns(body []byte) string {
	words := []string{"RowDescription"}
	for p := body[2:]; len(p) > 0; {
		name, rest, ok := protocol.CString(p)
		if !ok || len(rest) < 18 {
			return fmt.Sprintf("RowDescription %q", body)
		}
		word := fmt.Sprintf("%q/%d", name, binary.BigEndian.Uint32(rest[6:]))
		if rest[17] == 1 {
			word += "b"
		}
		words, p = append(words, word), rest[18:]
	}
	return strings.Join(words, " ")
}

// spellError writes the fields of an error, apart from where in its source it was raised.
func spellError(body []byte) string {
	var b strings.Builder
	for _, f := range strings.Split(string(body), "\x00") {
		if f != "" && !strings.Contains("VFLR", f[:1]) {
			fmt.Fprintf(&b, " %c=%q", f[0], f[1:])
		}
	}
	return b.String()
}

// readClient reads a client's message as spellClient wrote it.
func readClient(text string) (message, error) {
	name, rest, _ := strings.Cut(text, " ")
	r := &words{rest: rest}
	if name == "Raw" {
		kind, body := r.quoted('\''), r.quoted('"')
		return frame(kind[0], body), r.err
	}
	for kind, s := range clientShapes {
		if s.name != name {
			continue
		}
		var body strings.Builder
		for i := range len(s.fields) {
			body.WriteString(r.field(s.fields[i]))
		}
		if r.err == nil && strings.TrimSpace(r.rest) != "" {
			r.err = errors.New("too many words")
		}
		return frame(kind, body.String()), r.err
	}
	return nil, errors.New("no such message")
}

// words reads the words of a line.
type words struct {
	rest string
	err  error
}

func (w *words) next() byte {
	w.rest = strings.TrimLeft(w.rest, " ")
	if w.rest == "" {
		w.err = errors.New("a word is missing")
		return 0
	}
	return w.rest[0]
}

func (w *words) quoted(quote byte) string {
	if w.next() != quote {
		w.err = errors.New("a quoted text is missing")
		return " "
	}
	prefix, err := strconv.QuotedPrefix(w.rest)
	if err != nil {
		w.err = err
		return " "
	}
	w.rest = w.rest[len(prefix):]
	text, _ := strconv.Unquote(prefix)
	return text
}

// word is one without quotes, such as a number.
func (w *words) word() string {
	w.next()
	end := strings.IndexAny(w.rest, " ]")
	if end < 0 {
		end = len(w.rest)
	}
	word := w.rest[:end]
	w.rest = w.rest[end:]
	return word
}

func (w *words) number() int {
	n, err := strconv.Atoi(w.word())
	if err != nil {
		w.err = err
	}
	return n
}

func (w *words) field(kind byte) string {
	switch kind {
	case 's':
		return w.quoted('"') + "\x00"
	case 'r':
		return w.quoted('"')
	case 'c':
		return w.word()
	case '2':
		return int16s(w.number())
	case '4':
		return int32s(w.number())
	}
	return w.list(kind)
}

func (w *words) list(kind byte) string {
	if w.next() != '[' {
		w.err = errors.New("a list is missing")
		return ""
	}
	w.rest = w.rest[1:]
	var all []string
	for w.err == nil && w.next() != ']' {
		all = append(all, w.element(kind))
	}
	w.rest = strings.TrimPrefix(w.rest, "]")
	return int16s(len(all)) + strings.Join(all, "")
}

func (w *words) element(kind byte) string {
	switch {
	case kind == 'f':
		return int16s(w.number())
	case kind == 'o':
		return int32s(w.number())
	case w.next() == '"':
		v := w.quoted('"')
		return int32s(len(v)) + v
	}
	if w.word() != "NULL" {
		w.err = errors.New("a value is missing")
	}
	return int32s(-1)
}
