package session

import (
	"strings"

	"github.com/lockproxy/lockproxy/protocol/sql"
)

// Pins: what lives in a server session and cannot be moved keeps that server for the client.

// pinSession is the pin of pool mode "session", pinSetting that of a setting whose name the text does not tell, pinAlone that of one which
// could not be put in place on another server, nor be laid down on this one, pinLetters that of prepared statements that cannot be told of
// in the client's encoding; the others are what was touched.
const (
	pinSession sql.Touch = 1 << 63
	pinSetting sql.Touch = 1 << 62
	pinAlone   sql.Touch = 1 << 61
	pinLetters sql.Touch = 1 << 60
)

// pinning is what lives in the server session and cannot be moved.
const pinning = sql.TouchTemp | sql.TouchListen | sql.TouchHold | sql.TouchLoad |
	sql.TouchSeed | sql.TouchLinks | sql.TouchFunction | sql.TouchPid

// askable are the pins whose state the server can be asked for; mayUnpin is what may end one.
const (
	askable  = sql.TouchTemp | sql.TouchListen | sql.TouchHold
	mayUnpin = sql.TouchDrop | sql.TouchUnlisten | sql.TouchClose | sql.TouchDiscardOther | sql.TouchDynamic
)

// indelible are the pins whose state lasts as long as the server session does: not even DISCARD ALL resets it. Unfit are those with which it
// is of no use to anybody else: a library that is loaded does nothing by itself.
const (
	indelible = sql.TouchLoad | unfit
	unfit     = sql.TouchSeed | sql.TouchLinks | sql.TouchFunction
)

var pinWords = []struct {
	bit  sql.Touch
	name string
}{
	{pinSession, "session mode"}, {pinSetting, "setting named by a value"}, {pinAlone, "setting of one connection"},
	{pinLetters, "statement in another encoding"},
	{sql.TouchTemp, "temporary table"}, {sql.TouchListen, "listen"}, {sql.TouchHold, "cursor with hold"},
	{sql.TouchLoad, "loaded library"}, {sql.TouchSequence, "sequence value"}, {sql.TouchSeed, "random seed"},
	{sql.TouchLinks, "connections of the server's"}, {sql.TouchFunction, "function that leaves state"}, {sql.TouchPid, "process id stored"},
}

func pinNames(pins sql.Touch) (names []string) {
	for _, p := range pinWords {
		if pins.Has(p.bit) {
			names = append(names, p.name)
		}
	}
	return names
}

// pin keeps the server for this session from now on.
func (s *Session) pin(why sql.Touch) {
	if why &^= s.state.pins; why == 0 {
		return
	}
	s.state.pins |= why
	s.state.pinsUnsure = true // a rollback or an error may undo it
	s.do(Action{Op: Pinned, Text: strings.Join(pinNames(why), ", ")})
}

// askPins asks what of the session's state on its server is still there: objects in the temporary schema, channels that it
// listens to, cursors that outlive transactions.
const askPins = `SELECT 'p', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=)` +
	` 'pg_catalog.pg_namespace'::pg_catalog.regclass AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()),` +
	` pg_catalog.concat((SELECT pg_catalog.count(*) FROM pg_catalog.pg_listening_channels()), ' ',` +
	` (SELECT pg_catalog.count(*) FROM pg_catalog.pg_cursors WHERE is_holdable));`

// pins takes the answer to askPins: how many temporary objects there are, and how many channels and cursors.
func (h *heard) pins(objects, others string) {
	channels, cursors, _ := strings.Cut(others, " ")
	for pin, count := range map[sql.Touch]string{sql.TouchTemp: objects, sql.TouchListen: channels, sql.TouchHold: cursors} {
		if count == "0" {
			h.gone |= pin
		} else {
			h.here |= pin
		}
	}
}
