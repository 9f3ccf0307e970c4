package test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A session keeps a setting that names what there is no more. On another connection it cannot be put in place: whatever
// needs it is told so, and what sets or resets it goes on.
func TestASettingThatIsRefusedByNowCanBeReset(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	r.query(t, "CREATE ROLE refused_other")
	t.Cleanup(func() { r.query(t, "DROP ROLE refused_other") })
	ways := []struct {
		rule     string
		messages []pgproto3.FrontendMessage
		answer   string
		role     string // afterwards
		still    bool   // refused
	}{
		{"reset", []pgproto3.FrontendMessage{text("RESET ROLE")}, "C(RESET) Z(I)", "none", false},
		{"to default", []pgproto3.FrontendMessage{text("SET ROLE TO DEFAULT")}, "C(SET) Z(I)", "none", false},
		{"another one", []pgproto3.FrontendMessage{text("SET ROLE refused_other")}, "C(SET) Z(I)", "refused_other", false},
		{"discard", []pgproto3.FrontendMessage{text("DISCARD ALL")}, "C(DISCARD ALL) Z(I)", "none", false},
		{"the extended protocol", []pgproto3.FrontendMessage{prepare("", "RESET ROLE"), bindTo("", ""), describing('P', ""), executing(""), syncNow},
			"1 2 n C(RESET) Z(I)", "none", false},
		{"with what comes behind it", []pgproto3.FrontendMessage{text("RESET ROLE"), text("SHOW role")}, "C(RESET) Z(I) T D(none) C(SHOW) Z(I)", "none", false},
		{"a failure", []pgproto3.FrontendMessage{text("SET ROLE refused_nobody")}, "E(22023) Z(I)", "", true},
		{"a failure, and what comes behind it", []pgproto3.FrontendMessage{text("SET ROLE refused_nobody"), text("SELECT 1")}, "E(22023) Z(I) E(22023) Z(I)", "", true},
		{"another setting", []pgproto3.FrontendMessage{text("SET work_mem = '1MB'")}, "E(22023) Z(I)", "", true},
		{"by a query", []pgproto3.FrontendMessage{text("SELECT set_config('role', 'none', false)")}, "E(22023) Z(I)", "", true},
		{"in a transaction", []pgproto3.FrontendMessage{text("BEGIN"), text("RESET ROLE"), text("ROLLBACK")}, "C(BEGIN) Z(T) E(22023) Z(E) C(ROLLBACK) Z(I)", "", true},
		{"in a transaction's pipe", []pgproto3.FrontendMessage{text("BEGIN"), text("SELECT 1"), text("COMMIT"), text("SELECT 1")},
			"C(BEGIN) Z(T) E(22023) Z(E) C(ROLLBACK) Z(I) E(22023) Z(I)", "", true},
		{"behind the end of a transaction", []pgproto3.FrontendMessage{text("ROLLBACK; SELECT 1")}, "E(22023) Z(I)", "", true},
		{"for the transaction", []pgproto3.FrontendMessage{text("SET LOCAL role = none")}, "E(22023) Z(I)", "", true},
		{"in a longer text", []pgproto3.FrontendMessage{text("RESET ROLE; SELECT 1")}, "E(22023) Z(I)", "", true},
	}
	for _, way := range ways {
		for _, told := range []bool{true, false} {
			t.Run(way.rule, func(t *testing.T) {
				r.query(t, "CREATE ROLE refused_role")
				c := r.moved(t, func(c *socket) {
					c.wants("a role", "C(SET) Z(I)", "Z", text("SET ROLE refused_role"))
					r.query(t, "DROP ROLE refused_role")
				})
				if told {
					c.wants("what needs it", "E(22023) Z(I)", "Z", text("SELECT 1"))
				}
				c.wants(way.rule, way.answer, strings.Repeat("Z", strings.Count(way.answer, "Z(")), way.messages...)
				if !way.still {
					c.wants("afterwards", "T D("+way.role+") C(SHOW) Z(I)", "Z", text("SHOW role"))
					return
				}
				c.wants("it is refused still", "E(22023) Z(I)", "Z", text("SELECT 1"))
				c.wants("and can be reset", "C(RESET) Z(I)", "Z", text("RESET ROLE"))
				c.wants("afterwards", "T D(none) C(SHOW) Z(I)", "Z", text("SHOW role"))
			})
		}
	}
}

// Whatever is refused besides does not stand in the way.
func TestOneOfTwoSettingsThatAreRefusedCanBeReset(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	r.query(t, "CREATE ROLE refused_role")
	r.query(t, "CREATE TEXT SEARCH CONFIGURATION public.refused (COPY = simple)")
	c := r.moved(t, func(c *socket) {
		c.wants("a role", "C(SET) Z(I)", "Z", text("SET ROLE refused_role"))
		c.wants("a configuration", "C(SET) Z(I)", "Z", text("SET default_text_search_config = 'public.refused'"))
		r.query(t, "DROP ROLE refused_role")
		r.query(t, "DROP TEXT SEARCH CONFIGURATION public.refused")
	})
	c.wants("nothing runs as somebody else", "E(22023) Z(I)", "Z", text("RESET default_text_search_config"))
	c.wants("the role", "C(RESET) Z(I)", "Z", text("RESET ROLE"))
	c.wants("the other is refused still", "E(22023) Z(I)", "Z", text("SELECT 1"))
	c.wants("and can be reset", "C(RESET) Z(I)", "Z", text("RESET default_text_search_config"))
	c.wants("afterwards", "T D(none) C(SHOW) Z(I)", "Z", text("SHOW role"))
}

// moved gives a client that did something on one server connection, and is on the other from then on.
func (r *rig) moved(t *testing.T, did func(c *socket)) *socket {
	t.Helper()
	open := func() *socket {
		s := logIn(t, r.url)
		t.Cleanup(func() { s.conn.Close() })
		return s
	}
	before, after, c := open(), open(), open()
	before.asks("Z", text("BEGIN; SELECT 1"))
	did(c)
	after.asks("Z", text("BEGIN; SELECT 1"))
	before.asks("Z", text("COMMIT"))
	return c
}
