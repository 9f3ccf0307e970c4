package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestTestsThatConsistOfOthersAreNotCounted(t *testing.T) {
	got := leaves(outcomes{
		"p.A": "pass", "p.A/1": "pass", "p.A/2": "skip",
		"p.B": "fail", "p.B/1": "fail", "p.B/1/x": "fail", "p.B/2": "pass",
		"p.C": "fail", "p.C/1": "pass", // failed after its part
	})
	want := outcomes{"p.A/1": "pass", "p.A/2": "skip", "p.B/1/x": "fail", "p.B/2": "pass", "p.C": "fail", "p.C/1": "pass"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}

func TestWhoEndedTheProcess(t *testing.T) {
	const underway = `{"Action":"run","Test":"A"}
{"Action":"run","Test":"B"}
{"Action":"pause","Test":"B"}
`
	for _, c := range []struct {
		name, events string
		want         outcomes
	}{
		{"it says so", underway + `{"Action":"run","Test":"C"}` + "\n" + `{"Action":"fail","Test":"C"}`, outcomes{"p.C": "fail"}},
		{"the one under way", "words\n" + underway + `{"Action":"fail"}`, outcomes{"p.A": "fail"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := outcomes{}
			if err := readEvents(strings.NewReader(c.events), "p.", got); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v %v", got, err)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	j := &judge{
		expected: map[string]string{"p.Listed": "why", "p.Better": "why"},
		through: outcomes{
			"p.Good": "pass", "p.Listed/1": "fail", "p.Better": "pass", "p.Busy": "fail", "p.Ours": "fail", "p.Theirs": "fail", "p.No": "skip",
		},
		again:  outcomes{"p.Busy": "pass", "p.Ours": "fail", "p.Theirs": "fail"},
		direct: outcomes{"p.Ours": "pass", "p.Theirs": "fail"},
	}
	want := result{passed: 3, failed: []string{"p.Ours"}, listed: 1, notes: []string{
		"1 fail directly as well: p.Theirs", "1 passed at the second try: p.Busy", "1 are listed, and passed: p.Better",
	}}
	if got := j.verdict(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestEveryListHasReasons(t *testing.T) {
	for _, list := range []string{"pgx.txt", "pq.txt", "node-postgres.txt"} {
		if _, err := newJudge(list); err != nil {
			t.Error(err)
		}
	}
}
