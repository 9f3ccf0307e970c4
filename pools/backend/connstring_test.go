package backend

import (
	"maps"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// What is taken to pieces and put together again is to pgconn what it was.
func FuzzConnStringsMeanTheSameWhenTheyAreWrittenAnew(f *testing.F) {
	for _, text := range []string{
		"", "host=h", `host = 'a b' port= 7 user=u\ v password='p\'q\\' options=`, "host=h password='p", `host=h\`, "host=h x", "=", "a b=c",
		"postgres://", "postgresql://u:p%40%3F@h:7,i:8/d?application_name=a%20b&search_path=c%3Dd&&x=y", "postgres://u:p?x=y@h?a=b",
		"postgres://[::1]:7/d?", "postgres://h/d?ssl=true", "postgres://h/d?sslmode=disable&ssl=true", "postgres://h/d?ssl=true&sslmode=disable",
		"postgres://h?a=b=c", "postgres://h?a", "postgres://h?a=b c", "postgres://h?%61= b +c", "postgres://h?a=%zz", "postgres://u@h?user=",
		"postgres://h?password=p'q", "host=postgres://h", "user=a user=", "dbname=a database=b",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := readConnString(text)
		if !ok {
			if _, err := pgconn.ParseConfig(text); err == nil {
				t.Skip("refused, and not misread")
			}
			return
		}
		want, err1 := pgconn.ParseConfig(text)
		got, err2 := pgconn.ParseConfig(s.with())
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%q: %v; %q: %v", text, err1, s.with(), err2)
		}
		if err1 != nil {
			return
		}
		same := want.Host == got.Host && want.Port == got.Port && want.User == got.User && want.Password == got.Password && want.Database == got.Database &&
			(want.TLSConfig == nil) == (got.TLSConfig == nil) && len(want.Fallbacks) == len(got.Fallbacks) && maps.Equal(want.RuntimeParams, got.RuntimeParams)
		if !same {
			t.Errorf("%q becomes %q: %+v, %+v", text, s.with(), want, got)
		}
	})
}
