package session

import (
	"testing"
	"unsafe"
)

// Every idle client has a Session, and memory comes in pieces of 768, 896 and 1024 bytes (runtime/sizeclasses.go).
func TestASessionFitsItsPieceOfMemory(t *testing.T) {
	const piece = 896
	if size := unsafe.Sizeof(Session{}); size > piece {
		t.Errorf("a Session takes %d bytes, and so more than a piece of %d", size, piece)
	}
}
