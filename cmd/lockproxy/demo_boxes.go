package main

import "fmt"

// proxySlots tells lockproxy's two pools apart.
func (s *show) proxySlots() (lock, admin []slot) {
	for _, one := range s.proxy.slots {
		if one.lock {
			lock = append(lock, one)
		} else {
			admin = append(admin, one)
		}
	}
	return lock, admin
}

// slots draws a pool as a row of boxes; alarm is for one that cannot go on.
func (c *canvas) slots(name string, slots []slot, size int, alarm bool) {
	l := c.line()
	l.add(ordinary, "   "+name)
	l.to(margin)
	roomy := margin+size*len("[insert 12] ") <= c.width
	apart := margin+size*len("[I12] ") <= c.width
	for i := range max(size, len(slots)) {
		var s slot
		if i < len(slots) {
			s = slots[i]
		}
		l.box(s, roomy, alarm)
		if apart {
			l.add(ordinary, " ")
		}
	}
}

// box draws a slot. Without color, brackets show its edges.
func (l *line) box(s slot, roomy, alarm bool) {
	shade := map[doing]color{unopened: faint, idle: onGray, locked: onYellow, inserting: onGreen}[s.doing]
	if alarm && s.doing == locked {
		shade = onRed
	}
	text := brief(s)
	if roomy {
		text = fmt.Sprintf("%-9s", s)
	}
	left, right := "[", "]"
	if l.colored && s.doing != unopened {
		left, right = " ", " "
	}
	l.add(shade, left+text+right)
}

// brief says in three characters what a slot does.
func brief(s slot) string {
	letter := map[doing]string{unopened: " ", idle: "-", locked: "L", inserting: "I"}[s.doing]
	if s.worker == 0 {
		return letter + "  "
	}
	return fmt.Sprintf("%s%2d", letter, s.worker)
}
