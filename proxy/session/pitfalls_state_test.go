package session

import (
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// sets runs a statement that touches a setting, and answers the question what became of it, if there is one.
func (c *conversation) sets(text, tag, name, value string, grant func(pools.Kind)) {
	c.t.Helper()
	c.sends(query(text))
	grant(pools.Admin)
	c.wantServer("as it is", query(text))
	c.answers(complete(tag), ready('I'))
	c.wantClient("with its answer", complete(tag), ready('I'))
	c.tellsSetting(name, value)
	c.wantRelease("free")
}

// tellsSetting answers the question what a setting is.
func (c *conversation) tellsSetting(name, value string) {
	c.t.Helper()
	c.wantServer("what is it now?", query("SELECT 's', E'"+name+"',"+asked("pg_catalog.current_setting( E'"+name+"',true)")+";"))
	c.answers(row("s", name, strings.ReplaceAll(value, `\`, `\\`)), selected, ready('I'))
}

// tellsDefault answers the same question for a setting that may be back at its default, and is.
func (c *conversation) tellsDefault(name string) {
	c.t.Helper()
	c.wantServer("is it set now?", query("SELECT 's', E'"+name+"',(SELECT "+asked("setting")+" FROM pg_catalog.pg_settings WHERE source "+
		"OPERATOR(pg_catalog.=) 'session' AND pg_catalog.lower(name) OPERATOR(pg_catalog.=) E'"+name+"');"))
	null := string(row("s", name)) + "\xff\xff\xff\xff"
	c.answers(message(protocol.DataRow, "\x00\x03"+null[protocol.HeadSize+2:]), selected, ready('I'))
}

// asked is what asks for a setting's value.
func asked(expression string) string {
	return "pg_catalog.encode(pg_catalog.convert_to(" + expression + ",pg_catalog.getdatabaseencoding()),'escape')"
}

// putting is what puts one setting in place.
func putting(name, literal string) []byte {
	return append(query("BEGIN"), query("SELECT pg_catalog.set_config( E'"+name+"', E'"+literal+"',false);COMMIT")...)
}

// D#698: a setting's value was put into the text of a SET as it was, and run.
func TestASettingsValueIsNeverReadAsSQL(t *testing.T) {
	c := newConversation(t)
	const value = `x', false); DROP TABLE t; --\`
	c.sets(`set app.name = 'whatever'`, "SET", "app.name", value, c.granted)
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.wantServer("quoted and escaped", putting("app.name", `x'', false); DROP TABLE t; --\\`), query("select 1"))
}

// B#879: settings that were in place already were set before each transaction.
func TestSettingsInPlaceAreNotSetAgain(t *testing.T) {
	c := newConversation(t)
	c.sets("set work_mem = '1MB'", "SET", "work_mem", "1MB", c.granted)
	c.exchange()
	other := newConversation(t)
	other.sends(query("select 1"))
	c.takenBy(other, pools.Admin)
	other.wantServer("another client has its own", query("BEGIN"), query(`SET "work_mem" TO DEFAULT;COMMIT`), query("select 1"))
}

// G#911: a SET that the server rejected was remembered.
func TestARejectedSetIsNotRemembered(t *testing.T) {
	c := newConversation(t)
	bad := failed("22023", "invalid value")
	c.sends(query("set work_mem = 'nonsense'"))
	c.granted(pools.Admin)
	c.server = nil
	c.answers(bad, ready('I'))
	c.wantClient("rejected", bad, ready('I'))
	c.tellsDefault("work_mem")
	c.wantRelease("free")
	c.exchange()
}

// G#955: a SET that was rolled back was remembered.
func TestASetThatWasRolledBackIsAskedFor(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"), query("set work_mem = '1MB'"), query("rollback"))
	c.granted(pools.Admin)
	c.server, c.client = nil, nil
	c.answers(complete("BEGIN"), ready('T'), complete("SET"), ready('T'), complete("ROLLBACK"), ready('I'))
	c.tellsDefault("work_mem")
	c.client = nil
	c.wantRelease("free")
	c.exchange()
}

// G#955: nor is a RESET that was rolled back: the next client would have what was set before.
func TestAResetThatWasRolledBackIsAskedFor(t *testing.T) {
	for _, texts := range [][]string{{"begin", "reset work_mem", "rollback"}, {"begin; reset work_mem; rollback"}, {"begin; select 1", "reset all", "rollback"}} {
		c := newConversation(t)
		c.s.state.settings = NewSettings([]Setting{{"work_mem", "1MB"}})
		for _, text := range texts {
			c.sends(query(text))
		}
		c.granted(pools.Admin)
		c.answers(complete("BEGIN"), ready('T'), complete("SELECT 1"), complete("COMMIT"), ready('I')) // it is in place
		c.server, c.client = nil, nil
		for i := range texts {
			c.answers(complete("OK"), ready("TTI"[3-len(texts)+i]))
		}
		if !c.s.asking {
			t.Errorf("%q: nobody asks what became of it", texts)
		}
	}
}

// G#955: SET LOCAL lives with its transaction, and nothing need be asked.
func TestSetLocalIsNotRemembered(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"), query("set local work_mem = '1MB'"), query("commit"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), complete("SET"), ready('T'), complete("COMMIT"), ready('I'))
	c.server, c.client = nil, nil
	c.wantRelease("free")
	c.exchange()
}

// D#1341: SET ROLE survived to the next client.
func TestARoleFollowsItsClientAndNobodyElse(t *testing.T) {
	for _, name := range []string{"role", "session_authorization"} {
		c := newConversation(t)
		c.sends(query("select set_config('" + name + "', 'bob', false)"))
		c.granted(pools.Admin)
		c.answers(row("bob"), selected, ready('I'))
		c.answers(row("s", name, "bob"), selected, ready('I'))
		c.server, c.client = nil, nil
		c.wantRelease("it is known what to put in place elsewhere")
		other := newConversation(t)
		other.sends(query("select current_user"))
		c.takenBy(other, pools.Admin)
		other.wantServer("the next client is itself", query("BEGIN"), query(`SET "`+name+`" TO DEFAULT;COMMIT`), query("select current_user"))
		other.answers(complete("BEGIN"), ready('T'), complete("SET"), complete("COMMIT"), ready('I'), row("me"), selected, ready('I'))
		c.sends(query("select current_user"))
		other.takenBy(c, pools.Admin)
		c.wantServer("and the client is whom it asked to be", putting(name, "bob"), query("select current_user"))
	}
}

// A role that may do less must not be in the way of the other settings.
func TestRolesArePutInPlaceLastAndLaidDownFirst(t *testing.T) {
	was := NewSettings([]Setting{{"app.x", "1"}, {"role", "alice"}, {"session_authorization", "carol"}})
	is := NewSettings([]Setting{{"role", "bob"}, {"work_mem", "1MB"}, {"session_authorization", "dave"}})
	text, _ := change(nil, nil, was, is)
	got := string(text)
	want := `SET "role" TO DEFAULT;SET "session_authorization" TO DEFAULT;SET "app"."x" TO DEFAULT;` +
		`SELECT pg_catalog.set_config( E'work_mem', E'1MB',false);SELECT pg_catalog.set_config( E'session_authorization', E'dave',false);` +
		`SELECT pg_catalog.set_config( E'role', E'bob',false);`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// D#1298: the name of a setting came as a parameter, and the setting stayed for the next client.
func TestASettingNamedByAValueKeepsItsBackend(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select set_config(name, 'x', false) from names"))
	c.granted(pools.Admin)
	c.answers(row("x"), selected, ready('I'))
	c.wantAction("nobody can tell which it is", Action{Op: Pinned})
	c.wantPinnedToTheEnd()
	c = newConversation(t)
	c.sends(query("select set_config(name, 'x', true) from names"))
	c.granted(pools.Admin)
	c.server = nil
	c.answers(row("x"), selected, ready('I'))
	c.client = nil
	c.wantRelease("for the transaction alone it is nobody's business")
}

// wantPinnedToTheEnd ends the client of a pinned session, whose server is then as new.
func (c *conversation) wantPinnedToTheEnd() {
	c.t.Helper()
	if len(c.actions) > 0 {
		c.t.Fatalf("the backend was not kept: %+v", c.actions)
	}
	c.server = nil
	c.sends(goodbye)
	c.wantServer("what was left is reset", query("DISCARD ALL"))
}

// refusedSetting is what the client is told of the error of app.x.
func refusedSetting(code, text string) []byte {
	return protocol.AppendError(nil, &protocol.Error{Severity: "ERROR", Code: code, Message: text,
		Detail: `The session has the setting "app.x", which lockproxy puts in place on each server connection, and the server refuses it by now.`,
		Hint:   `SET or RESET "app.x" outside of a transaction, or DISCARD ALL.`})
}

// D#876: what a refused SET of the pooler's own had brought was the next client's answer.
func TestSettingsThatCannotBePutInPlaceAreTheClientsError(t *testing.T) {
	c := newConversation(t)
	c.sets("set app.x = '1'", "SET", "app.x", "1", c.granted)
	c.sends(query("select 1"), query("select 2"))
	c.granted(pools.Admin)
	c.wantServer("settings, and what was asked first", putting("app.x", "1"), query("select 1"))
	bad, aborted := failed("42501", "permission denied to set parameter"), failed("25P02", "aborted")
	c.answers(complete("BEGIN"), ready('T'), bad, ready('E'), aborted, ready('E'))
	told := refusedSetting("42501", "permission denied to set parameter")
	c.wantClient("it hears the reason, and has not run without them", told, ready('I'))
	c.wantAction("the server is not given to anybody", Action{Op: Remove})
	c.granted(pools.Admin)
	c.wantServer("the next unit has another", putting("app.x", "1"), query("select 2"))
}

// Directly, somebody who cancels what a server runs (pg_cancel_backend) ends one statement.
func TestACancelThatHitsTheSettingsIsTheErrorOfOneUnit(t *testing.T) {
	c := newConversation(t)
	c.sets("set app.x = '1'", "SET", "app.x", "1", c.granted)
	c.sends(query("select 1"), query("select 2"), query("select 3"))
	c.granted(pools.Admin)
	c.wantServer("the others wait until the settings are in place", putting("app.x", "1"), query("select 1"))
	canceled, aborted := failed("57014", "canceling statement due to user request"), failed("25P02", "aborted")
	c.answers(complete("BEGIN"), ready('T'), canceled, ready('E'), aborted, ready('E'))
	c.wantClient("one unit hears of it", canceled, ready('I'))
	c.wantAction("the server is not given to anybody", Action{Op: Remove})
	c.granted(pools.Admin)
	c.wantServer("the next has another", putting("app.x", "1"), query("select 2"))
	c.answers(complete("BEGIN"), ready('T'), complete("COMMIT"), ready('I'))
	c.wantServer("and all go as soon as they are in place", query("select 3"))
	c.answers(row("2"), selected, ready('I'), row("3"), selected, ready('I'))
	c.wantClient("neither noticed", row("2"), selected, ready('I'), row("3"), selected, ready('I'))
}

// A server reads nothing of a message whose letters are none in its encoding: the block must have begun before.
func TestSettingsThatCannotBeReadAreTheClientsError(t *testing.T) {
	c := newConversation(t)
	c.sets("set app.x = '\xe9'", "SET", "app.x", "\xe9", c.granted)
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.wantServer("a block, and what may not be read", query("BEGIN"), query("SELECT pg_catalog.set_config( E'app.x', E'\xe9',false);COMMIT"), query("select 1"))
	bad, aborted := failed("22021", "invalid byte sequence"), failed("25P02", "aborted")
	c.answers(complete("BEGIN"), ready('T'), bad, ready('E'), aborted, ready('E'))
	c.wantClient("it hears the reason, and has not run without them", refusedSetting("22021", "invalid byte sequence"), ready('I'))
	c.wantAction("the server is not given to anybody", Action{Op: Remove})
}

// The encoding of the client before is not the one in which the settings of the next are sent.
func TestSettingsAreReadInTheirClientsEncoding(t *testing.T) {
	c := newConversation(t)
	c.sets("set app.x = 'é'", "SET", "app.x", "é", c.granted)
	c.srv = nil
	other := NewServer(98, c.s.state.told, c.now)
	other.settings = NewSettings([]Setting{{"client_encoding", "LATIN1"}})
	c.sends(query("select 1"))
	c.s.Granted(&c.o, c.now, other, pools.Admin)
	c.took()
	c.wantServer("it is put off first", query(`SET "client_encoding" TO DEFAULT;`), query("BEGIN"),
		query("SET \"client_encoding\" TO DEFAULT;SELECT pg_catalog.set_config( E'app.x', E'é',false);COMMIT"), query("select 1"))
	c.answers(complete("SET"), ready('I'), complete("BEGIN"), ready('T'), complete("COMMIT"), ready('I'), row("1"), selected, ready('I'))
	c.wantClient("of which it hears nothing", row("1"), selected, ready('I'))
}

// S#663: what a server reports may differ from what the last one reported.
func TestAChangedParameterStatusIsTold(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"))
	c.wantAction("a server was asked for", Action{Op: Checkout})
	newer := NewServer(98, NewSettings([]Setting{{"server_version", "16"}}), c.now)
	c.s.Granted(&c.o, c.now, newer, pools.Admin)
	c.took()
	c.wantClient("before its first answer", protocol.AppendParameterStatus(nil, "server_version", "16"))
	c.answers(row("1"), selected, ready('I'))
	c.wantClient("and once", row("1"), selected, ready('I'))
}

// G#1308: the FATAL on a listening client's connection was not passed on.
func TestAListenerHearsItsServersLastWords(t *testing.T) {
	c := newConversation(t)
	c.sends(query("listen news"))
	c.granted(pools.Admin)
	c.answers(complete("LISTEN"), ready('I'))
	c.tellsPins("0", "1", "0")
	c.client, c.actions = nil, nil
	c.answers(message(protocol.Notification, "\x00\x00\x00\x62news\x00hello\x00"), message(protocol.Notification, "\x00\x00\x00\x63news\x00self\x00"))
	c.wantClient("notifications pass at once, the client's own as its own", message(protocol.Notification, "\x00\x00\x00\x62news\x00hello\x00"),
		message(protocol.Notification, "\x00\x00\x00\x07news\x00self\x00"))
	last := protocol.AppendError(nil, protocol.Fatal("57P01", "terminating connection due to administrator command"))
	c.answers(last)
	c.s.ServerLost(&c.o, c.now)
	c.took()
	c.wantClient("so do the server's last words", last)
	c.wantAction("and the connection ends, as a direct one", Action{Op: CloseClient})
}

// A listener would listen for ever: the end of lockproxy waits for transactions and for locks, and for nothing else.
func TestAPinnedSessionIsIdleForTheEndUnlessItHoldsALock(t *testing.T) {
	c := newConversation(t)
	c.sends(query("listen news"))
	c.granted(pools.Admin)
	c.answers(complete("LISTEN"), ready('I'))
	c.tellsPins("0", "1", "0")
	c.sends(query("begin"))
	c.answers(complete("BEGIN"), ready('T'))
	c.client, c.server, c.actions = nil, nil, nil
	c.s.Drain(&c.o, c.now)
	c.took()
	c.wantNothing("its transaction is waited for")
	c.sends(query("commit"), query("select 1"))
	c.answers(complete("COMMIT"), ready('I'))
	c.client = nil
	c.answers(row("1"), selected, ready('I'))
	c.wantClient("so is what it has sent", row("1"), selected, ready('I'),
		protocol.AppendError(nil, protocol.Fatal("57P01", "terminating connection due to administrator command")))
	c.wantAction("then it ends", Action{Op: CloseClient})

	c = newConversation(t)
	c.sends(callOfLock)
	c.granted(pools.Lock)
	c.answers(complete("BEGIN"), row(""), row(""), complete("COMMIT"), ready('I'), emptyResult, ready('I'))
	c.client, c.server, c.actions = nil, nil, nil
	c.s.Drain(&c.o, c.now)
	c.took()
	c.wantNothing("a lock is waited for")
}

// tellsPins answers the question what of a pinned session's state is there: temporary objects, channels, held cursors.
func (c *conversation) tellsPins(objects, channels, cursors string) {
	c.t.Helper()
	if !strings.HasSuffix(string(c.server), string(query(askPins))) {
		c.t.Fatalf("the server was asked %s", spell(c.server))
	}
	c.server = nil
	c.answers(row("p", objects, channels+" "+cursors), selected, ready('I'))
}

// What pins a session is looked at again after whatever may have ended it, and the backend is free when it has gone.
func TestAPinEndsWithItsState(t *testing.T) {
	for _, pin := range []struct{ made, tag, gone, goneTag string }{
		{"create temp table x (a int)", "CREATE TABLE", "drop table x", "DROP TABLE"},
		{"create temp table x (a int)", "CREATE TABLE", "discard temp", "DISCARD TEMP"},
		{"listen news", "LISTEN", "unlisten *", "UNLISTEN"},
		{"declare x cursor with hold for select 1", "DECLARE CURSOR", "close x", "CLOSE CURSOR"},
	} {
		c := newConversation(t)
		c.sends(query(pin.made))
		c.granted(pools.Admin)
		c.answers(complete(pin.tag), ready('I'))
		c.wantAction(pin.made, Action{Op: Pinned})
		c.tellsPins("1", "1", "1")
		c.client, c.server = nil, nil
		c.sends(query("select 1"))
		c.answers(row("1"), selected, ready('I'))
		c.wantServer("nothing need be asked meanwhile", query("select 1"))
		c.client = nil
		c.wantNothing("the backend is kept")
		c.sends(query(pin.gone))
		c.answers(complete(pin.goneTag), ready('I'))
		c.tellsPins("0", "0", "0")
		c.client = nil
		c.wantRelease(pin.gone)
	}
}

// A temporary table may have gone with the transaction that made it.
func TestAPinThatWasRolledBackEnds(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"), query("create temp table x (a int) on commit drop"), query("commit"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), complete("CREATE TABLE"), ready('T'), complete("COMMIT"), ready('I'))
	c.wantAction("it was pinned", Action{Op: Pinned})
	c.tellsPins("0", "0", "0")
	c.client = nil
	c.wantRelease("and is not any more")
}

// G#1324: setseed() leaves its state in the server session, and so do LOAD and dblink_connect. DISCARD ALL resets none of it. Nobody is to
// have the seed or the links of another.
func TestWhatNothingResetsKeepsItsBackend(t *testing.T) {
	for _, one := range []struct {
		text string
		gone Op
	}{{"select setseed(0.5)", Remove}, {"select dblink_connect('x')", Remove}, {"load 'x'", Release}} {
		c := newConversation(t)
		c.sends(query(one.text))
		c.granted(pools.Admin)
		c.server = nil
		c.answers(row(""), selected, ready('I'))
		c.wantClient("answered", row(""), selected, ready('I'))
		c.wantAction("pinned", Action{Op: Pinned})
		c.wantNothing("and not released")
		c.sends(query("discard all"))
		c.answers(complete("DISCARD ALL"), ready('I'))
		if len(c.actions) > 0 {
			t.Errorf("%s, discard all: %+v", one.text, c.actions)
		}
		c.sends(message(protocol.Terminate, ""))
		c.wantAction(one.text+": the client is gone", Action{Op: CloseClient})
		if one.gone == Release {
			c.answers(complete("DISCARD ALL"), ready('I'))
		}
		c.wantAction("and its server", Action{Op: one.gone})
	}
}

// What a server reports of itself can not be put in place elsewhere: it follows from the role.
func TestARoleThatWasRolledBackIsAskedForByItsOwnName(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"), query("set role bob"), query("rollback"))
	c.granted(pools.Admin)
	off, on := protocol.AppendParameterStatus(nil, "is_superuser", "off"), protocol.AppendParameterStatus(nil, "is_superuser", "on")
	c.answers(complete("BEGIN"), ready('T'), complete("SET"), off, ready('T'))
	c.server = nil
	c.answers(complete("ROLLBACK"), on, ready('I'))
	if asked := string(c.server); strings.Contains(asked, "is_superuser") || !strings.Contains(asked, "E'role'") {
		t.Errorf("the server was asked %s", spell(c.server))
	}
	c.answers(row("s", "role", ""), row("s", "session_authorization", ""), selected, ready('I'))
}

// A server that has read its configuration again reports it within the next statement: that is not the client's setting.
func TestAReportedSettingMayBeTheServersOwn(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.server = nil
	zone := protocol.AppendParameterStatus(nil, "TimeZone", "Asia/Tokyo")
	c.answers(row("1"), selected, zone, ready('I'))
	c.tellsDefault("timezone")
	c.wantClient("the client is told", row("1"), selected, zone, ready('I'))
	c.wantRelease("and wants nothing of its own")
	c.exchange()
}

// A role that was dropped and made again is another one (isolation suite, truncate-conflict): a server that has it in place
// from before is told again.
func TestARoleThatAnotherLeftInPlaceIsTakenAnew(t *testing.T) {
	c := newConversation(t)
	takes := func(c *conversation) {
		c.sends(query("set role bob"))
		c.granted(pools.Admin)
		c.answers(complete("SET"), ready('I'))
		c.answers(row("s", "role", "bob"), selected, ready('I'))
		c.wantAction("it goes back", Action{Op: Release})
		c.client, c.server, c.actions = nil, nil, nil
	}
	takes(c)
	other := newConversation(t)
	takes(other)
	for _, who := range []*conversation{other, c} {
		who.sends(query("select 1"))
		c.takenBy(who, pools.Admin)
		if got := spell(who.server); !containsInOrder(got, "role", "bob", "select 1") {
			t.Errorf("the server got %s", got)
		}
		who.server, who.client, who.actions = nil, nil, nil
		who.answers(complete("BEGIN"), complete("SET"), complete("COMMIT"), ready('I'), row("1"), selected, ready('I'))
		who.client, who.actions, who.server = nil, nil, nil
		who.sends(query("select 2"))
		c.takenBy(who, pools.Admin)
		if got := spell(who.server); strings.Contains(got, "role") {
			t.Errorf("its own is in place: the server got %s", got)
		}
		who.answers(row("1"), selected, ready('I'))
	}
}

// A role that an error has put in doubt must be found, though no view shows it: the next client would act as that role.
func TestARoleInDoubtIsAskedForByName(t *testing.T) {
	for _, own := range []bool{false, true} {
		question := string(appendAskSetting(nil, roleSetting, true, "postgres", own))
		if strings.Contains(question, "pg_settings") || !strings.Contains(question, "current_setting") {
			t.Errorf("own: %t: %s", own, question)
		}
	}
}

// A question of ours may fail, as anybody may cancel by its process id what a server runs: it is asked again, and not for ever.
func TestAQuestionThatIsCanceledIsAskedAgain(t *testing.T) {
	for _, hears := range []bool{true, false} {
		c := newConversation(t)
		c.sends(query("set work_mem = '1MB'"))
		c.granted(pools.Admin)
		c.answers(complete("SET"), ready('I'))
		c.client, c.server = nil, nil
		c.sends(query("select 1"))
		for range askAgain {
			c.wantNothing("the client has to wait")
			c.answers(failed("57014", "canceling statement due to user request"), ready('I'))
			if !strings.HasPrefix(string(c.server), "Q") {
				t.Fatalf("it is not asked again: %q", c.server)
			}
			c.server = nil
		}
		if hears {
			c.answers(row("s", "work_mem", "1MB"), selected, ready('I'))
			c.wantAction("all is known", Action{Op: Release})
			c.granted(pools.Admin)
			c.wantServer("and the client goes on", putting("work_mem", "1MB"), query("select 1"))
			continue
		}
		c.answers(failed("57014", "canceling statement due to user request"), ready('I'))
		c.wantClient("nobody knows what the setting is", fatal("57P01", "lockproxy: the server could not say what the session holds"))
	}
}

// What is cancelled by its process id may be ours: whatever was sent behind it must not run without it, or not be believed.
func TestWhatIsCanceledInPlaceOfTheClients(t *testing.T) {
	cancelled := failed("57014", "canceling statement due to user request")
	t.Run("the beginning of the settings' block", func(t *testing.T) {
		c := newConversation(t)
		c.sets("set work_mem = '1MB'", "SET", "work_mem", "1MB", c.granted)
		c.sends(query("select 1"))
		c.granted(pools.Admin)
		c.answers(cancelled, ready('I'), row("1MB"), complete("COMMIT"), ready('I'), row("1"), selected, ready('I'))
		c.wantClient("they are in place all the same", row("1"), selected, ready('I'))
	})
	t.Run("the settings", func(t *testing.T) {
		c := newConversation(t)
		c.sets("set work_mem = '1MB'", "SET", "work_mem", "1MB", c.granted)
		c.sends(query("select 1"))
		c.granted(pools.Admin)
		c.answers(complete("BEGIN"), ready('T'), cancelled, ready('E'), failed("25P02", "aborted"), ready('E'))
		c.wantClient("nothing has run without them", cancelled, ready('I'))
	})
	t.Run("settings that change nothing's meaning", func(t *testing.T) {
		c := newConversation(t)
		c.sets("set application_name = 'a'", "SET", "application_name", "a", c.granted)
		c.sends(query("select 1"))
		c.granted(pools.Admin)
		c.answers(cancelled, ready('I'))
		e := protocol.ReadError(c.client[protocol.HeadSize:])
		if e.Code != "08006" || !strings.Contains(e.Message, "settings could not be put in place") {
			t.Errorf("the client was told %v", e)
		}
	})
	t.Run("the beginning of a transaction", func(t *testing.T) {
		c := newConversation(t)
		c.sends(query("begin"), query("select 1"))
		c.granted(pools.Admin)
		c.client = nil
		c.answers(cancelled, ready('I'), row("1"), selected, ready('I'))
		e := protocol.ReadError(c.client[protocol.HeadSize:])
		if e.Code != "08006" || !strings.Contains(e.Message, "could not begin") || !strings.HasSuffix(string(c.client), string(ready('E'))) {
			t.Errorf("the client was told %s", spell(c.client))
		}
	})
}

// A unit that waits until something is made for it is not the server's yet when its settings turn out to be refused.
func TestRefusedSettingsBeforeAStatementThatHasToBeMade(t *testing.T) {
	c := newConversation(t)
	c.prepares("a", "select $1", "lockproxy_1", c.granted)
	c.sets("set app.x = '1'", "SET", "app.x", "1", c.again)
	c.sends(query("execute a"))
	c.granted(pools.Admin)
	c.server = nil
	bad, aborted := failed("42501", "permission denied to set parameter"), failed("25P02", "aborted")
	c.answers(complete("BEGIN"), ready('T'), bad, ready('E'), aborted, ready('E'))
	c.wantServer("the client's text is refused", query(failing))
	c.answers(aborted, ready('E'))
	c.wantClient("for that reason", refusedSetting("42501", "permission denied to set parameter"), ready('I'))
	c.wantAction("the server is not given to anybody", Action{Op: Remove})
}
