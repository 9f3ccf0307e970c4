package main

import (
	"bufio"
	"encoding/json"
	"io"
	"iter"
	"maps"
	"slices"
)

// readEvents adds what `go tool test2json` says of a process's tests. When one ended the process, it is not known of those
// then under way which it was, unless it says so as a failure: they count as failed only if nothing else failed.
func readEvents(events io.Reader, prefix string, all outcomes) error {
	underway, failed := map[string]bool{}, false
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event struct{ Action, Test string }
		if json.Unmarshal(lines.Bytes(), &event) != nil || event.Test == "" {
			continue // of the whole process, or written to standard error
		}
		switch event.Action {
		case "pass", "fail", "skip":
			all[prefix+event.Test] = event.Action
			failed = failed || event.Action == "fail"
			delete(underway, event.Test)
		case "run", "cont":
			underway[event.Test] = true
		case "pause":
			delete(underway, event.Test)
		}
	}
	if !failed {
		for test := range underway {
			all[prefix+test] = "fail"
		}
	}
	return lines.Err()
}

// leaves takes out the tests that consist of others, unless one failed without any of them.
func leaves(all outcomes) outcomes {
	left := maps.Clone(all)
	failed := map[string]bool{}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(all))) {
		for above := range parents(name) {
			failed[above] = failed[above] || all[name] == "fail"
			if all[above] != "fail" || failed[above] {
				delete(left, above)
			}
		}
	}
	return left
}

// parents are the tests that a test is a part of.
func parents(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range len(name) {
			if name[i] == '/' && !yield(name[:i]) {
				return
			}
		}
	}
}
