package link

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// drain takes everything out of b in pieces of at most most bytes.
func drain(b *backlog, most int) []byte {
	var all []byte
	for p := b.front(); p != nil; p = b.front() {
		n := min(len(p), most)
		all = append(all, p[:n]...)
		b.drop(n)
	}
	return all
}

func TestBacklogSkipsWhatWasWritten(t *testing.T) {
	list := [][]byte{[]byte("ab"), nil, []byte("cde"), []byte("f")}
	for skip := range 7 {
		var b backlog
		b.add(list, skip)
		if want := "abcdef"[skip:]; b.size != len(want) || string(drain(&b, 100)) != want {
			t.Errorf("skipping %d bytes does not leave %q", skip, want)
		}
	}
}

func TestBacklogKeepsOrderInAnyMixOfCalls(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	p := pattern(1 << 20)
	var b backlog
	var got []byte
	for added := 0; len(got) < len(p); {
		if n := min(random.IntN(3*chunkSize), len(p)-added); random.IntN(2) == 0 {
			b.add([][]byte{p[added : added+n/2], p[added+n/2 : added+n]}, 0)
			added += n
		}
		if front := b.front(); front != nil {
			n := 1 + random.IntN(len(front))
			got = append(got, front[:n]...)
			b.drop(n)
		}
		if b.size != added-len(got) {
			t.Fatalf("size is %d, want %d", b.size, added-len(got))
		}
	}
	if !bytes.Equal(got, p) {
		t.Fatal("other bytes came out than went in")
	}
}

func TestEmptyBacklogOwnsNothing(t *testing.T) {
	var b backlog
	for _, n := range []int{1, chunkSize, 5 * chunkSize} {
		b.add([][]byte{pattern(n)}, 0)
		drain(&b, 1000)
		if b != (backlog{}) {
			t.Fatalf("after %d bytes an empty backlog still holds %+v", n, b)
		}
	}
	b.add([][]byte{pattern(100)}, 0)
	b.clear()
	if b != (backlog{}) || b.front() != nil {
		t.Fatal("a cleared backlog is not empty")
	}
}

// TestAddingDoesNotMoveTheFront: the writing goroutine writes the front while others add.
func TestAddingDoesNotMoveTheFront(t *testing.T) {
	var b backlog
	b.add([][]byte{[]byte("front")}, 0)
	front := b.front()
	b.add([][]byte{pattern(3 * chunkSize)}, 0)
	if string(front) != "front" || &front[0] != &b.front()[0] {
		t.Fatal("the front has moved")
	}
}

func TestChunkTakesWhatItsNameSays(t *testing.T) {
	if n := unsafe.Sizeof(chunk{}); n != chunkSize && unsafe.Sizeof(n) == 8 {
		t.Fatalf("a chunk takes %d bytes, want %d", n, chunkSize)
	}
}
