package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
)

// victimVariable turns the test binary into a program that starts a server, tells where it is and waits to be killed.
const victimVariable = "LOCKPROXY_TEST_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(victimVariable) != "" {
		victim()
	}
	goleak.VerifyTestMain(m)
}

func victim() {
	s, err := Run(context.Background(), Config{})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println(s.SocketDir, s.process.cmd.Process.Pid)
	select {} // Until killed.
}

// one is the value that a query for one value gives.
func one(t *testing.T, s *Server, sql string) string {
	t.Helper()
	rows, err := s.Query("postgres", sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s: want one value, got %v", sql, rows)
	}
	return rows[0][0]
}

func TestServerLeavesNothingBehind(t *testing.T) {
	s, err := Run(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	pid := s.process.cmd.Process.Pid
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process %d is gone after Close, want ESRCH, got %v", pid, err)
	}
	if _, err := os.Stat(s.SocketDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is gone after Close, got %v", err)
	}
	if !strings.Contains(s.Log(), "ready to accept connections") {
		t.Errorf("the log can still be read after Close, got %q", s.Log())
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice does nothing, got %v", err)
	}
	if err := s.StartAgain(t.Context()); err == nil {
		t.Error("a closed server does not start again")
	}
}

func TestSettingsReachTheServer(t *testing.T) {
	s := Start(t, MaxConnections(17), Setting("application_name", "it's"), Setting("work_mem", "123kB"))
	for setting, want := range map[string]string{
		"max_connections": "17", "application_name": "it's", "work_mem": "123kB", "fsync": "off",
		"port": strconv.Itoa(s.Port), "unix_socket_directories": s.SocketDir,
	} {
		if got := one(t, s, "SHOW "+setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
}

func TestServersRunSideBySide(t *testing.T) {
	const servers = 4
	var wait sync.WaitGroup
	for range servers {
		wait.Go(func() {
			s, err := Run(t.Context(), Config{MaxConnections: 10})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if rows, err := s.Query("postgres", "SHOW port"); err != nil || rows[0][0] != strconv.Itoa(s.Port) {
				t.Errorf("the server at its URL is not itself: %v %v", rows, err)
			}
		})
	}
	wait.Wait()
}

func TestRestartKeepsDataAndPort(t *testing.T) {
	s := Start(t)
	port := s.Port
	one(t, s, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7); SELECT n FROM kept")
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"Restart", s.Restart},
		{"Stop(Smart)", func() error { return s.Stop(Smart) }},
		{"Stop again", func() error { return s.Stop(Fast) }},
		{"StartAgain", func() error { return s.StartAgain(t.Context()) }},
		{"StartAgain while it runs", func() error { return s.StartAgain(t.Context()) }},
		{"Kill", s.Kill},
		{"StartAgain after a crash", func() error { return s.StartAgain(t.Context()) }},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
	if got := one(t, s, "SELECT n FROM kept"); got != "7" || s.Port != port {
		t.Errorf("got %q at port %d, want 7 at port %d", got, s.Port, port)
	}
	if log := s.Log(); strings.Count(log, "database system is ready") != 4 {
		t.Errorf("the log covers all four starts, got:\n%s", log)
	}
}

func TestSmartStopWaitsForClientsAndIsBounded(t *testing.T) {
	s, err := Run(t.Context(), Config{StopTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := pgconn.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := s.Stop(Smart); err == nil || !strings.Contains(err.Error(), "did not stop within") {
		t.Errorf("a smart stop with a client connected ends with an error after the timeout, got %v", err)
	}
	if s.running() {
		t.Error("the server has ended all the same")
	}
}

func TestUsersNeedTheirPasswordsAndOthersDoNot(t *testing.T) {
	s := Start(t, HBA("host all nobody_at_all 127.0.0.1/32 reject"))
	for _, method := range []Method{SCRAM, MD5, Cleartext} {
		if err := s.CreateUser("user "+string(method), `p'a:s@s/"`, method); err != nil {
			t.Fatalf("create a user of method %s: %v", method, err)
		}
	}
	if err := s.CreateUser("second", "x", SCRAM); err != nil {
		t.Fatalf("a method serves many users: %v", err)
	}
	if _, err := s.Query("postgres", "CREATE ROLE trusted LOGIN; CREATE ROLE nobody_at_all LOGIN"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ user, password, want string }{
		{"user scram-sha-256", `p'a:s@s/"`, ""},
		{"user scram-sha-256", "wrong", "28P01"},
		{"user md5", `p'a:s@s/"`, ""},
		{"user md5", "wrong", "28P01"},
		{"user password", `p'a:s@s/"`, ""},
		{"user password", "wrong", "28P01"},
		{"trusted", "", ""},
		{"postgres", "", ""},
		{"nobody_at_all", "", "28000"},
	} {
		if got := loginCode(t, s, c.user, c.password); got != c.want {
			t.Errorf("%s with password %q: got SQLSTATE %q, want %q", c.user, c.password, got, c.want)
		}
	}
	if got := one(t, s, "SELECT left(rolpassword, 3) FROM pg_authid WHERE rolname = 'user md5'"); got != "md5" {
		t.Errorf("the password of an md5 user is stored as md5, got %q", got)
	}
}

// loginCode is the SQLSTATE that a login ends with, "" if it succeeds.
func loginCode(t *testing.T, s *Server, user, password string) string {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), s.UserURL(user, password, "postgres"))
	if err == nil {
		return errorText(conn.Close(t.Context()))
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return err.Error()
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestURLsAreEscaped(t *testing.T) {
	s := &Server{Port: 5432}
	u, err := url.Parse(s.UserURL("a b@c", "p:/?#", "d b"))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	if u.User.Username() != "a b@c" || password != "p:/?#" || u.Path != "/d b" || u.Host != "127.0.0.1:5432" {
		t.Errorf("the parts survive the way through a URL, got %s", u)
	}
}

func TestNewDatabaseIsDroppedWithItsClients(t *testing.T) {
	s := Start(t)
	var name, other string
	t.Run("inner", func(t *testing.T) {
		name, other = s.NewDatabase(t), s.NewDatabase(t)
		conn, err := pgconn.Connect(t.Context(), s.URL(name))
		if err != nil {
			t.Fatal(err)
		}
		// The client outlives the database: its end is noticed by nobody but itself.
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	})
	if name == other {
		t.Errorf("names are unique, got %q twice", name)
	}
	if got := one(t, s, "SELECT count(*) FROM pg_database WHERE datname LIKE 'test%'"); got != "0" {
		t.Errorf("%s databases are left after the cleanup", got)
	}
}

func TestNewDatabaseNeedsNoServerAtCleanup(t *testing.T) {
	s := Start(t)
	t.Run("inner", func(t *testing.T) {
		s.NewDatabase(t)
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestBadSettingIsToldWithTheServersLog(t *testing.T) {
	_, err := Run(t.Context(), Config{Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), `unrecognized configuration parameter "no_such_setting"`) {
		t.Errorf("the error holds what the server said, got %v", err)
	}
}

func TestPortInUseIsRecognised(t *testing.T) {
	first := Start(t)
	second, err := Run(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.Stop(Fast); err != nil {
		t.Fatal(err)
	}
	second.Port = first.Port
	if err := second.configure(); err != nil {
		t.Fatal(err)
	}
	if err := second.StartAgain(t.Context()); err == nil || !portTaken(second.Log()) {
		t.Errorf("a taken port is an error that firstStart recognises, got %v", err)
	}
}

func TestServerDiesWithAKilledProcessAndTheNextOneRemovesItsFolder(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimVariable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	folder, number, _ := strings.Cut(strings.TrimSpace(line), " ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("the victim says %q", line)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // It was killed, and says so.
	awaitEnd(t, pid)
	if _, err := os.Stat(folder); err != nil {
		t.Fatalf("a killed process cannot remove its folder: %v", err)
	}
	Start(t)
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the next server removes the folder, got %v", err)
	}
}

// awaitEnd waits until the process is gone, or is only waiting for its parent to notice.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("the server's process %d outlives the one that started it", pid)
}

func TestSweepLeavesFoldersInUseAlone(t *testing.T) {
	s := Start(t)
	unlocked, err := os.MkdirTemp(temporary(), folderPattern) // Made by somebody who has not locked it yet.
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(unlocked)
	sweep(temporary())
	for _, folder := range []string{s.SocketDir, unlocked} {
		if _, err := os.Stat(folder); err != nil {
			t.Errorf("a sweep leaves %s alone: %v", folder, err)
		}
	}
	if got := one(t, s, "SELECT 1"); got != "1" {
		t.Errorf("the server still works, got %q", got)
	}
}

func TestLongTemporaryFolderIsReplaced(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), strings.Repeat("long", 30)))
	if got := temporary(); got != "/tmp" {
		t.Errorf("paths of unix sockets have to fit into 107 bytes, got %s", got)
	}
}
