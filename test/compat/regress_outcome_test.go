package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

const printed = `============== running regression test queries        ==============
test tablespace                   ... ok          110 ms
parallel group (3 tests):  guc stats random
     guc                          ... FAILED       85 ms
     stats                        ... FAILED (test process exited with exit code 2)     8 ms
     random                       ... failed (ignored)  22 ms
test temp                         ... FAILED       85 ms
`

const differences = `diff -U3 /source/expected/guc.out /cache/results/guc.out
--- /source/expected/guc.out	2026-05-11
+++ /cache/results/guc.out	2026-05-11
@@ -526,11 +526,7 @@
-WARNING
@@ -551,9 +547,9 @@
+ERROR
diff -U3 /source/expected/temp_1.out /cache/results/temp.out
--- /source/expected/temp_1.out	2026-05-11
+++ /cache/results/temp.out	2026-05-11
@@ -409,4 +409,3 @@
`

func TestOutcomesOfPostgresOwnTests(t *testing.T) {
	got := readOutcomes(printed, differences)
	want := map[string]outcome{
		"tablespace": {passed: true}, "guc": {places: 2}, "stats": {}, "random": {}, "temp": {places: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestListOfTestsThatMustDiffer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte("# What they are.\n\nguc 1: its reason\nstats: another: reason\nrandom? 3: chance\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readList(file)
	want := map[string]expected{
		"guc": {places: 1, reason: "its reason"}, "stats": {reason: "another: reason"},
		"random": {places: 3, chance: true, reason: "chance"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v, %v\nwant %v", got, err, want)
	}
	for _, name := range []string{"regress.txt", "isolation.txt"} {
		if _, err := readList(filepath.Join("regress", name)); err != nil {
			t.Error(err)
		}
	}
}

func TestCompareWithTheDirectConnection(t *testing.T) {
	direct := map[string]outcome{
		"same": {passed: true}, "never": {}, "differs": {passed: true}, "listed": {passed: true}, "more": {passed: true},
		"mended": {passed: true}, "missing": {passed: true}, "lucky": {passed: true},
	}
	through := map[string]outcome{
		"same": {passed: true}, "never": {}, "differs": {places: 3}, "listed": {places: 1}, "more": {places: 2}, "mended": {passed: true}, "lucky": {passed: true},
	}
	r := compare(direct, through, map[string]expected{
		"listed": {places: 1, reason: "why"}, "more": {places: 1}, "mended": {reason: "why"}, "lucky": {chance: true},
	})
	want := result{passed: 2, listed: 1, failed: []string{
		"differs: passes directly, differs in 3 places, 0 of them listed",
		"mended: passes, though it is listed: why",
		"missing: did not run",
		"more: passes directly, differs in 2 places, 1 of them listed",
	}}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %v\nwant %v", r, want)
	}
}
