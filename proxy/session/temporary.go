package session

import (
	"slices"
	"strings"

	"github.com/lockproxy/lockproxy/protocol/sql"
)

const searchPath = "search_path"

// createsTemporary tells whether what a message creates may be in the temporary schema though nothing in it says so: by the search_path. In doubt
// it is: the server is asked at the end of the transaction.
func (s *Session) createsTemporary(r *request) bool {
	if !r.touches.Has(sql.TouchSchema | sql.TouchCreates) {
		return false
	}
	st := &s.state
	if st.otherPath || st.everything || st.resetAll || slices.Contains(st.touched, searchPath) || r.unit != nil && slices.ContainsFunc(r.unit.Settings, changesPath) {
		return true
	}
	path, own := st.settings.Get(searchPath)
	if !own {
		path = s.srv.SearchPath
	}
	return strings.Contains(strings.ToLower(path), "pg_temp")
}

func changesPath(one sql.Setting) bool {
	return one.Name == searchPath || one.Name == "" // which RESET ALL has as well
}
