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

// elsewhere are programs that documentation names and that cannot do here what they are told: there is no Docker engine, no
// cluster and no systemd, and what make is told to do is what this test is a part of. lookUp says what is done instead.
var elsewhere = []string{"docker", "kubectl", "systemctl", "go", "make"}

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

// isRun are the marks of blocks that are run: by the shell, in the console, and at the server as its superuser.
var isRun = []string{"sh", "console", "sql"}

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
		if !slices.ContainsFunc(blocks, func(b block) bool { return slices.Contains(isRun, b.mark) }) {
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
	url     string // Of the server, as its superuser.
	server  func() // Ends what runs in the background; nil if nothing does.
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
	folder, err := os.MkdirTemp("", "page") // T.TempDir's is too long for the name of a socket.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	r := &reader{t: t, folder: folder, program: program, port: port, url: server.URL("postgres")}
	deploy, err := filepath.Abs("../deploy")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(deploy, filepath.Join(folder, "deploy")); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"run", "units", "sysusers"} {
		if err := os.Mkdir(filepath.Join(folder, made), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	upstream := fmt.Sprint(server.Port)
	r.replace = strings.NewReplacer("127.0.0.1:5432", "127.0.0.1:"+upstream, "port=5432", "port="+upstream, "6432", port,
		"db.example.com:5432", "127.0.0.1:"+upstream, "@db:5432", "@127.0.0.1:"+upstream, "sslmode=require", "sslmode=prefer", "bin/lockproxy", "lockproxy",
		"/run/lockproxy -p 6432", folder+"/run -p 6432", "/run/lockproxy", folder+"/run", "/etc/systemd/system/", folder+"/units/", "/etc/sysusers.d/", folder+"/sysusers/",
		"systemd-sysusers", "sysusers", "$(pidof lockproxy)", "$(cat pid)")
	t.Cleanup(r.end)
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
		if slices.Contains(isRun, b.mark) {
			r.run(b)
		}
	}
}

// end ends what runs in the background.
func (r *reader) end() {
	if r.server != nil {
		r.server()
	}
	r.server = nil
}

// wantsServer begins a lockproxy for a block that asks for one, on a page that shows none.
func (r *reader) wantsServer(b block) {
	if r.server != nil {
		return
	}
	file := r.replace.Replace("[server]\nlisten = [\"127.0.0.1:6432\", \"/run/lockproxy\"]\n[console]\nadmin_users = [\"app\"]\n" +
		"[databases.app]\nurl = \"postgres://app:secret@127.0.0.1:5432/app\"\n")
	if err := os.WriteFile(filepath.Join(r.folder, "default.toml"), []byte(file), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.serve(b, []string{"lockproxy", "serve", "--config", "default.toml"})
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
	switch {
	case b.mark == "sql":
		r.script(b, "psql -qv ON_ERROR_STOP=1 '"+r.url+"' <<'SQL'\n"+b.text+"SQL")
		return
	case b.mark == "console":
		r.wantsServer(b)
		r.script(b, r.replace.Replace("psql -qv ON_ERROR_STOP=1 postgres://app:secret@127.0.0.1:6432/lockproxy <<'SQL'\n"+b.text+"SQL"))
		return
	case strings.Contains(b.text, "pidof lockproxy"), strings.Contains(b.text, "psql -h"):
		r.wantsServer(b)
	}
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

// lookUp does as much of a command as can be done here.
func (r *reader) lookUp(b block, words []string) {
	if comment := slices.Index(words, "#"); comment > 0 {
		words = words[:comment]
	}
	where := fmt.Sprintf("%s:%d: %s", b.page, b.line, strings.Join(words, " "))
	last := words[len(words)-1]
	for i, word := range words {
		if _, err := os.Stat(filepath.Join("..", word)); err != nil && (strings.HasPrefix(word, "deploy/") || i > 0 && words[i-1] == "-f") {
			r.t.Errorf("%s: %v", where, err)
		}
	}
	switch words[0] {
	case "make": // All that it would do is there.
		mustRun(r.t, command(r.t, time.Minute, "..", "make", append([]string{"-n"}, words[1:]...)...))
	case "go": // The newest version is the one that stands here.
		cmd := command(r.t, 10*time.Minute, "..", words[0], words[1], strings.TrimSuffix(last, "@latest"))
		r.program = r.t.TempDir()
		cmd.Env = append(cmd.Env, "GOBIN="+r.program)
		mustRun(r.t, cmd)
	case "systemctl": // TestSystemdUnderstandsTheUnits looks into the units.
		for _, word := range words[2:] {
			if _, err := os.Stat(filepath.Join(r.folder, "units", word)); err != nil && !strings.HasPrefix(word, "-") {
				r.t.Errorf("%s: %v", where, err)
			}
		}
	case "kubectl": // TestDeploymentFilesAreOfTheirSchemas reads what is applied.
		if words[1] != "apply" {
			r.t.Errorf("%s: not looked up", where)
		}
	case "docker":
		switch {
		case words[1] == "run": // What the container does, the image's ENTRYPOINT and CMD do.
			line := []string{"lockproxy", "serve", "--listen", "127.0.0.1:" + r.port}
			for i, word := range words {
				if words[max(i-1, 0)] == "-e" {
					line = append([]string{word}, line...)
				}
			}
			r.serve(b, line)
		case words[1] == "compose" && words[4] == "run": // TestExampleDeadlocksWithoutLockproxyAndWorksWithIt does what the services do.
			file, err := os.ReadFile(filepath.Join("..", words[3]))
			if err != nil || !strings.Contains(string(file), "\n  "+last+":") {
				r.t.Errorf("%s: there is no service %s: %v", where, last, err)
			}
		case words[1] != "build" && (words[1] != "compose" || words[4] != "down"):
			r.t.Errorf("%s: not looked up", where)
		}
	}
}

func (r *reader) command(args ...string) *exec.Cmd {
	cmd := command(r.t, 2*time.Minute, r.folder, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+r.program+":"+os.Getenv("PATH"), "PGCONNECT_TIMEOUT=30", "PGPASSWORD=secret", "PAGER=")
	return cmd
}

func (r *reader) script(b block, text string) {
	// Without it, as on macOS, there are no users of the system to make.
	sysusers := "sysusers() { command -v systemd-sysusers >/dev/null || return 0; for f in sysusers/*; do systemd-sysusers --dry-run $PWD/$f; done; }\n"
	cmd := r.command("bash", "-euo", "pipefail", "-c", sysusers+text)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Errorf("%s:%d: %v\n%s\n%s", b.page, b.line, err, text, out)
	}
}

// serve begins a server and waits until it listens. It ends the one before.
func (r *reader) serve(b block, words []string) {
	r.end()
	at := slices.Index(words, "lockproxy")
	if (at > 0 || words[at+1] == "run") && !slices.Contains(words, "--listen") { // without a file, which would say where
		words = append(words, "--listen", "127.0.0.1:"+r.port)
	}
	cmd := r.command(append([]string{filepath.Join(r.program, "lockproxy")}, words[at+1:]...)...)
	cmd.Env = append(cmd.Env, words[:at]...)
	in, out := io.Pipe()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.folder, "pid"), fmt.Append(nil, cmd.Process.Pid), 0o600); err != nil {
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

// A command that stands in no block that is run would not be found wrong.
func TestDocumentationHasNoCommandThatIsNotRun(t *testing.T) {
	isCommand := regexp.MustCompile(`^(\$ )?([A-Z_]+=\S+ )*(lockproxy|bin/lockproxy|psql|make|go|git|docker|kubectl|systemctl|kill|cp|curl|openssl|sudo|pg\w+|` +
		`(SHOW|PAUSE|RESUME|RELOAD|RECONNECT|DISABLE|ENABLE|KILL|SHUTDOWN|SET|SELECT|CREATE|ALTER)\b[^|]*;)( |$)`)
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../README.md", "../CONTRIBUTING.md") {
		inside := map[int]bool{}
		for _, b := range blocksOf(t, page) {
			for i, line := range strings.Split(b.text, "\n") {
				inside[b.line+i] = true
				if isCommand.MatchString(line) && line != "lockproxy demo" && (b.mark == "" || b.mark == "text") {
					t.Errorf("%s:%d: %s: not run, since the block is not marked by one of %v", page, b.line+i, line, isRun)
				}
			}
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if code, indented := strings.CutPrefix(line, "    "); indented && !inside[i+1] && isCommand.MatchString(code) {
				t.Errorf("%s:%d: %s: not run, since it stands in no block", page, i+1, code)
			}
		}
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
