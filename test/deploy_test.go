package test

import (
	"context"
	"debug/elf"
	"debug/macho"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// command runs a program in a folder of the project for at most the time that is given.
func command(t *testing.T, within time.Duration, folder, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	return cmd
}

func mustRun(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// A release is a static program for each system, that says its version, and the same bytes whoever builds it, wherever.
func TestReleaseRunsAndIsReproducible(t *testing.T) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	files := strings.Fields(mustRun(t, command(t, time.Minute, "..", "git", "ls-files", "-co", "--exclude-standard", "*.go", "go.mod", "go.sum", "Makefile")))
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join("..", file))
		if os.IsNotExist(err) {
			continue // Deleted, and not yet committed.
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(elsewhere, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dist := t.TempDir()
	mustRun(t, command(t, 10*time.Minute, "..", "make", "release", "VERSION=1.2.3", "DIST="+dist))
	sums, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(sums)) {
		names = append(names, strings.Fields(line)[1])
	}
	all := []string{"lockproxy-1.2.3-darwin-amd64", "lockproxy-1.2.3-darwin-arm64", "lockproxy-1.2.3-linux-amd64", "lockproxy-1.2.3-linux-arm64"}
	if !slices.Equal(names, all) {
		t.Errorf("got %v", names)
	}
	for _, name := range names {
		checkRelease(t, filepath.Join(dist, name))
	}
	own := "lockproxy-1.2.3-" + strings.ReplaceAll(platform, "/", "-")
	if !slices.Contains(all, own) {
		t.Skip("no release is for this machine")
	}
	program := filepath.Join(dist, own)
	if out := mustRun(t, command(t, time.Minute, dist, program, "version")); !strings.HasPrefix(out, "lockproxy 1.2.3 (") {
		t.Errorf("got %s", out)
	}
	again := t.TempDir()
	mustRun(t, command(t, 10*time.Minute, elsewhere, "make", "release", "VERSION=1.2.3", "PLATFORMS="+platform, "DIST="+again))
	sum, err := os.ReadFile(filepath.Join(again, "SHA256SUMS"))
	if err != nil || strings.Count(string(sum), "\n") != 1 || !strings.Contains(string(sums), string(sum)) {
		t.Errorf("got %v\n%s and\n%s", err, sums, sum)
	}
}

// checkRelease finds that a program is one of the system that its name says, and that one of Linux asks for no loader.
func checkRelease(t *testing.T, program string) {
	t.Helper()
	if strings.Contains(program, "-darwin-") {
		file, err := macho.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if arm := strings.HasSuffix(program, "-arm64"); arm != (file.Cpu == macho.CpuArm64) {
			t.Errorf("%s is for %s", program, file.Cpu)
		}
		return
	}
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if arm := strings.HasSuffix(program, "-arm64"); arm != (file.Machine == elf.EM_AARCH64) {
		t.Errorf("%s is for %s", program, file.Machine)
	}
	if slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Errorf("%s needs libraries of the system", program)
	}
}

// The image is built as a release is, and runs as nobody.
func TestContainerRecipe(t *testing.T) {
	recipe, err := os.ReadFile("../deploy/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`-trimpath -buildvcs=false -ldflags ['"]-s -w -buildid= -X main.release=`)
	if !flags.Match(recipe) || !flags.Match(makefile) {
		t.Error("the image and the release are built with the same flags")
	}
	last := string(recipe)[strings.LastIndex(string(recipe), "\nFROM "):]
	for _, want := range []string{"FROM scratch\n", "\nUSER 65532:65532\n", "\nENTRYPOINT [\"/lockproxy\"]\n", "\nCMD [\"serve\""} {
		if !strings.Contains(last, want) {
			t.Errorf("the image has no %q", want)
		}
	}
	if module, err := os.ReadFile("../go.mod"); err != nil || !strings.Contains(string(module), "\ngo 1.26.") || !strings.Contains(string(recipe), "FROM golang:1.26 ") {
		t.Errorf("the image has the Go of go.mod, got %v", err)
	}
	ignored, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources(t) {
		if strings.HasPrefix(s.folder, "test/") && s.folder != "test/postgres" || s.folder == "test" {
			continue
		}
		if top := "!" + s.folder; !strings.Contains(string(ignored), "\n"+strings.Split(top, "/")[0]+"\n") && !strings.Contains(string(ignored), "\n"+top+"\n") {
			t.Errorf(".dockerignore keeps %s out of the image's build", s.folder)
		}
	}
}

// What cannot run here is checked against its schema, by a module of its own. A cached result does not count: of files that
// another module has Go does not see that they changed.
func TestDeploymentFilesAreOfTheirSchemas(t *testing.T) {
	if testing.Short() {
		t.Skip("builds Kubernetes' types")
	}
	t.Log(mustRun(t, command(t, 20*time.Minute, "deploy", "go", "test", "-count=1", "./...")))
}

// The application of deploy/compose.yaml, with the numbers that stand there.
func TestExampleDeadlocksWithoutLockproxyAndWorksWithIt(t *testing.T) {
	compose, err := os.ReadFile("../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`CONNECTIONS: "8"`, `CONNECTIONS: "16"`, `DATABASE_POOL_MAX: "4"`, `DATABASE_LOCK_POOL_MAX: "4"`} {
		if !strings.Contains(string(compose), line) {
			t.Errorf("compose.yaml has no %s", line)
		}
	}
	server := postgres.Start(t)
	schema, err := os.ReadFile("../deploy/example/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	for statement := range strings.SplitSeq(string(schema), ";") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := server.Query("postgres", statement); err != nil {
			t.Fatal(err)
		}
	}
	direct := server.UserURL("app", "secret", "app")
	if out, err := example(t, direct, "8"); err == nil || !strings.HasPrefix(out, "DEADLOCK: ") {
		t.Errorf("without lockproxy: got %v, %s", err, out)
	}
	r := startProxyBefore(t, server, sized(4, 4), withDatabase(func(d *proxy.Database) { d.URL = server.UserURL("app", "secret", "") }))
	through := url.URL{Scheme: "postgres", User: url.User("app"), Host: r.server.Addrs()[0].String(), Path: "/app"}
	if out, err := example(t, through.String(), "16"); err != nil || out != "200 of 200 jobs, 200 rows\n" {
		t.Errorf("with lockproxy: got %v, %s", err, out)
	}
}

func example(t *testing.T, url, connections string) (string, error) {
	t.Helper()
	modules, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, patience, "../deploy/example", "node", "app.js")
	cmd.Env = append(cmd.Env, "NODE_PATH="+modules, "DATABASE_URL="+url, "CONNECTIONS="+connections, "PATIENCE_MS=4000")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
