package login

import "testing"

func TestMemoryForgetsWhatCameFirst(t *testing.T) {
	m := NewMemory[int, string](3)
	for i := range 5 {
		m.Put(i, "v")
		m.Put(i, "w")
	}
	for i := range 5 {
		if v, known := m.Get(i); known != (i >= 2) || known && v != "w" {
			t.Errorf("%d: got %q, %v", i, v, known)
		}
	}
	for i := range 1000 { // the same few, forgotten and back again, and others
		m.Forget(i % 4)
		m.Put(i%4, "x")
		m.Put(i, "y")
		if m.Len() > 3 || len(m.order) > 3 {
			t.Fatalf("%d of 3 are remembered, in %d places", m.Len(), len(m.order))
		}
		if _, known := m.Get(i); !known {
			t.Fatalf("%d is forgotten at once", i)
		}
	}
}
