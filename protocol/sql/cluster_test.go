package sql

import (
	"reflect"
	"testing"
)

func TestStatementsThatConcernOthersSessionsAreSeen(t *testing.T) {
	vacates := func(name string) ClusterOp { return ClusterOp{Vacates: true, Database: name} }
	reader, err := NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]ClusterOp{
		"DROP DATABASE a": {vacates("a")},
		`/* x */ drop database if exists "A b" WITH (FORCE)`: {vacates("A b")},
		"DROP DATABASE if":                                {vacates("if")},
		"DROP DATABASE a; DROP DATABASE b":                {vacates("a"), vacates("b")},
		"CREATE DATABASE a":                               {vacates("template1")},
		"CREATE DATABASE a OWNER o TEMPLATE b":            {vacates("b")},
		"CREATE DATABASE a WITH TEMPLATE = 'b' OWNER o":   {vacates("b")},
		"CREATE DATABASE a TEMPLATE DEFAULT":              {vacates("template1")},
		"ALTER DATABASE a RENAME TO b":                    {vacates("a")},
		"ALTER DATABASE a SET TABLESPACE b":               {vacates("a")},
		"ALTER DATABASE a OWNER TO b":                     nil,
		"ALTER DATABASE a CONNECTION LIMIT 5":             nil,
		"ALTER DATABASE a SET work_mem = 1":               {{Database: "a"}},
		"ALTER DATABASE a RESET ALL":                      {{Database: "a"}},
		"ALTER ROLE a SET work_mem TO 1":                  {{Role: "a"}},
		"ALTER USER A IN DATABASE b SET x.y FROM CURRENT": {{Role: "a", Database: "b"}},
		"ALTER ROLE ALL RESET work_mem":                   {{}},
		"ALTER USER CURRENT_USER SET work_mem = 1":        {{}},
		"ALTER ROLE a NOSUPERUSER":                        nil,
		"ALTER ROLE a RENAME TO b":                        nil,
		"ALTER TABLE a SET (fillfactor = 10)":             nil,
		"ALTER ROLE":                                      nil,
		"DROP DATABASE":                                   {vacates("")},
		"SELECT 'DROP DATABASE a' -- DROP DATABASE a":     nil,
		"DROP TABLE database":                             nil,
		"BEGIN; ALTER ROLE a SET b = 'c'; COMMIT":         {{Role: "a"}},
	} {
		if got := reader.Read([]byte(text), Dialect{}).Cluster; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}
