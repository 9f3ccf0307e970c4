package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/lockproxy/lockproxy/"

// arrows says which of our packages each of our packages may import. A new package needs a line here, so that somebody
// thinks about its place; one that does not exist yet is no fault.
var arrows = map[string][]string{
	"cmd/lockproxy": {"proxy", "pools", "pools/backend", "spelling", "test/postgres"},
	"proxy": {"proxy/session", "proxy/login", "proxy/console", "proxy/link", "pools", "pools/backend",
		"protocol"},
	"proxy/session":     {"protocol", "protocol/sql", "pools"},
	"proxy/login":       {"protocol", "proxy/link"},               // TLS begins in a login, and goes on over a link
	"proxy/console":     {"protocol", "protocol/sql", "spelling"}, // it speaks the protocol in a server's place
	"proxy/link":        {},
	"pools":             {},
	"pools/backend":     {},
	"protocol":          {},
	"protocol/sql":      {},
	"spelling":          {},
	"test/postgres":     {},
	"test/authority":    {},
	"test/differential": {"proxy", "pools", "protocol", "test/postgres"},
	"test/project":      {},
	"test/bench":        {"test/postgres", "test/authority", "test/project"},
	"test/chaos":        {"test/authority", "test/postgres", "test/project"},
	"test/compat":       {"proxy", "pools", "test/postgres", "test/authority", "test/differential", "test/project"},

	"test/compat/drivers/go/pgx": {},
	"test/compat/drivers/go/pq":  {},
}

// kindsAndRefusals is what proxy/session may use of pools: it asks for backends, but has none and runs no pool.
var kindsAndRefusals = []string{"Kind", "Admin", "Lock", "Refusal", "Cause", "Timeout", "QueueFull", "DialFailed",
	"PromotionBusy", "Closed"}

// automata are the packages that do nothing but turn inputs into outputs. Time comes in as an argument.
var automata = []string{"protocol", "protocol/sql", "pools", "proxy/session"}

// forbiddenImports are what an automaton has no use for: sockets, files, other goroutines, chance. What is below a path
// counts as well.
var forbiddenImports = []string{"net", "os", "sync", "syscall", "math/rand", "crypto/rand", "io/ioutil", "unsafe",
	"golang.org/x/sys", "golang.org/x/sync"}

// clocks are the functions of package time that read a clock or wait.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}

// source is one file that is not a test.
type source struct {
	folder, path string // Relative to the root of the project.
	file         *ast.File
	set          *token.FileSet
}

func (s source) at(node ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.set.Position(node.Pos()).Line)
}

// imports maps the names of the file's imports to their paths.
func (s source) imports() map[string]string {
	names := map[string]string{}
	for _, spec := range s.file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value) // The parser has read it.
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
	}
	return names
}

// sources parses the files of the project that are not tests, for every system.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	root := ".."
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
			return fs.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		s := source{folder: filepath.ToSlash(filepath.Dir(relative)), path: relative, set: token.NewFileSet()}
		s.file, err = parser.ParseFile(s.set, path, nil, parser.SkipObjectResolution)
		all = append(all, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no source files found")
	}
	return all
}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	for _, s := range sources(t) {
		allowed, known := arrows[s.folder]
		if !known && !strings.HasPrefix(s.folder, "test/") {
			t.Errorf("%s: the package %s is not in the table of imports", s.path, s.folder)
			continue
		}
		for _, path := range slices.Sorted(maps.Values(s.imports())) {
			if ours, found := strings.CutPrefix(path, module); found && known && !slices.Contains(allowed, ours) {
				t.Errorf("%s: %s may not import %s", s.path, s.folder, ours)
			}
		}
	}
}

func TestTableOfImportsHasNoCycle(t *testing.T) {
	var visit func(name string, above []string)
	visit = func(name string, above []string) {
		if slices.Contains(above, name) {
			t.Errorf("a cycle: %v", append(above, name))
			return
		}
		if _, known := arrows[name]; !known {
			t.Errorf("%s is imported, but has no line of its own", name)
		}
		for _, below := range arrows[name] {
			visit(below, append(slices.Clone(above), name))
		}
	}
	for name := range arrows {
		visit(name, nil)
	}
}

func TestAutomataDoNoInputAndOutput(t *testing.T) {
	for _, s := range sources(t) {
		if slices.Contains(automata, s.folder) {
			for _, fault := range faults(s) {
				t.Error(fault)
			}
		}
	}
}

// faults lists what an automaton may not do.
func faults(s source) []string {
	var found []string
	imports := s.imports()
	for _, path := range imports {
		for _, forbidden := range forbiddenImports {
			if path == forbidden || strings.HasPrefix(path, forbidden+"/") {
				found = append(found, fmt.Sprintf("%s: an automaton may not import %s", s.path, path))
			}
		}
	}
	ast.Inspect(s.file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.GoStmt:
			found = append(found, fmt.Sprintf("%s: an automaton starts no goroutine", s.at(node)))
		case *ast.SelectorExpr:
			if name, ok := node.X.(*ast.Ident); ok && imports[name.Name] == "time" && slices.Contains(clocks, node.Sel.Name) {
				found = append(found, fmt.Sprintf("%s: an automaton does not use time.%s", s.at(node), node.Sel.Name))
			}
		}
		return true
	})
	return found
}

// CVE-2026-4427, GHSA-jqcq-xjh3-6g23 (GO-2026-4518): pgproto3/v2 panics on messages with negative lengths, and has no version that
// does not. Here it builds messages and reads none.
func TestNothingIsDecodedByPgproto3(t *testing.T) {
	const path = "github.com/jackc/pgproto3/v2"
	for _, s := range sources(t) {
		imported := s.imports()
		if !slices.Contains(slices.Collect(maps.Values(imported)), path) {
			continue
		}
		ast.Inspect(s.file, func(node ast.Node) bool {
			if used, ok := node.(*ast.SelectorExpr); ok && slices.Contains([]string{"Decode", "NewBackend", "NewFrontend", "NewChunkReader"}, used.Sel.Name) {
				t.Errorf("%s: %s of %s", s.at(used), used.Sel.Name, path)
			}
			return true
		})
	}
}

func TestSessionsKnowOnlyKindsOfPoolsAndRefusals(t *testing.T) {
	for _, s := range sources(t) {
		if s.folder != "proxy/session" {
			continue
		}
		imports := s.imports()
		ast.Inspect(s.file, func(node ast.Node) bool {
			selector, ok := node.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			name, ok := selector.X.(*ast.Ident)
			if ok && imports[name.Name] == module+"pools" && !slices.Contains(kindsAndRefusals, selector.Sel.Name) {
				t.Errorf("%s: a session may not use pools.%s", s.at(node), selector.Sel.Name)
			}
			return true
		})
	}
}

// The rules above are worth something only if a file that breaks them is found.
func TestFaultsOfAnAutomatonAreFound(t *testing.T) {
	for _, c := range []struct {
		text string
		want int
	}{
		{`package p; import "time"; func f(now time.Time) time.Time { return now.Add(time.Second) }`, 0},
		{`package p; func f() { go f() }`, 1},
		{`package p; import "sync"; var m sync.Mutex`, 1},
		{`package p; import "sync/atomic"; var n atomic.Int64`, 1},
		{`package p; import "net/netip"; var a netip.Addr`, 1},
		{`package p; import "os"; import "math/rand/v2"; var a, b = os.Args, rand.Int()`, 2},
		{`package p; import "time"; var start = time.Now()`, 1},
		{`package p; import clock "time"; func f() { clock.Sleep(1); <-clock.After(1) }`, 2},
		{`package p; import "network"; var time struct{ Now int }; var a = time.Now`, 0},
	} {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, "p.go", c.text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := faults(source{path: "p.go", file: file, set: set}); len(got) != c.want {
			t.Errorf("%s\nhas %d faults, got %q", c.text, c.want, got)
		}
	}
}
