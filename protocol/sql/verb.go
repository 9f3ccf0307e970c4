package sql

// Verb is the command that a statement begins with.
type Verb uint8

// Select stands for VALUES, TABLE and a query in parentheses as well; With may be a query or change data.
// Begin stands for START TRANSACTION, Commit for END, Rollback for ABORT; those of two-phase commit are Other.
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
	for _, c := range commandsByLetter[l.text[l.tok.start]&0x1f] {
		if l.on(c.keyword) {
			return c.verb
		}
	}
	return Other
}

type command struct {
	keyword string
	verb    Verb
}

// commandsByLetter holds commands by the last five bits of their first letter, which are the same in both cases.
var commandsByLetter = byLetter(commands)

func byLetter(list []command) (table [32][]command) {
	for _, c := range list {
		letter := c.keyword[0] & 0x1f
		table[letter] = append(table[letter], c)
	}
	return table
}

// commands are what a statement may begin with, frequent ones first.
var commands = []command{
	{"select", Select},
	{"values", Select},
	{"table", Select},
	{"with", With},
	{"insert", Insert},
	{"update", Update},
	{"delete", Delete},
	{"merge", Merge},
	{"copy", Copy},
	{"call", Call},
	{"do", Do},
	{"begin", Begin},
	{"start", Begin},
	{"commit", Commit},
	{"end", Commit},
	{"rollback", Rollback},
	{"abort", Rollback},
	{"savepoint", Savepoint},
	{"release", Release},
	{"set", Set},
	{"reset", Reset},
	{"show", Show},
	{"prepare", Prepare},
	{"execute", Execute},
	{"deallocate", Deallocate},
	{"discard", Discard},
	{"declare", Declare},
	{"fetch", Fetch},
	{"move", Move},
	{"close", Close},
	{"explain", Explain},
	{"listen", Listen},
	{"unlisten", Unlisten},
	{"notify", Notify},
	{"load", Load},
	{"create", Create},
	{"alter", Alter},
	{"drop", Drop},
	{"vacuum", Vacuum},
	{"analyze", Inert},
	{"analyse", Inert},
	{"checkpoint", Inert},
	{"cluster", Inert},
	{"comment", Inert},
	{"grant", Inert},
	{"import", Inert},
	{"lock", Inert},
	{"reassign", Inert},
	{"refresh", Inert},
	{"reindex", Inert},
	{"revoke", Inert},
	{"security", Inert},
	{"truncate", Inert},
}
