package console

import "time"

// usage is what was done in one database, or in all of them.
type usage struct {
	database string
	total    Totals
	older    Totals // what that was when the averages began
	period   time.Duration
}

// byDatabase adds up the pools of each database. They come in its order.
func byDatabase(s *Snapshot) []usage {
	var list []usage
	for i := range s.Pools {
		p := &s.Pools[i]
		if n := len(list); n == 0 || list[n-1].database != p.Database {
			list = append(list, usage{database: p.Database, period: s.Now.Sub(s.Older)})
		}
		u := &list[len(list)-1]
		u.total.Add(&p.Totals)
		u.older.Add(&p.Older)
	}
	return list
}

// figure is one of the columns that the STATS commands share.
type figure struct {
	total, totals, averages string // its names in STATS, STATS_TOTALS and STATS_AVERAGES,
	sum                     string // and in TOTALS
	average                 string // of the average, in STATS
	value                   func(*Totals) int64
	per                     func(*Totals) uint64 // the average is for each of these; nil: for each second
}

// figures are in PgBouncer's order (src/stats.c). Times are in microseconds.
var figures = []figure{
	{"total_server_assignment_count", "server_assignment_count", "server_assignment_count", "server_assignment_count",
		"avg_server_assignment_count", func(t *Totals) int64 { return int64(t.Assignments) }, nil},
	{"total_xact_count", "xact_count", "xact_count", "xact_count", "avg_xact_count",
		func(t *Totals) int64 { return int64(t.Transactions) }, nil},
	{"total_query_count", "query_count", "query_count", "query_count", "avg_query_count",
		func(t *Totals) int64 { return int64(t.Queries) }, nil},
	{"total_received", "bytes_received", "bytes_received", "client_bytes", "avg_recv",
		func(t *Totals) int64 { return int64(t.Received) }, nil},
	{"total_sent", "bytes_sent", "bytes_sent", "server_bytes", "avg_sent",
		func(t *Totals) int64 { return int64(t.Sent) }, nil},
	{"total_xact_time", "xact_time", "xact_time", "xact_time", "avg_xact_time",
		func(t *Totals) int64 { return micros(t.TransactionTime) }, func(t *Totals) uint64 { return t.Transactions }},
	{"total_query_time", "query_time", "query_time", "query_time", "avg_query_time",
		func(t *Totals) int64 { return micros(t.QueryTime) }, func(t *Totals) uint64 { return t.Queries }},
	{"total_wait_time", "wait_time", "wait_time", "wait_time", "avg_wait_time",
		func(t *Totals) int64 { return micros(t.WaitTime) }, func(t *Totals) uint64 { return t.Assignments }},
	{"total_client_parse_count", "client_parse_count", "avg_client_parse_count", "ps_client_parse_count", "avg_client_parse_count",
		func(t *Totals) int64 { return int64(t.Parses) }, nil},
	{"total_server_parse_count", "server_parse_count", "avg_server_parse_count", "ps_server_parse_count", "avg_server_parse_count",
		func(t *Totals) int64 { return int64(t.ServerParses) }, nil},
	{"total_bind_count", "bind_count", "avg_bind_count", "ps_bind_count", "avg_bind_count",
		func(t *Totals) int64 { return int64(t.Binds) }, nil},
}

func (f *figure) of(u *usage) any { return f.value(&u.total) }

// averageOf is what it is for each second since the averages began, or for each of what it is counted by.
func (f *figure) averageOf(u *usage) any {
	lately := u.total.Since(&u.older)
	n := f.value(&lately)
	if f.per != nil {
		if by := f.per(&lately); by > 0 {
			return n / int64(by)
		}
		return int64(0)
	}
	if u.period <= 0 {
		return int64(0)
	}
	return int64(float64(n) / u.period.Seconds())
}

var databaseField = field[usage]{"database", text, func(u usage) any { return u.database }}

// figureFields are the figures under one of their names each.
func figureFields(name func(*figure) string, value func(*figure, *usage) any) []field[usage] {
	var fields []field[usage]
	for i := range figures {
		f := &figures[i]
		fields = append(fields, field[usage]{name(f), numeric, func(u usage) any { return value(f, &u) }})
	}
	return fields
}

func statsTable(lists ...[]field[usage]) *table {
	fields := []field[usage]{databaseField}
	for _, l := range lists {
		fields = append(fields, l...)
	}
	return of(byDatabase, fields...)
}

var (
	showStats = statsTable(
		figureFields(func(f *figure) string { return f.total }, (*figure).of),
		figureFields(func(f *figure) string { return f.average }, (*figure).averageOf),
	)
	showStatsTotals   = statsTable(figureFields(func(f *figure) string { return f.totals }, (*figure).of))
	showStatsAverages = statsTable(figureFields(func(f *figure) string { return f.averages }, (*figure).averageOf))
)

// showTotals adds up all databases, and those that are forgotten.
var showTotals = pairs("name", "value", numeric, func(s *Snapshot) []pair {
	u := usage{period: s.Now.Sub(s.Older), total: s.Buried, older: s.Buried}
	for i := range s.Pools {
		u.total.Add(&s.Pools[i].Totals)
		u.older.Add(&s.Pools[i].Older)
	}
	var list []pair
	for i := range figures {
		list = append(list, pair{"total_" + figures[i].sum, figures[i].of(&u)})
	}
	for i := range figures {
		list = append(list, pair{"avg_" + figures[i].sum, figures[i].averageOf(&u)})
	}
	return list
})
