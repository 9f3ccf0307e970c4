package sql

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func TestPreparedStatementsAreFollowedInOrder(t *testing.T) {
	long := strings.Repeat("a", 62)
	for _, c := range []struct {
		text string
		want []PreparedOp
	}{
		{"PREPARE a AS SELECT 1", []PreparedOp{{Name: "a"}}},
		{"PREPARE A(int, numeric(1, 2)) AS SELECT pg_advisory_lock($1)", []PreparedOp{{Name: "a", Types: 2, Effects: SessionAcquire}}},
		{"PREPARE a(int[], b.c, timestamp (3) with time zone) AS SELECT (1, 2)", []PreparedOp{{Name: "a", Types: 3}}},
		{"PREPARE a(int, unknown, text) AS SELECT 1", []PreparedOp{{Name: "a"}}},
		{`PREPARE "A ""b""" AS SELECT 1`, []PreparedOp{{Name: `A "b"`}}},
		{"PREPARE a AS SELECT setseed(0)", []PreparedOp{{Name: "a", Touches: TouchSeed}}},
		{`PREPARE U&"\0061!0062" UESCAPE '!' AS SELECT 1`, []PreparedOp{{Name: `\0061b`}}},
		{`PREPARE U&"\0061\\\D83D\DE00" AS SELECT 1`, []PreparedOp{{Name: "a\\\U0001F600"}}},
		{"PREPARE transaction AS SELECT 1", []PreparedOp{{Name: "transaction"}}},
		{"PREPARE a AS SELECT set_config('b', $1, false)", []PreparedOp{{Name: "a", Touches: TouchSettings, Settings: []Setting{{Name: "b", Null: true}}}}},
		{"PREPARE TRANSACTION 'a'", nil},
		{"PREPARE " + long + "bcd AS SELECT 1", []PreparedOp{{Name: long + "b"}}},
		{"PREPARE " + long + "\u00e4 AS SELECT 1", []PreparedOp{{Name: long}}},
		{`PREPARE "` + long + "\u00e4\" AS SELECT 1", []PreparedOp{{Name: long}}},
		{"EXECUTE a", []PreparedOp{{Op: OpExecute, Name: "a", Bare: true, Runs: true}}},
		{"EXECUTE a(1, pg_advisory_lock(2))", []PreparedOp{{Op: OpExecute, Name: "a", Runs: true}}},
		{"CREATE TABLE b AS EXECUTE a(1)", []PreparedOp{{Op: OpExecute, Name: "a", Runs: true}}},
		{"CREATE TEMP TABLE b (c, d) ON COMMIT DROP AS EXECUTE a", []PreparedOp{{Op: OpExecute, Name: "a", Bare: true, Runs: true}}},
		{"EXPLAIN EXECUTE a", []PreparedOp{{Op: OpExecute, Name: "a", Bare: true}}},
		{"EXPLAIN (ANALYZE) EXECUTE a", []PreparedOp{{Op: OpExecute, Name: "a", Bare: true, Runs: true}}},
		{"EXPLAIN CREATE TABLE b AS EXECUTE a", []PreparedOp{{Op: OpExecute, Name: "a", Bare: true}}},
		{"EXPLAIN ANALYZE CREATE TABLE b AS EXECUTE a", []PreparedOp{{Op: OpExecute, Name: "a", Bare: true, Runs: true}}},
		{"DEALLOCATE a", []PreparedOp{{Op: OpDeallocate, Name: "a"}}},
		{"DEALLOCATE PREPARE a", []PreparedOp{{Op: OpDeallocate, Name: "a"}}},
		{"DEALLOCATE prepare", []PreparedOp{{Op: OpDeallocate, Name: "prepare"}}},
		{"DEALLOCATE ALL", []PreparedOp{{Op: OpDeallocateAll}}},
		{"DEALLOCATE PREPARE ALL;", []PreparedOp{{Op: OpDeallocateAll}}},
		{`DEALLOCATE "all"`, []PreparedOp{{Op: OpDeallocate, Name: "all"}}},
		{"SELECT 1; PREPARE a AS SELECT 1; EXECUTE a; DEALLOCATE a", []PreparedOp{{Name: "a"},
			{Op: OpExecute, Name: "a", Runs: true, Bare: true}, {Op: OpDeallocate, Name: "a"}}},
		{"CREATE TRIGGER a AFTER INSERT ON b EXECUTE FUNCTION c()", nil},
		{"DO $$ BEGIN EXECUTE 'a'; END $$", nil},
		{"GRANT EXECUTE ON FUNCTION a TO b", nil},
	} {
		got := read(t, c.text).Prepared
		for i := range got {
			got[i].Index, got[i].Text, got[i].Query = 0, Span{}, 0
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.text, got, c.want)
		}
	}
}

func TestEffectsOfPrepareAreThoseOfItsOwnStatement(t *testing.T) {
	u := read(t, "SELECT pg_advisory_unlock(1); PREPARE a AS SELECT pg_advisory_lock(1); SELECT 1")
	if len(u.Prepared) != 1 || u.Prepared[0].Effects != SessionAcquire || u.Lock != SessionAcquire|SessionRelease {
		t.Errorf("%+v", u)
	}
}

func TestStatementsOfPrepareAreFoundInTheText(t *testing.T) {
	text := "SELECT 1;; PREPARE a AS SELECT ';' ; DEALLOCATE a; PREPARE b AS SELECT 2"
	u := read(t, text)
	var got []string
	for _, op := range u.Prepared {
		got = append(got, strconv.Itoa(op.Index)+" "+text[op.Text.From:op.Text.To]+"|"+text[op.Text.From+op.Query:op.Text.To])
	}
	want := []string{"1 PREPARE a AS SELECT ';' |SELECT ';' ", "2 |", "3 PREPARE b AS SELECT 2|SELECT 2"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
