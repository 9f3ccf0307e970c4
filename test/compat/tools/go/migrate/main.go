// Command migrate is golang-migrate's `migrate -source SOURCE -database $DATABASE_URL up`: the program itself would bring
// the clients of every database and cloud that it knows.
package main

import (
	"errors"
	"flag"
	"log"
	"os"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	_ "github.com/golang-migrate/migrate/v4/database/postgres"
	_ "github.com/golang-migrate/migrate/v4/source/file"
)

func main() {
	source := flag.String("source", "", "where the migrations are")
	driver := flag.String("driver", "", "postgres is lib/pq, pgx5 is pgx")
	flag.Parse()
	_, rest, _ := strings.Cut(os.Getenv("DATABASE_URL"), "://")
	m, err := migrate.New(*source, *driver+"://"+rest)
	if err != nil {
		log.Fatal(err)
	}
	if err := m.Up(); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		log.Fatal(err)
	}
	if err := errors.Join(m.Close()); err != nil {
		log.Fatal(err)
	}
}
