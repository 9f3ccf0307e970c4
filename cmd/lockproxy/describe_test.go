package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// update writes the files that are made from the code and compared with it.
var update = flag.Bool("update", false, "write the files that are compared, as they should be")

// wantFile compares a file of the project with what it should be, or writes it.
func wantFile(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) == want {
		return
	}
	gotLines, wantLines := strings.Split(string(got), "\n"), strings.Split(want, "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Fatalf("%s:%d: is not what the code says (go test ./cmd/lockproxy -update writes it)\ngot  %s\nwant %s",
				path, i+1, gotLines[i], wantLines[i])
		}
	}
	t.Fatalf("%s has %d lines, want %d (go test ./cmd/lockproxy -update writes it)", path, len(gotLines), len(wantLines))
}

var projectsFile = filepath.Join("..", "..", defaultPath)

func TestSettingsInTheProjectsFile(t *testing.T) {
	wantFile(t, projectsFile, exampleFile())
}

func TestSettingsInTheDocumentation(t *testing.T) {
	wantFile(t, filepath.Join("..", "..", "docs", "settings.md"), settingsPage())
}

func TestSettingsCommandPrintsTheProjectsFile(t *testing.T) {
	if status, out, err := program(t, "settings"); status != 0 || out != exampleFile() || err != "" {
		t.Errorf("got exit status %d, %q, %q", status, out, err)
	}
}

func TestSettingsHaveAMeaningEach(t *testing.T) {
	for _, section := range described() {
		for _, s := range section.settings {
			if s.meaning == "" || strings.HasSuffix(s.meaning, ".") || s.bind.takes == "" {
				t.Errorf("%s.%s: the meaning is a text without a full stop, and what it takes is told; got %q, %q",
					section.name, s.name, s.meaning, s.bind.takes)
			}
		}
	}
}

const pageHeader = `# Settings

lockproxy reads one file, ` + "`lockproxy.toml`" + ` in the current folder or the one that ` + "`--config`" + ` names, in
[TOML](https://toml.io). Each setting has a default: a file says only what is to differ. This page and
[lockproxy.toml](../lockproxy.toml) are made from the program's own table, by ` + "`go test ./cmd/lockproxy -run Settings -update`" + `;
` + "`lockproxy settings`" + ` prints the file.

* A duration is a number and a unit: ` + "`500ms`, `30s`, `5m`, `1h30m`" + `.
* An environment variable wins over the file; an empty one counts as not set.
* ` + "`LOCKPROXY_UPSTREAM`" + ` is the url of ` + "`databases.\"*\"`" + `: with it alone no file is needed.
* A mistake is told with file, line and setting, all of them at once; an unknown setting is a mistake.
  ` + "`lockproxy check`" + ` tells them without starting anything, and looks at the databases as well.
`

// settingsPage is docs/settings.md.
func settingsPage() string {
	var out strings.Builder
	out.WriteString(pageHeader)
	for _, section := range described() {
		fmt.Fprintf(&out, "\n## [%s]\n", section.name)
		if section.meaning != "" {
			fmt.Fprintf(&out, "\n%s\n", section.meaning)
		}
		for _, s := range section.settings {
			s.writeEntry(&out, section.name)
		}
	}
	return out.String()
}

func (s setting) writeEntry(out *strings.Builder, table string) {
	fmt.Fprintf(out, "\n### %s.%s\n\n", table, s.name)
	fmt.Fprintf(out, "%s%s.\n\n", strings.ToUpper(s.meaning[:1]), s.meaning[1:])
	facts := []string{"default `" + s.standard() + "`"}
	if s.fallback == nil {
		facts = []string{"must be set, for example `" + s.standard() + "`"}
	}
	facts = append(facts, strings.ReplaceAll(s.bind.takes, `"`, "`"))
	if variable := variableOf(table + "." + s.name); variable != "" {
		facts = append(facts, "environment `"+variable+"`")
	}
	if s.restart {
		facts = append(facts, "changes with a restart only")
	}
	fmt.Fprintf(out, "*%s*\n", strings.Join(facts, " · "))
}
