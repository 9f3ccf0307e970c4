package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/lockproxy/lockproxy/protocol"
)

// Client is who has come to the console.
type Client struct {
	Pid   uint32
	Key   []byte
	Admin func() bool // whether it may control; it may look
}

// Session is one client's conversation with the console.
type Session struct {
	server Server
	peer   io.ReadWriter
	who    Client
	log    *slog.Logger

	mu     sync.Mutex
	cancel context.CancelFunc // of the command under way; nil: none is

	out      []byte // what is still to be written
	skipping bool   // the batch has failed: everything up to Sync is dropped
	extended
}

// NewSession gives the conversation of a client that has logged in, over the bytes that peer brings and takes.
func NewSession(server Server, peer io.ReadWriter, who Client, log *slog.Logger) *Session {
	return &Session{server: server, peer: peer, who: who, log: log}
}

// maxMessage bounds a client's messages, in bytes: commands are short.
const maxMessage = 16 << 10

// Run goes on until the client leaves or ctx ends. The client is told of the latter.
func (s *Session) Run(ctx context.Context) {
	s.out = appendWelcome(s.out, &s.who)
	for s.flush() == nil {
		kind, body, err := s.receive()
		if ctx.Err() != nil {
			err = shutDown()
		}
		if err == nil {
			err = s.take(ctx, kind, body)
		}
		if told := (*protocol.Error)(nil); errors.As(err, &told) {
			s.out = protocol.AppendError(s.out, told)
			_ = s.flush() // it may have left
		}
		if err != nil {
			return
		}
	}
}

// Cancel ends the command under way, if there is one.
func (s *Session) Cancel() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
}

func (s *Session) flush() error {
	_, err := s.peer.Write(s.out)
	s.out = s.out[:0]
	if cap(s.out) > 1<<20 {
		s.out = nil
	}
	return err
}

// kinds are those of the messages that a client may send after login. What is none of them has no length to go by.
const kinds = "QPBDECSHFXdcf"

// receive reads one message.
func (s *Session) receive() (kind byte, body []byte, err error) {
	var head [protocol.HeadSize]byte
	if _, err := io.ReadFull(s.peer, head[:]); err != nil {
		return 0, nil, err
	}
	kind, size := protocol.Head(head[:])
	switch {
	case size == 0:
		return 0, nil, protocol.Fatal(protocol.ProtocolViolation, "invalid message length")
	case strings.IndexByte(kinds, kind) < 0:
		return 0, nil, protocol.Fatal(protocol.ProtocolViolation, "invalid frontend message type "+strconv.Itoa(int(kind)))
	case size > maxMessage:
		return 0, nil, protocol.Fatal(protocol.ProtocolViolation, fmt.Sprintf("message of %d bytes is longer than the console reads", size))
	}
	body = make([]byte, size-protocol.HeadSize)
	_, err = io.ReadFull(s.peer, body)
	return kind, body, err
}

// maxAnswers is how many bytes of answers are kept before the client has taken those that came before: a string of commands may
// be answered by a thousand times its size.
const maxAnswers = 64 << 10

// room waits for the client to take what it was told, once that is much. An error ends the conversation.
func (s *Session) room(ctx context.Context) error {
	if len(s.out) > maxAnswers {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return shutDown()
	}
	return nil
}

func shutDown() error {
	return protocol.Fatal(protocol.AdminShutdown, "terminating connection due to administrator command")
}

// errLeft ends the conversation without a word.
var errLeft = errors.New("the client left")

// take answers one message. An error ends the conversation.
func (s *Session) take(ctx context.Context, kind byte, body []byte) error {
	switch kind {
	case protocol.Terminate:
		return errLeft
	case protocol.Sync:
		if len(body) > 0 {
			return malformed()
		}
		s.skipping = false
		s.out = protocol.AppendReady(s.out, 'I')
		s.portals = nil // the batch was a transaction
		return nil
	case protocol.Flush:
		if len(body) > 0 {
			return malformed()
		}
		return nil
	case protocol.CopyData, protocol.CopyDone, protocol.CopyFail: // left of a COPY that failed, to PostgreSQL
		return nil
	}
	if s.skipping {
		return nil
	}
	switch kind {
	case protocol.Query:
		return s.query(ctx, body)
	case protocol.FunctionCall:
		s.fail(&protocol.Error{Code: protocol.FeatureNotSupported, Message: "the console has no functions"})
		s.out = protocol.AppendReady(s.out, 'I')
		return nil
	}
	err := s.extend(ctx, kind, body)
	if told := (*protocol.Error)(nil); errors.As(err, &told) && !told.IsFatal() {
		s.fail(told)
		s.skipping = true
		return nil
	}
	return err
}

// query answers a simple query: its commands one after the other, up to the first that fails.
func (s *Session) query(ctx context.Context, body []byte) error {
	text, rest, ok := protocol.CString(body)
	if !ok || len(rest) > 0 {
		return malformed()
	}
	s.portals = nil // a query is a transaction
	all := commands(string(text))
	if len(all) == 0 {
		s.out = appendEmpty(s.out)
	}
	for i := range all {
		if err := s.room(ctx); err != nil {
			return err
		}
		if err := s.answer(ctx, &all[i]); err != nil {
			if err.IsFatal() {
				return err
			}
			s.fail(err)
			break
		}
	}
	s.out = protocol.AppendReady(s.out, 'I')
	return nil
}

// answer answers one command of a simple query.
func (s *Session) answer(ctx context.Context, c *command) *protocol.Error {
	m, err := read(c)
	if err != nil {
		return err
	}
	rows, err := s.run(ctx, m, c)
	if err != nil {
		return err
	}
	if m.shows != nil {
		s.out = appendDescription(s.out, m.shows.columns, nil)
		for _, row := range rows {
			s.out = appendRow(s.out, m.shows.columns, nil, row)
		}
	}
	s.out = protocol.AppendComplete(s.out, m.tag)
	return nil
}

// run has a command carried out, and gives what it shows.
func (s *Session) run(ctx context.Context, m *meaning, c *command) ([][]any, *protocol.Error) {
	switch {
	case m.help:
		s.out = protocol.AppendError(s.out, &protocol.Error{Severity: "NOTICE", Code: "00000", Message: "Console usage", Detail: usages()})
		return nil, nil
	case m.does != nil && !s.who.Admin():
		return nil, &protocol.Error{Severity: "ERROR", Code: protocol.InsufficientPrivilege, Message: "admin access needed",
			Hint: "The setting console.admin_users names who may control lockproxy."}
	case m.does == nil && m.shows == nil:
		return nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.underWay(cancel)
	defer s.underWay(nil)
	if m.shows != nil {
		rows, err := m.shows.rows(ctx, s.server)
		if err != nil && len(rows) > 0 { // what there is is worth showing
			s.warn(&protocol.Error{Code: protocol.CannotConnect, Message: err.Error()})
			return rows, nil
		}
		return rows, told(ctx, err)
	}
	controls, ok := s.server.(Controls)
	if !ok {
		return nil, &protocol.Error{Severity: "ERROR", Code: protocol.FeatureNotSupported, Message: m.tag + " is not supported"}
	}
	s.log.Info("a command of the console", "command", m.logged(c))
	return nil, told(ctx, m.does.run(ctx, &order{controls, m.args, s.warn}))
}

// warn tells of something that is no reason to fail.
func (s *Session) warn(e *protocol.Error) {
	e.Severity = "WARNING"
	s.out = protocol.AppendError(s.out, e)
}

func (s *Session) underWay(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = cancel
}

// told puts into words why a command failed; nil: it did not.
func told(ctx context.Context, err error) *protocol.Error {
	e := (*protocol.Error)(nil)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case ctx.Err() != nil:
		return &protocol.Error{Severity: "ERROR", Code: protocol.QueryCanceled, Message: "canceling statement due to user request"}
	}
	return &protocol.Error{Severity: "ERROR", Code: protocol.ObjectNotInPrerequisiteState, Message: err.Error()}
}

// fail tells an error, which may quote what the client said in whatever encoding.
func (s *Session) fail(e *protocol.Error) {
	told := *e
	told.Message = readable(e.Message)
	s.out = protocol.AppendError(s.out, &told)
}

func malformed() *protocol.Error {
	return protocol.Fatal(protocol.ProtocolViolation, "invalid message format")
}

// readPid reads the id of a client, as SHOW CLIENTS gives it.
func readPid(id string) (uint32, error) {
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return 0, &protocol.Error{Severity: "ERROR", Code: protocol.InvalidParameterValue, Message: "invalid client id supplied",
			Hint: "It is the column id of SHOW CLIENTS."}
	}
	return uint32(n), nil
}
