package console

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
	"github.com/lockproxy/lockproxy/spelling"
)

// command is one command of a text.
type command struct {
	text  string      // as it was written
	words []sql.Token // at least one
}

// commands takes a text apart at its semicolons. What is between two of them may be nothing.
func commands(text string) []command {
	var all []command
	var words []sql.Token
	end := func() {
		if len(words) > 0 {
			all = append(all, command{text[words[0].From:words[len(words)-1].To], words})
		}
		words = nil
	}
	for _, t := range sql.Tokens([]byte(text)) {
		if t.Kind == sql.Symbol && t.Text == ";" {
			end()
		} else {
			words = append(words, t)
		}
	}
	end()
	return all
}

// word gives the command's i-th word in upper case; "" where there is none.
func (c *command) word(i int) string {
	if i >= len(c.words) || c.words[i].Kind != sql.Word && c.words[i].Kind != sql.Quoted {
		return ""
	}
	return strings.ToUpper(c.words[i].Text)
}

// isCut tells whether the text ends within quotes.
func (c *command) isCut() bool {
	raw := c.text[c.words[len(c.words)-1].From-c.words[0].From:]
	return (raw[0] == '"' || raw[0] == '\'') && strings.Count(raw, raw[:1])%2 > 0 // a quote within quotes is doubled
}

// meaning is what a command is once it has been read: what it shows, or what it does.
type meaning struct {
	tag   string
	shows *table
	does  *action
	args  []string
	help  bool
}

// logged is the command as the log has it: of SET without the value, which may be a secret.
func (m *meaning) logged(c *command) string {
	if m.tag == "SET" {
		return "SET " + m.args[0]
	}
	return c.text
}

// words that drivers and pools of connections say, and that mean nothing here: nothing lasts for a transaction or a session.
var meaningless = map[string]string{
	"BEGIN": "BEGIN", "START": "START TRANSACTION", "COMMIT": "COMMIT", "END": "COMMIT", "ROLLBACK": "ROLLBACK", "ABORT": "ROLLBACK",
	"DISCARD": "DISCARD ALL", "RESET": "RESET", "DEALLOCATE": "DEALLOCATE ALL",
}

// faked are the settings of PostgreSQL that drivers ask for and set (src/admin.c, fake_param_list); "" is only set.
var faked = map[string]string{
	"client_encoding": "UTF-8", "default_transaction_isolation": "read committed", "standard_conforming_strings": "on",
	"datestyle": "ISO", "timezone": "GMT", "application_name": "", "extra_float_digits": "", "client_min_messages": "",
	"statement_timeout": "", "lock_timeout": "", "idle_in_transaction_session_timeout": "", "bytea_output": "", "intervalstyle": "",
}

// read finds out what a command means.
func read(c *command) (*meaning, *protocol.Error) {
	if c.isCut() {
		return nil, &protocol.Error{Severity: "ERROR", Code: protocol.SyntaxError, Message: "unterminated quoted string"}
	}
	verb := c.word(0)
	if tag, ok := meaningless[verb]; ok {
		return &meaning{tag: tag}, nil
	}
	switch verb {
	case "SHOW", "SELECT":
		return readShow(c)
	case "SET":
		return readSet(c)
	}
	a, ok := actions[verb]
	if !ok {
		return nil, invalid(c, c.meant())
	}
	args, ok := a.read(c)
	if !ok {
		return nil, invalid(c, a.usage)
	}
	return &meaning{tag: verb, does: a, args: args}, nil
}

func readShow(c *command) (*meaning, *protocol.Error) {
	if c.word(0) == "SELECT" && len(c.words) == 2 && c.words[1].Kind == sql.Number {
		return &meaning{tag: "SELECT 1", shows: one(c.words[1].Text)}, nil
	}
	if c.isVersion() {
		return &meaning{tag: "SELECT 1", shows: &table{[]column{{"version", text}}, showVersion.rows}}, nil
	}
	if strings.EqualFold(c.text, "SHOW transaction isolation level") {
		return &meaning{tag: "SHOW", shows: said("transaction_isolation", faked["default_transaction_isolation"])}, nil
	}
	name := strings.ToLower(c.word(1))
	switch value, fake := faked[name]; {
	case len(c.words) != 2:
	case name == "help":
		return &meaning{tag: "SHOW", help: true}, nil
	case fake && value != "":
		return &meaning{tag: "SHOW", shows: said(name, value)}, nil
	case shows[name] != nil:
		return &meaning{tag: "SHOW", shows: shows[name]}, nil
	}
	return nil, invalid(c, nearestShow(name))
}

// nearestShow gives the SHOW command of a mistyped name; "": none is like it.
func nearestShow(name string) string {
	if found := spelling.Nearest(name, append(slices.Sorted(maps.Keys(shows)), "help")); found != "" {
		return "SHOW " + strings.ToUpper(found)
	}
	return ""
}

// meant is what a command may be meant for whose first word is none of a command's: that word mistyped, or SHOW left out.
func (c *command) meant() string {
	verb, next := c.word(0), c.word(1)
	if name := strings.ToLower(verb); len(c.words) == 1 && (name == "help" || shows[name] != nil) {
		return "SHOW " + verb
	}
	verb = spelling.Nearest(verb, verbs())
	switch {
	case verb == "SHOW" && len(c.words) == 2:
		return cmp.Or(nearestShow(strings.ToLower(next)), verb)
	case verb == "KILL" && len(c.words) == 3 && spelling.Nearest(next, []string{"CLIENT"}) != "":
		return "KILL CLIENT id"
	case verb == "" && len(c.words) == 1:
		return nearestShow(strings.ToLower(c.word(0)))
	}
	return verb
}

// isVersion tells whether it is SELECT version(), as drivers ask what they are connected to, perhaps with its schema.
func (c *command) isVersion() bool {
	asked, _ := strings.CutPrefix(strings.ToLower(c.text), "select ")
	asked = strings.TrimPrefix(strings.TrimSpace(asked), "pg_catalog.")
	return asked == "version()"
}

// readSet reads SET [SESSION|LOCAL] name = value, also with TO. What drivers set by words of their own means nothing here.
func readSet(c *command) (*meaning, *protocol.Error) {
	words := c.words[1:]
	if w := c.word(1); w == "SESSION" || w == "LOCAL" {
		words = words[1:]
	}
	if len(words) > 1 && slices.Contains([]string{"CHARACTERISTICS", "TRANSACTION", "NAMES"}, strings.ToUpper(words[0].Text)) {
		return &meaning{tag: "SET"}, nil
	}
	is := slices.IndexFunc(words, func(t sql.Token) bool {
		return t.Kind == sql.Symbol && t.Text == "=" || t.Kind == sql.Word && strings.EqualFold(t.Text, "to")
	})
	if is < 1 || is == len(words)-1 {
		return nil, invalid(c, actions["SET"].usage)
	}
	name := ""
	for _, t := range words[:is] {
		if t.Kind == sql.Quoted && is > 1 { // a database or a user, as SHOW CONFIG has its name
			t.Text = strconv.Quote(t.Text)
		}
		name += t.Text
	}
	if _, fake := faked[strings.ToLower(name)]; fake {
		return &meaning{tag: "SET"}, nil
	}
	value := words[is+1:]
	text := c.text[value[0].From-c.words[0].From:]
	if len(value) == 1 {
		text = value[0].Text
	}
	return &meaning{tag: "SET", does: actions["SET"], args: []string{name, text}}, nil
}

// verbs are the commands' first words.
func verbs() []string {
	return append(slices.Sorted(maps.Keys(actions)), "SHOW")
}

// invalid is PgBouncer's error for whatever is no command. Meant is what may have been meant.
func invalid(c *command, meant string) *protocol.Error {
	shown := c.text
	if len(shown) > maxShown {
		shown = strings.ToValidUTF8(shown[:maxShown], "") + "..."
	}
	e := &protocol.Error{Severity: "ERROR", Code: protocol.ProtocolViolation, Message: "invalid command '" + shown + "', use SHOW HELP;"}
	if meant != "" {
		e.Hint = "Perhaps you meant " + meant + "."
	}
	return e
}

// maxShown is how much of a command an error quotes, in bytes.
const maxShown = 200
