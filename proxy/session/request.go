package session

import (
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// request is one message of the client's, or one of ours, on its way: looked at, then sent, then answered.
type request struct {
	kind    byte    // the message's kind, by the protocol's names
	purpose purpose // why we send it; 0: it is the client's
	reply   reply   // what we answer ourselves when its turn comes
	flags   flags
	lock    sql.Effect
	touches sql.Touch
	size    int             // of the client's frame, head included
	unit    *sql.Unit       // what the text is, where more than lock and touches is needed; else nil
	stmt    *statement      // the prepared statement that it makes, uses or closes
	prev    *statement      // what the name meant before, to be put back if the server skips the message
	names   []nameUse       // prepared statements that its text names by PREPARE, EXECUTE and DEALLOCATE
	done    int             // how many statements of its text have ended
	sent    bool            // what it does to names is known of the server as well
	shared  *shared         // a statement shared by sessions that it makes (Parse) or closes (Close) on the server
	shape   *shape          // of Describe: what its answer tells; nil: that is known
	added   *added          // what of ours is in its text
	instead *protocol.Error // the client is told this in place of the server's error: of any, or with names of one that lacks one
}

// purpose says why the session itself sends something to the server. The answers are ours: the client sees none.
type purpose uint8

const (
	theirs       purpose = iota
	forSettings          // puts the session's settings in place
	forBegin             // the BEGIN that was answered before there was a server
	forStatement         // makes a prepared statement that this server lacks
	forEnd               // ends a failed transaction ahead of a text that ends it and goes on
	forName              // makes the server know a name as the client does
	forShow              // likewise, to be shown and not used: it need not be
	forTimeouts          // switches the lock pool's timeouts on or off
	forColumns           // has what the client prepared by SQL described to us
	forNobody            // the client's own, in a batch that has failed for it
	forQuestion          // asks what the session holds, before its server could be given back
	forSyncs             // finds out which Sync messages a COPY that failed has swallowed
	forCleaning          // ends and resets what a client left behind
)

// reply is an answer that we give in the server's place, in its turn.
type reply uint8

const (
	replyNone reply = iota
	replyParsed
	replyClosed
	replyDescribed
)

type flags uint32

const (
	flagCommit       flags = 1 << iota // COMMIT, or a string that has one inside
	flagBegin                          // nothing but a BEGIN that can be answered without the server
	flagEnd                            // nothing but COMMIT or ROLLBACK
	flagTooLong                        // its text is beyond the bound
	flagMalformed                      // its body is not what its kind has: the server is to say so
	flagUnknown                        // it names a prepared statement that there is not
	flagTwice                          // it prepares a name that is taken
	flagDiscardAll                     // nothing but DISCARD ALL
	flagResets                         // gives settings their defaults back
	flagOnce                           // makes, runs or closes a statement of ours that is for once
	flagPlain                          // a Bind message without values
	flagAwaits                         // the server is to say which columns its statement has
	flagChanged                        // its statement's columns are others by now
	flagCompares                       // what it describes has run already, if its columns are what they were
	flagCopies                         // it may begin a COPY, which takes what comes behind it
	flagChecked                        // the values of a Bind message, as far as they are to be
	flagOpens                          // it may begin a transaction
	flagEnded                          // the failed transaction that its text ends first was ended ahead of it
	flagFailed                         // it ends a batch that has failed for the client
	flagMayFail                        // ours, and nothing is wrong when it fails
	flagOwnSequences                   // what nextval left for others was discarded ahead of it
)

func (r *request) has(f flags) bool { return r.flags&f != 0 }

// rollsBack tells whether the message, if it runs at all, ends a transaction that has failed, or what failed of it.
func (r *request) rollsBack() bool {
	return r.kind == protocol.Execute && r.unit != nil && (r.unit.Verb == sql.Rollback || r.unit.Verb == sql.Commit || r.unit.Verb == sql.RollbackTo)
}

// ends tells whether the server answers the message with ReadyForQuery.
func (r *request) ends() bool {
	return r.kind == protocol.Query || r.kind == protocol.Sync || r.kind == protocol.FunctionCall
}
