package login

import (
	"errors"
	"fmt"
	"io"

	"github.com/lockproxy/lockproxy/protocol"
)

// maxAnswer is PG_MAX_SASL_MESSAGE_LENGTH of src/include/libpq/sasl.h: the most that a SASL message's length field says. An
// MD5 answer is shorter.
const maxAnswer = 1024

// readStartupPacket reads one packet before login, and no byte behind it: those belong to whatever comes next.
func (v *visit) readStartupPacket() ([]byte, error) {
	var head [protocol.StartupHeadSize]byte
	if err := v.read(head[:]); err != nil {
		return nil, err
	}
	if head == [...]byte{protocol.Terminate, 0, 0, 0} {
		return nil, errors.New("it said goodbye") // node-postgres, ended before it was connected; PostgreSQL says nothing either
	}
	size, err := protocol.StartupSize(head[:])
	if err != nil {
		return nil, err
	}
	packet := make([]byte, size)
	copy(packet, head[:])
	return packet, v.read(packet[len(head):])
}

// readAnswer reads one message in which the peer proves who it is, of the kind named, and returns its body. Its length is
// judged before anything is kept (CVE-2026-6664).
func (v *visit) readAnswer(what string, limit int) ([]byte, error) {
	var head [protocol.HeadSize]byte
	if err := v.read(head[:1]); err != nil {
		return nil, err
	}
	if head[0] != protocol.Password {
		return nil, protocol.Fatal(protocol.ProtocolViolation, fmt.Sprintf("expected %s response, got message type %d", what, head[0]))
	}
	if err := v.read(head[1:]); err != nil {
		return nil, err
	}
	_, size := protocol.Head(head[:])
	if size == 0 || size > limit+1 {
		return nil, protocol.Fatal(protocol.ProtocolViolation, "invalid message length")
	}
	body := make([]byte, size-protocol.HeadSize)
	return body, v.read(body)
}

// read fills p.
func (v *visit) read(p []byte) error {
	n, err := io.ReadFull(v.peer, p)
	v.heard = v.heard || n > 0
	return err
}

func (v *visit) write(p []byte) error {
	_, err := v.peer.Write(p)
	return err
}
