package sql

import (
	"encoding/binary"
	"math/bits"
)

// The hash functions of PostgreSQL's that applications make keys of names with: hashtext and hashtextextended of a text
// whose collation is deterministic (src/backend/access/hash/hashfunc.c; src/common/hashfn.c, hash_bytes and
// hash_bytes_extended, after Bob Jenkins, 2006), as they are on machines that store the lower byte first.

func hashText(text []byte) int32 { return int32(uint32(hashTextExtended(text, 0))) }

func hashTextExtended(text []byte, seed int64) int64 {
	const begin = 0x9e3779b9 + 3923095
	a := begin + uint32(len(text))
	b, c := a, a
	if seed != 0 {
		a, b, c = mixed(a+uint32(uint64(seed)>>32), b+uint32(seed), c)
	}
	for ; len(text) >= 12; text = text[12:] {
		a, b, c = mixed(a+binary.LittleEndian.Uint32(text), b+binary.LittleEndian.Uint32(text[4:]), c+binary.LittleEndian.Uint32(text[8:]))
	}
	var last [12]byte // its lowest byte of c is the length's
	copy(last[:8], text)
	if len(text) > 8 {
		copy(last[9:], text[8:])
	}
	_, b, c = finished(a+binary.LittleEndian.Uint32(last[:]), b+binary.LittleEndian.Uint32(last[4:]), c+binary.LittleEndian.Uint32(last[8:]))
	return int64(uint64(b)<<32 | uint64(c))
}

func mixed(a, b, c uint32) (x, y, z uint32) {
	a, c = (a-c)^bits.RotateLeft32(c, 4), c+b
	b, a = (b-a)^bits.RotateLeft32(a, 6), a+c
	c, b = (c-b)^bits.RotateLeft32(b, 8), b+a
	a, c = (a-c)^bits.RotateLeft32(c, 16), c+b
	b, a = (b-a)^bits.RotateLeft32(a, 19), a+c
	c, b = (c-b)^bits.RotateLeft32(b, 4), b+a
	return a, b, c
}

func finished(a, b, c uint32) (x, y, z uint32) {
	c = (c ^ b) - bits.RotateLeft32(b, 14)
	a = (a ^ c) - bits.RotateLeft32(c, 11)
	b = (b ^ a) - bits.RotateLeft32(a, 25)
	c = (c ^ b) - bits.RotateLeft32(b, 16)
	a = (a ^ c) - bits.RotateLeft32(c, 4)
	b = (b ^ a) - bits.RotateLeft32(a, 14)
	c = (c ^ b) - bits.RotateLeft32(b, 24)
	return a, b, c
}
