package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// elsewhere are programs that documentation may name, but that no test can run: they belong to other machines, or install.
var elsewhere = []string{"docker", "kubectl", "systemctl", "journalctl", "systemd-analyze", "sudo", "apt-get", "git", "go", "make",
	"nginx", "haproxy", "promtool"}

// block is one marked block of a page.
type block struct {
	page string
	line int // Of its first line.
	mark string
	text string
}

// fence is the beginning or the end of a block, perhaps inside a list.
var fence = regexp.MustCompile("^( *)```(.*)$")

// blocksOf reads the blocks of a page.
func blocksOf(t *testing.T, page string) []block {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	var open *block
	indent := ""
	for i, line := range strings.Split(string(text), "\n") {
		at := fence.FindStringSubmatch(line)
		switch {
		case open == nil && at != nil:
			indent = at[1]
			open = &block{page: page, line: i + 2, mark: strings.TrimSpace(at[2])}
		case open != nil && at != nil:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block has no end", page, open.line)
	}
	return all
}

// isFile is the first line of a block that is a file: a comment with its name.
var isFile = regexp.MustCompile(`^[#;] ([\w./-]+\.(?:toml|ini|txt|conf))\n`)

// Documentation is run as it stands: see CONTRIBUTING.md.
func TestDocumentationCommandsRun(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("got %v, %v", pages, err)
	}
	program := builtProgram(t)
	for _, page := range append(pages, "../README.md", "../CONTRIBUTING.md") {
		blocks := blocksOf(t, page)
		if !slices.ContainsFunc(blocks, func(b block) bool { return b.mark == "sh" }) {
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) { newReader(t, program).follow(blocks) })
	}
}

// builtProgram is the folder of a lockproxy that was built of these sources.
func builtProgram(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	mustRun(t, command(t, 10*time.Minute, "..", "go", "build", "-o", filepath.Join(folder, "lockproxy"), "./cmd/lockproxy"))
	return folder
}

// reader does what a page says.
type reader struct {
	t       *testing.T
	folder  string
	program string
	replace *strings.Replacer
	port    string
	server  func() // Ends what runs in the background.
}

func newReader(t *testing.T, program string) *reader {
	server := postgres.Start(t)
	if err := server.CreateUser("app", "secret", postgres.SCRAM); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Query("postgres", "CREATE DATABASE app OWNER app"); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	r := &reader{t: t, folder: t.TempDir(), program: program, port: port, server: func() {}}
	upstream := fmt.Sprint(server.Port)
	r.replace = strings.NewReplacer("127.0.0.1:5432", "127.0.0.1:"+upstream, "port=5432", "port="+upstream, "6432", port,
		"db.example.com:5432", "127.0.0.1:"+upstream, "sslmode=require", "sslmode=prefer", "bin/lockproxy", "lockproxy")
	t.Cleanup(func() { r.server() })
	return r
}

func (r *reader) follow(blocks []block) {
	for _, b := range blocks {
		if at := isFile.FindStringSubmatch(b.text); at != nil && (b.mark == "toml" || b.mark == "ini") {
			text := r.replace.Replace(b.text)
			if b.mark == "toml" && !strings.Contains(text, "listen") {
				text = r.listening(text)
			}
			if err := os.WriteFile(filepath.Join(r.folder, at[1]), []byte(text), 0o600); err != nil {
				r.t.Fatal(err)
			}
		}
		if b.mark == "sh" {
			r.run(b)
		}
	}
}

// listening adds lockproxy's address to a file that leaves it at the default.
func (r *reader) listening(text string) string {
	line := "listen = [\"127.0.0.1:" + r.port + "\"]\n"
	if strings.Contains(text, "[server]\n") {
		return strings.Replace(text, "[server]\n", "[server]\n"+line, 1)
	}
	return "[server]\n" + line + text
}

// run does the lines of a block: together, up to one that begins a server or cannot run here.
func (r *reader) run(b block) {
	var lines []string
	flush := func() {
		if len(lines) > 0 {
			r.script(b, strings.Join(lines, "\n"))
		}
		lines = nil
	}
	for line := range strings.Lines(r.replace.Replace(b.text)) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.Fields(line)
		for len(words) > 0 && isAssignment.MatchString(words[0]) {
			words = words[1:]
		}
		word := ""
		if len(words) > 0 {
			word = words[0]
		}
		switch {
		case slices.Contains(elsewhere, word):
			flush()
			r.lookUp(b, words)
		case len(words) > 1 && word == "lockproxy" && (words[1] == "run" || words[1] == "serve"):
			flush()
			r.serve(b, strings.Fields(line))
		default:
			lines = append(lines, line)
		}
	}
	flush()
}

// isAssignment is a variable's value before a command.
var isAssignment = regexp.MustCompile(`^[A-Z_]+=`)

// lookUp checks of a command that is not run what can be seen of it.
func (r *reader) lookUp(b block, words []string) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		r.t.Fatal(err)
	}
	if words[0] == "make" && len(words) > 1 && !strings.Contains(string(makefile), "\n"+words[1]+":") {
		r.t.Errorf("%s:%d: make has no target %s", b.page, b.line, words[1])
	}
	for _, word := range words {
		if strings.HasPrefix(word, "deploy/") {
			if _, err := os.Stat(filepath.Join("..", word)); err != nil {
				r.t.Errorf("%s:%d: %v", b.page, b.line, err)
			}
		}
	}
}

func (r *reader) command(args ...string) *exec.Cmd {
	cmd := command(r.t, 2*time.Minute, r.folder, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+r.program+":"+os.Getenv("PATH"), "PGCONNECT_TIMEOUT=30")
	return cmd
}

func (r *reader) script(b block, text string) {
	cmd := r.command("bash", "-euo", "pipefail", "-c", text)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Errorf("%s:%d: %v\n%s\n%s", b.page, b.line, err, text, out)
	}
}

// serve begins a server and waits until it listens. It ends the one before.
func (r *reader) serve(b block, words []string) {
	r.server()
	at := slices.Index(words, "lockproxy")
	if at > 0 || words[at+1] == "run" { // without a file, which would say where
		words = append(words, "--listen", "127.0.0.1:"+r.port)
	}
	cmd := r.command(append([]string{filepath.Join(r.program, "lockproxy")}, words[at+1:]...)...)
	cmd.Env = append(cmd.Env, words[:at]...)
	in, out := io.Pipe()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ready, ended := make(chan bool, 1), make(chan struct{})
	var said strings.Builder
	go func() {
		for lines := bufio.NewScanner(in); lines.Scan(); {
			said.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "listening") || strings.Contains(lines.Text(), "listens on") {
				select {
				case ready <- true:
				default:
				}
			}
		}
		close(ended)
	}()
	go func() {
		cmd.Wait()
		out.Close()
	}()
	r.server = sync.OnceFunc(func() {
		cmd.Process.Signal(os.Interrupt)
		<-ended
	})
	select {
	case <-ready:
	case <-ended:
		r.t.Errorf("%s:%d: %s ended:\n%s", b.page, b.line, strings.Join(words, " "), said.String())
	}
}

// A link to another page, or to a place in it, leads somewhere.
func TestDocumentationLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range append(pages, "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range link.FindAllStringSubmatch(string(text), -1) {
			file, _, _ := strings.Cut(at[1], "#")
			if file == "" || strings.Contains(file, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), file)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, at[1])
			}
		}
	}
}
