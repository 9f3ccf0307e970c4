package console

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgproto3/v2"

	"github.com/lockproxy/lockproxy/protocol"
)

// width is the size that a description says a type has (pg_type.typlen).
func (k kind) width() int16 {
	switch k {
	case int4:
		return 4
	case int8:
		return 8
	}
	return -1
}

// appendDescription appends RowDescription. Binary says of each column whether its values come in binary form; nil: none do.
func appendDescription(dst []byte, columns []column, binary []bool) []byte {
	m := pgproto3.RowDescription{}
	for i, c := range columns {
		f := pgproto3.FieldDescription{Name: []byte(c.name), DataTypeOID: uint32(c.kind), DataTypeSize: c.kind.width(), TypeModifier: -1}
		if binary != nil && binary[i] {
			f.Format = 1
		}
		m.Fields = append(m.Fields, f)
	}
	return encoded(m.Encode(dst))
}

// appendRow appends DataRow.
func appendRow(dst []byte, columns []column, binary []bool, row []any) []byte {
	m := pgproto3.DataRow{Values: make([][]byte, len(row))}
	for i, value := range row {
		switch v := value.(type) {
		case nil:
		case string:
			m.Values[i] = append([]byte{}, readable(v)...)
		case int64:
			if binary != nil && binary[i] {
				m.Values[i] = columns[i].kind.appendBinary(nil, v)
			} else {
				m.Values[i] = strconv.AppendInt(nil, v, 10)
			}
		default:
			panic(fmt.Sprintf("console: a value of type %T", v))
		}
	}
	return encoded(m.Encode(dst))
}

// appendBinary gives the number as the type's send function does (src/backend/utils/adt).
func (k kind) appendBinary(dst []byte, n int64) []byte {
	switch k {
	case int4:
		return binary.BigEndian.AppendUint32(dst, uint32(n))
	case int8:
		return binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return appendNumeric(dst, n)
}

// appendNumeric gives numeric_send's form: how many digits to the base 10000, the weight of the first, the sign, the scale.
func appendNumeric(dst []byte, n int64) []byte {
	sign, rest := uint16(0), uint64(n)
	if n < 0 {
		sign, rest = 0x4000, -rest
	}
	var digits []uint16 // the last first
	for ; rest > 0; rest /= 10000 {
		digits = append(digits, uint16(rest%10000))
	}
	weight := max(len(digits)-1, 0)
	for _, v := range []uint16{uint16(len(digits)), uint16(weight), sign, 0} {
		dst = binary.BigEndian.AppendUint16(dst, v)
	}
	for i := len(digits) - 1; i >= 0; i-- {
		dst = binary.BigEndian.AppendUint16(dst, digits[i])
	}
	return dst
}

// readable is a text in UTF-8, which the console says that its texts are in and which the labels of metrics must be: what
// clients call themselves may be anything. Texts that differ stay apart, lest two pools be one series, which fails a scrape.
func readable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsRune(s, utf8.RuneError) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		for i := 0; r == utf8.RuneError && i < size; i++ {
			fmt.Fprintf(&b, "%c%02x", r, s[i])
		}
		if r != utf8.RuneError {
			b.WriteRune(r)
		}
		s = s[size:]
	}
	return b.String()
}

// appendNoParameters appends a ParameterDescription of none.
func appendNoParameters(dst []byte) []byte {
	return encoded((&pgproto3.ParameterDescription{}).Encode(dst))
}

func appendEmpty(dst []byte) []byte     { return encoded((&pgproto3.EmptyQueryResponse{}).Encode(dst)) }
func appendSuspended(dst []byte) []byte { return encoded((&pgproto3.PortalSuspended{}).Encode(dst)) }

// encoded passes on what an Encode gave. Its one error is a body beyond 1 GiB: texts here are names and shortened statements.
func encoded(dst []byte, err error) []byte {
	if err != nil {
		panic("console: " + err.Error())
	}
	return dst
}

// appendWelcome appends what a client is told that has logged in.
func appendWelcome(dst []byte, who *Client) []byte {
	for _, one := range []struct{ name, value string }{
		{"server_version", compatible + "/bouncer"}, {"client_encoding", "UTF8"}, {"server_encoding", "UTF8"}, {"DateStyle", "ISO"},
		{"TimeZone", "GMT"}, {"standard_conforming_strings", "on"}, {"is_superuser", "on"}, {"integer_datetimes", "on"},
	} {
		dst = protocol.AppendParameterStatus(dst, one.name, one.value)
	}
	dst = protocol.AppendKeyData(dst, who.Pid, who.Key)
	return protocol.AppendReady(dst, 'I')
}

// said is a table of one text.
func said(name, value string) *table {
	return ofOne(column{name, text}, value)
}

// one is what SELECT gives of a number, which programs ask for to find out whether anybody answers.
func one(number string) *table {
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return ofOne(column{"?column?", text}, number)
	}
	return ofOne(column{"?column?", int4}, n)
}
