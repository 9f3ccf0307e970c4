package login

// Memory is a map that forgets what came first when it is full, at the same small cost for each that comes. Nothing in it
// ends by itself: whoever looks something up knows whether it still counts.
type Memory[K comparable, V any] struct {
	most   int
	values map[K]V
	order  []K // in which they came, as a ring once it is full; a key that was forgotten and came again may be there twice
	first  int
}

// NewMemory gives one for so many keys.
func NewMemory[K comparable, V any](most int) *Memory[K, V] {
	return &Memory[K, V]{most: most, values: make(map[K]V)}
}

// Get gives what is remembered of a key.
func (m *Memory[K, V]) Get(key K) (V, bool) {
	v, ok := m.values[key]
	return v, ok
}

// Put remembers something of a key.
func (m *Memory[K, V]) Put(key K, value V) {
	if _, known := m.values[key]; !known {
		if len(m.order) < m.most {
			m.order = append(m.order, key)
		} else {
			delete(m.values, m.order[m.first])
			m.order[m.first] = key
			m.first = (m.first + 1) % m.most
		}
	}
	m.values[key] = value
}

// Forget forgets a key.
func (m *Memory[K, V]) Forget(key K) { delete(m.values, key) }

// Len is how many keys there are.
func (m *Memory[K, V]) Len() int { return len(m.values) }
