package session

import (
	"testing"
	"unsafe"
)

// Every idle client has a Session, and memory comes in pieces of 768, 896 and 1024 bytes (runtime/sizeclasses.go), of which eight are for the type
// of what has pointers in it (runtime/mbitmap.go, mallocHeaderSize).
func TestASessionFitsItsPieceOfMemory(t *testing.T) {
	const piece, header = 896, 8
	if size := unsafe.Sizeof(Session{}); size+header > piece {
		t.Errorf("a Session takes %d bytes, and so more than a piece of %d", size, piece)
	}
}
