package backend

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Probe is a query that Dial runs before it hands the connection over, while the simple way is still open.
type Probe struct {
	Name      string     // for the error: what it asks for
	SQL       string     // one statement
	Arguments []string   // of its parameters
	Rows      [][]string // its rows; NULL is ""
}

func (p *Probe) run(ctx context.Context, pg *pgconn.PgConn) error {
	rows, err := p.ask(ctx, pg)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", p.Name, err)
	}
	p.Rows = nil
	for _, row := range rows {
		texts := make([]string, len(row))
		for i, value := range row {
			texts[i] = string(value)
		}
		p.Rows = append(p.Rows, texts)
	}
	return nil
}

func (p *Probe) ask(ctx context.Context, pg *pgconn.PgConn) ([][][]byte, error) {
	if len(p.Arguments) > 0 {
		var values [][]byte
		for _, argument := range p.Arguments {
			values = append(values, []byte(argument))
		}
		result := pg.ExecParams(ctx, p.SQL, values, nil, nil, nil).Read()
		return result.Rows, result.Err
	}
	results, err := untimed(ctx, pg, p.SQL)
	if err == nil && len(results) != 1 {
		err = errors.New("no answer")
	}
	if err != nil {
		return nil, err
	}
	return results[0].Rows, nil
}

// untimed asks without the bounds that statements and transactions have by ALTER ROLE, ALTER DATABASE or the configuration: they are for those of
// applications, and who could not be asked could not be connected to. Each statement of a query has a time of its own (postgres.c,
// exec_simple_query), and SET counts for the transaction that it is in (guc_tables.c, assign_transaction_timeout).
func untimed(ctx context.Context, pg *pgconn.PgConn, text string) ([]*pgconn.Result, error) {
	bounds := boundsOf(pg)
	results, err := pg.Exec(ctx, withoutBounds(bounds)+text+";RESET "+strings.Join(bounds, ";RESET ")).ReadAll()
	if err != nil || len(results) < 2*len(bounds) {
		return nil, err
	}
	return results[len(bounds) : len(results)-len(bounds)], nil
}

func withoutBounds(bounds []string) string {
	return "SET " + strings.Join(bounds, " = 0;SET ") + " = 0;"
}

// boundsOf names the bounds that the server knows.
func boundsOf(pg *pgconn.PgConn) []string {
	const first = 17 // that has transaction_timeout
	major := 0
	_, _ = fmt.Sscanf(pg.ParameterStatus("server_version"), "%d", &major) // "17.2", "18beta1"; what has no number is no new one
	if major < first {
		return []string{"statement_timeout"}
	}
	return []string{"statement_timeout", "transaction_timeout"}
}
