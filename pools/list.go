package pools

import "iter"

// list is an intrusive doubly linked list: the places lie in the records that it links, so that nothing
// is allocated, and a record is in at most one list per place. The list that a record is in *is* its
// state, and every count that an operator sees is the length of a list; so they cannot drift apart.
type list[T any] struct {
	first, last *place[T]
	n           int
}

// place is where a record stands in a list; the zero value stands in none.
type place[T any] struct {
	in         *list[T]
	prev, next *place[T]
	of         *T
}

func (l *list[T]) pushFront(e *place[T], of *T) {
	l.admit(e, of)
	e.prev, e.next = nil, l.first
	if l.first == nil {
		l.last = e
	} else {
		l.first.prev = e
	}
	l.first = e
}

func (l *list[T]) pushBack(e *place[T], of *T) {
	l.admit(e, of)
	e.prev, e.next = l.last, nil
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
}

func (l *list[T]) admit(e *place[T], of *T) {
	if e.in != nil {
		panic("pools: a record that is in a list was put into another")
	}
	e.in, e.of = l, of
	l.n++
}

func (l *list[T]) remove(e *place[T]) {
	if e.in != l {
		panic("pools: a record was taken off a list that it is not in")
	}
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	*e = place[T]{}
	l.n--
}

// front returns the first record, or nil.
func (l *list[T]) front() *T {
	if l.first == nil {
		return nil
	}
	return l.first.of
}

// back returns the last record, or nil.
func (l *list[T]) back() *T {
	if l.last == nil {
		return nil
	}
	return l.last.of
}

// at returns the record that i others stand before, or nil; it takes i steps.
func (l *list[T]) at(i int) *T {
	e := l.first
	for ; i > 0 && e != nil; i-- {
		e = e.next
	}
	if e == nil {
		return nil
	}
	return e.of
}

// all goes through the list from its front. The record at hand may be removed meanwhile, no other.
func (l *list[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for e := l.first; e != nil; {
			next := e.next
			if !yield(e.of) {
				return
			}
			e = next
		}
	}
}
