package sql

// Encoding is a client encoding, as far as it changes where tokens end.
type Encoding uint8

// In the encodings that PostgreSQL allows for clients alone, the second byte of a character may look like ASCII: a
// backslash, a quote. The server converts a text before it reads it, so there such a byte is none of these. Every
// other encoding is Plain: each byte below 0x80 is the character that it looks like.
const (
	Plain      Encoding = iota
	ShiftJIS            // SJIS, SHIFT_JIS_2004
	DoubleByte          // BIG5, GBK, UHC, GB18030, whose characters of four bytes can be read as two of two
	Johab
)

// encodings holds the names of src/common/encnames.c whose encoding is not Plain.
var encodings = map[string]Encoding{
	"big5": DoubleByte, "win950": DoubleByte, "windows950": DoubleByte,
	"gbk": DoubleByte, "win936": DoubleByte, "windows936": DoubleByte,
	"uhc": DoubleByte, "win949": DoubleByte, "windows949": DoubleByte,
	"sjis": ShiftJIS, "mskanji": ShiftJIS, "shiftjis": ShiftJIS, "win932": ShiftJIS, "windows932": ShiftJIS,
	"shiftjis2004": ShiftJIS,
	"johab":        Johab,
	"gb18030":      DoubleByte,
}

// EncodingOf gives the encoding of that name, as client_encoding holds it. PostgreSQL looks at the letters and digits
// of a name alone, in any case. An unknown name is Plain.
func EncodingOf(name string) Encoding {
	clean := make([]byte, 0, 16)
	for i := range len(name) {
		c := lower(name[i])
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			clean = append(clean, c)
		}
	}
	return encodings[string(clean)]
}

// mask gives text itself, or, if bytes in it only look like ASCII, a copy that has another byte in their place.
func (e Encoding) mask(text []byte) []byte {
	if e == Plain || !anyHigh(text) {
		return text
	}
	masked := append(make([]byte, 0, len(text)), text...)
	for i := 0; i < len(masked); {
		n := min(e.width(masked[i:]), len(masked)-i)
		for j := i + 1; j < i+n; j++ {
			masked[j] |= 0x80
		}
		i += n
	}
	return masked
}

// width is the number of bytes of the character at the start of p, by src/common/wchar.c's pg_*_mblen.
func (e Encoding) width(p []byte) int {
	c := p[0]
	switch {
	case c < 0x80:
		return 1
	case e == ShiftJIS && c >= 0xa1 && c <= 0xdf:
		return 1
	case e == Johab && c == 0x8f:
		return 3
	}
	return 2
}

func anyHigh(text []byte) bool {
	for _, c := range text {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
