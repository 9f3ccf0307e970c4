package protocol

import (
	"bytes"
	"testing"
)

var sinkSize int

// A stream is passed on by its heads alone, whatever the bodies' size.
func BenchmarkHead(b *testing.B) {
	for _, c := range []struct {
		name string
		body int
	}{{"rows of 32 B", 32}, {"rows of 8 kB", 8192}} {
		b.Run(c.name, func(b *testing.B) {
			frame := append([]byte{DataRow, 0, 0, byte((c.body + 4) >> 8), byte(c.body + 4)}, make([]byte, c.body)...)
			stream := bytes.Repeat(frame, 64<<10/len(frame))
			b.ReportAllocs()
			b.SetBytes(int64(len(stream)))
			for b.Loop() {
				for p := stream; len(p) > 0; p = p[sinkSize:] {
					_, sinkSize = Head(p)
				}
			}
		})
	}
}
