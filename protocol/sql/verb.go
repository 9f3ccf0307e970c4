package sql

// Verb is the command that a statement begins with.
type Verb uint8

// Select stands for VALUES, TABLE and a query in parentheses as well; With may be a query or change data.
// Begin stands for START TRANSACTION, Commit for END, Rollback for ABORT; PREPARE TRANSACTION is Other.
const (
	NoVerb Verb = iota
	Select
	With
	Insert
	Update
	Delete
	Merge
	Copy
	Call
	Do
	Begin
	Commit
	Rollback
	Savepoint
	Release
	RollbackTo
	Set
	Reset
	Show
	Prepare
	Execute
	Deallocate
	Discard
	Declare
	Fetch
	Move
	Close
	Explain
	Listen
	Unlisten
	Notify
	Load
	Create
	Alter
	Drop
	Vacuum
	Inert // any other known command, none of which evaluates an expression of its text
	Other
)

// verb gives the last token's.
func (l *lexer) verb() Verb {
	if l.tok.kind != word {
		if l.at(l.tok, '(') {
			return Select
		}
		return Other
	}
	var b [10]byte
	text := l.text[l.tok.start:l.tok.end]
	if len(text) > len(b) {
		return Other
	}
	for i, c := range text {
		b[i] = c | 0x20
	}
	return verbOf(string(b[:len(text)]))
}

func verbOf(keyword string) Verb {
	switch keyword {
	case "select", "values", "table":
		return Select
	case "with":
		return With
	case "insert":
		return Insert
	case "update":
		return Update
	case "delete":
		return Delete
	case "merge":
		return Merge
	case "copy":
		return Copy
	case "call":
		return Call
	case "do":
		return Do
	case "begin", "start":
		return Begin
	case "commit", "end":
		return Commit
	case "rollback", "abort":
		return Rollback
	case "savepoint":
		return Savepoint
	case "release":
		return Release
	case "set":
		return Set
	case "reset":
		return Reset
	case "show":
		return Show
	case "prepare":
		return Prepare
	case "execute":
		return Execute
	case "deallocate":
		return Deallocate
	case "discard":
		return Discard
	case "declare":
		return Declare
	case "fetch":
		return Fetch
	case "move":
		return Move
	case "close":
		return Close
	case "explain":
		return Explain
	case "listen":
		return Listen
	case "unlisten":
		return Unlisten
	case "notify":
		return Notify
	case "load":
		return Load
	case "create":
		return Create
	case "alter":
		return Alter
	case "drop":
		return Drop
	case "vacuum":
		return Vacuum
	case "analyze", "analyse", "checkpoint", "cluster", "comment", "grant", "import", "lock", "reassign", "refresh",
		"reindex", "revoke", "security", "truncate":
		return Inert
	}
	return Other
}
