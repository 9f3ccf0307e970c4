package session

import (
	"testing"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// withDefaultsOf gives a conversation on a server that has its client's startup parameters in place.
func withDefaultsOf(t *testing.T, list ...Setting) *conversation {
	c := newConversation(t)
	c.s.defaults = NewSettings(list)
	c.s.state.settings = c.s.defaults
	c.s.state.told = c.s.state.told.With("client_encoding", "UTF8")
	c.sends(query("begin"), query("select 1"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'))
	for range list {
		c.answers(row("x"))
	}
	c.answers(complete("COMMIT"), ready('I'), complete("BEGIN"), ready('T'), row("1"), selected, ready('T'))
	c.client, c.server, c.actions = nil, nil, nil
	return c
}

func TestAResetInATextIsFollowedByTheSessionsOwnDefault(t *testing.T) {
	c := withDefaultsOf(t, Setting{"datestyle", "German"}, Setting{"search_path", "a,b"})
	c.sends(query("select 'é'; reset datestyle; reset all -- b\n; x"))
	c.wantServer("a SET where that says the same", query(`select 'é'; reset datestyle;SET "datestyle" TO E'German'; reset all;SET "datestyle" TO E'German';`+
		`SELECT pg_catalog.set_config( E'search_path', E'a,b',false) -- b`+"\n; x"))
	c.answers(row("é"), complete("SELECT 1"), complete("RESET"), complete("SET"), complete("RESET"), complete("SET"), row("a,b"), complete("SELECT 1"))
	c.wantClient("nobody hears of ours", row("é"), complete("SELECT 1"), complete("RESET"), complete("RESET"))
	c.answers(failedAt("165"), ready('E'))
	c.wantClient("an error counts the client's characters", failedAt("47"), ready('E'))
}

func TestPlacesOfErrorsAreThoseOfTheClientsText(t *testing.T) {
	a := &added{places: []addition{{at: 10, size: 5}, {at: 20, size: 7}}}
	for sent, want := range map[int]int{0: 0, 10: 10, 11: 10, 15: 10, 16: 11, 25: 20, 30: 20, 32: 20, 33: 21} {
		if got := a.before(sent); got != want {
			t.Errorf("%d: %d, want %d", sent, got, want)
		}
	}
}

func TestListsOfNamesAreSetWordForWord(t *testing.T) {
	for value, want := range map[string]string{
		`a`:            `SET "search_path" TO E'a'`,
		`"$user", a`:   `SET "search_path" TO E'$user', E'a'`,
		`"a""b, c", d`: `SELECT pg_catalog.set_config( E'search_path', E'"a""b, c", d',false)`,
		`"a""b"`:       `SET "search_path" TO E'a"b'`,
		`a,b`:          `SELECT pg_catalog.set_config( E'search_path', E'a,b',false)`,
		`A`:            `SELECT pg_catalog.set_config( E'search_path', E'A',false)`,
		``:             `SELECT pg_catalog.set_config( E'search_path', E'',false)`,
		`"a`:           `SELECT pg_catalog.set_config( E'search_path', E'"a',false)`,
	} {
		if got := string(appendOwn(nil, Setting{"search_path", value}, false)); got != want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
}

// failedAt is a syntax error at a character of the text.
func failedAt(position string) []byte {
	return message(protocol.ErrorResponse, "SERROR\x00VERROR\x00C42601\x00Msyntax error\x00P"+position+"\x00\x00")
}

func TestWhatADiscardLeftIsNotTakenForWhatTheClientHasSet(t *testing.T) {
	own := NewSettings([]Setting{{"app.user_id", "7"}, {roleSetting, "writer"}})
	bare := []told{{Setting{"app.user_id", ""}, true}, {Setting{roleSetting, noRole}, true}}
	for _, c := range []struct {
		rule          string
		inPlace, want *Settings
	}{
		{"behind DISCARD ALL that is the server's default", nil, own},
		{"where they were in place the client has set them", own, NewSettings([]Setting{{"app.user_id", ""}, {roleSetting, noRole}})},
	} {
		s := New(&Config{}, &Client{Settings: own})
		s.srv = NewServer(99, nil, s.now)
		s.srv.settings = c.inPlace
		s.settingsHeard(&heard{every: true, settings: bare})
		if !s.state.settings.Equal(c.want) {
			t.Errorf("%s: %v", c.rule, s.state.settings.All())
		}
	}
}
