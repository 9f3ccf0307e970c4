package protocol

import (
	"strings"
	"testing"
)

// What PostgreSQL 15 answers to "select 1/0".
const divisionByZero = "SERROR\x00VERROR\x00C22012\x00Mdivision by zero\x00Fint.c\x00L837\x00Rint4div\x00\x00"

func TestReadErrorTakesTheFieldsItKnows(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       Error
	}{
		{"a real one", divisionByZero, Error{Severity: "ERROR", Code: "22012", Message: "division by zero"}},
		{"every field", "SE\x00VFATAL\x00C25P03\x00Mm\x00Dd\x00Hh\x00P12\x00Ww\x00\x00",
			Error{Severity: "FATAL", Code: "25P03", Message: "m", Detail: "d", Hint: "h", Where: "w", Position: 12}},
		{"the unlocalized severity counts", "SFEHLER\x00VERROR\x00C22012\x00\x00", Error{Severity: "ERROR", Code: "22012"}},
		{"in either order", "VERROR\x00SFEHLER\x00C22012\x00\x00", Error{Severity: "ERROR", Code: "22012"}},
		{"before 9.6", "SFATAL\x00C57P01\x00\x00", Error{Severity: "FATAL", Code: "57P01"}},
		{"unknown fields", "!x\x00C57P01\x00\xffy\x00\x00", Error{Severity: "ERROR", Code: "57P01"}},
		{"a position that is none", "P-3\x00P99999999999\x00Px\x00\x00", Error{Severity: "ERROR", Code: "XX000"}},
		{"bytes behind its end", "C57P01\x00\x00Mx\x00", Error{Severity: "ERROR", Code: "57P01"}},
	} {
		if got := ReadError([]byte(c.body)); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// CVE-2026-6666: PgBouncer crashed at a server's error that had no SQLSTATE.
func TestReadErrorWithoutSQLSTATEGivesInternalError(t *testing.T) {
	for _, body := range []string{"", "\x00", "Mm\x00\x00", "C\x00\x00", "C123456\x00\x00", "C", "C22012"} {
		if got := ReadError([]byte(body)); got.Code != InternalError || got.Severity != "ERROR" {
			t.Errorf("%q: got %+v", body, got)
		}
	}
}

func TestReadErrorSurvivesEveryTruncation(t *testing.T) {
	for end := range divisionByZero {
		got := ReadError([]byte(divisionByZero[:end]))
		if len(got.Code) != 5 || got.Severity == "" || !strings.HasPrefix("division by zero", got.Message) {
			t.Errorf("cut at %d: %+v", end, got)
		}
	}
}

func TestReadErrorKeepsNoPartOfTheBody(t *testing.T) {
	body := []byte(divisionByZero)
	got := ReadError(body)
	clear(body)
	if got.Message != "division by zero" || got.Code != "22012" {
		t.Errorf("the error changed with the buffer: %+v", got)
	}
}

func TestErrorIsWrittenInOneLine(t *testing.T) {
	var err error = Fatal(AdminShutdown, "terminating connection")
	if got := err.Error(); got != "FATAL: terminating connection (SQLSTATE 57P01)" {
		t.Error(got)
	}
}

func TestFatalAndPanicEndAConnection(t *testing.T) {
	for severity, fatal := range map[string]bool{"FATAL": true, "PANIC": true, "ERROR": false, "WARNING": false, "": false} {
		if e := (Error{Severity: severity}); e.IsFatal() != fatal {
			t.Errorf("%q: IsFatal is %v", severity, !fatal)
		}
	}
}

func FuzzReadError(f *testing.F) {
	f.Add([]byte(divisionByZero))
	f.Add([]byte("C\x00P-1\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		e := ReadError(body)
		if len(e.Code) != 5 || e.Severity == "" || e.Position < 0 {
			t.Fatalf("%q: %+v", body, e)
		}
		if again := ReadError(AppendError(nil, &e)[HeadSize:]); len(body) < maxField && again != e {
			t.Fatalf("%q: written and read again %+v is %+v", body, e, again)
		}
	})
}
