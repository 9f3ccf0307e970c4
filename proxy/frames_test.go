package proxy

import (
	"fmt"
	"testing"

	"github.com/lockproxy/lockproxy/protocol"
)

// However a stream is cut, the same messages end at the same places.
func TestFramesAreFollowedHoweverTheyAreCut(t *testing.T) {
	var stream []byte
	stream = protocol.AppendParameterStatus(stream, "a", "b")
	stream = protocol.AppendNoData(stream)
	stream = protocol.AppendReady(stream, 'I')
	stream = protocol.AppendComplete(stream, "SELECT 1")
	const want = "S9 n14 Z20 C34 "
	for first := range stream {
		for second := first; second < len(stream); second++ {
			var f frames
			var got string
			at := 0
			for _, piece := range [][]byte{stream[:first], stream[first:second], stream[second:]} {
				for len(piece) > 0 {
					n, ended := f.next(piece)
					piece = piece[n:]
					if at += n; ended {
						got += fmt.Sprintf("%c%d ", f.kind, at)
					}
					if ended != f.between() {
						t.Fatalf("cut at %d and %d: ended %t, between %t", first, second, ended, f.between())
					}
				}
			}
			if got != want {
				t.Fatalf("cut at %d and %d: %s", first, second, got)
			}
		}
	}
}

func TestALengthThatNoMessageCanHaveHoldsNothingUp(t *testing.T) {
	var f frames
	p := []byte("Z\x00\x00\x00\x00n\x00\x00\x00\x04")
	n, ended := f.next(p)
	if n != 5 || !ended {
		t.Fatalf("%d bytes, ended %t", n, ended)
	}
	if n, ended = f.next(p[n:]); n != 5 || !ended || f.kind != 'n' {
		t.Errorf("%d bytes, ended %t, kind %c", n, ended, f.kind)
	}
}
