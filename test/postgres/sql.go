package postgres

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Method is how the server asks a user for a password.
type Method string

// The methods that CreateUser knows, by their names in PostgreSQL's manual.
const (
	SCRAM     Method = "scram-sha-256"
	MD5       Method = "md5"
	Cleartext Method = "password"
)

// role is the role whose members must log in by this method; pg_hba.conf names it.
func (m Method) role() string {
	return "login_by_" + strings.ReplaceAll(string(m), "-", "_")
}

// encryption is the password_encryption under which the password is stored.
func (m Method) encryption() string {
	if m == MD5 {
		return "md5"
	}
	return "scram-sha-256"
}

// CreateUser makes a user who must log in with the password, by the method given.
func (s *Server) CreateUser(name, password string, method Method) error {
	role := quoteIdentifier(method.role())
	_, err := s.Query("postgres", fmt.Sprintf(`
		DO $$ BEGIN CREATE ROLE %[1]s; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
		SET password_encryption = %[2]s;
		CREATE ROLE %[3]s LOGIN PASSWORD %[4]s IN ROLE %[1]s`,
		role, quoteLiteral(method.encryption()), quoteIdentifier(name), quoteLiteral(password)))
	return err
}

// NewDatabase creates an empty database for a test and drops it, with whoever is still connected, at the test's
// cleanup. It returns the name.
func (s *Server) NewDatabase(t TB) string {
	t.Helper()
	name, err := s.CreateDatabase()
	if err != nil {
		t.Fatalf("create a database: %v", err)
	}
	t.Cleanup(func() {
		if !s.running() {
			return // It goes with the server.
		}
		if _, err := s.Query("postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Fatalf("drop the database %s: %v", name, err)
		}
	})
	return name
}

// CreateDatabase creates an empty database and returns its name; it goes with the server.
func (s *Server) CreateDatabase() (string, error) {
	s.mu.Lock()
	s.databases++
	name := "test_" + strconv.Itoa(os.Getpid()) + "_" + strconv.Itoa(s.databases)
	s.mu.Unlock()
	_, err := s.Query("postgres", "CREATE DATABASE "+name)
	return name, err
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process != nil
}

// Query runs SQL text as the superuser on a connection of its own, by the simple query protocol, and returns the rows of
// the last statement as text. NULL is the empty string.
func (s *Server) Query(database, sql string) ([][]string, error) {
	const timeout = 30 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := pgconn.Connect(ctx, s.URL(database))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	var rows [][]string
	for _, row := range results[len(results)-1].Rows {
		texts := make([]string, len(row))
		for i, value := range row {
			texts[i] = string(value)
		}
		rows = append(rows, texts)
	}
	return rows, nil
}

// ping connects to the server over its unix socket, once.
func (s *Server) ping(ctx context.Context) error {
	const timeout = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := pgconn.Connect(ctx, fmt.Sprintf("host=%s port=%d user=%s dbname=postgres sslmode=disable",
		s.SocketDir, s.Port, Superuser))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func quoteIdentifier(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// quoteLiteral needs standard_conforming_strings, which is on by default.
func quoteLiteral(text string) string {
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}
