package differential

import (
	"encoding/binary"
	"strings"
)

// message is one frame of a client's.
type message []byte

// frame writes one.
func frame(kind byte, parts ...string) message {
	body := strings.Join(parts, "")
	b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))
	return append(b, body...)
}

func int16s(n ...int) string {
	var b []byte
	for _, one := range n {
		b = binary.BigEndian.AppendUint16(b, uint16(one))
	}
	return string(b)
}

func int32s(n ...int) string {
	var b []byte
	for _, one := range n {
		b = binary.BigEndian.AppendUint32(b, uint32(one))
	}
	return string(b)
}

func query(text string) message { return frame('Q', text, "\x00") }

func queries(texts ...string) (all []message) {
	for _, text := range texts {
		all = append(all, query(text))
	}
	return all
}

func parse(name, text string, types ...int) message {
	return frame('P', name, "\x00", text, "\x00", int16s(len(types)), int32s(types...))
}

// null is the value that is none.
const null = "\x00NULL"

func values(all []string) string {
	b := int16s(len(all))
	for _, v := range all {
		if v == null {
			b += int32s(-1)
		} else {
			b += int32s(len(v)) + v
		}
	}
	return b
}

func bind(portal, name string, params ...string) message {
	return frame('B', portal, "\x00", name, "\x00", int16s(0), values(params), int16s(0))
}

// bindAs binds with formats, 1 for binary: one for all parameters and one for all results.
func bindAs(portal, name string, in, out int, params ...string) message {
	return frame('B', portal, "\x00", name, "\x00", int16s(1, in), values(params), int16s(1, out))
}

func describe(what, name string) message      { return frame('D', what, name, "\x00") }
func closing(what, name string) message       { return frame('C', what, name, "\x00") }
func execute(portal string, rows int) message { return frame('E', portal, "\x00", int32s(rows)) }

func call(oid, format int, params ...string) message {
	return frame('F', int32s(oid), int16s(1, format), values(params), int16s(format))
}

func copyData(text string) message { return frame('d', text) }
func copyFail(why string) message  { return frame('f', why, "\x00") }

var (
	sync     = frame('S')
	flush    = frame('H')
	copyDone = frame('c')
)
