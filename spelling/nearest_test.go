package spelling

import "testing"

func TestNearestName(t *testing.T) {
	names := []string{"serve", "check", "version"}
	for typed, want := range map[string]string{
		"server": "serve", "chekc": "check", "serv": "serve", "VERSION": "", "x": "", "": "", "vresion": "version",
	} {
		if got := Nearest(typed, names); got != want {
			t.Errorf("%q is nearest to %q, got %q", typed, want, got)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"max", "mix", 1}, {"flaw", "lawn", 2}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("from %q to %q: got %d, want %d", c.a, c.b, got, c.want)
		}
		if got := editDistance(c.b, c.a); got != c.want {
			t.Errorf("from %q to %q: got %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
