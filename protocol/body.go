package protocol

import "bytes"

// CString reads a string that ends with a zero byte. s leaves that byte out; both results are parts of p and hold as
// long as it does. ok is false while p has no zero byte.
func CString(p []byte) (s, rest []byte, ok bool) {
	end := bytes.IndexByte(p, 0)
	if end < 0 {
		return nil, nil, false
	}
	return p[:end], p[end+1:], true
}

// BindNames reads the two names that the body of a Bind starts with. The body may be cut off anywhere behind them:
// ok is false while they are incomplete. The names are parts of body and hold as long as it does.
func BindNames(body []byte) (portal, statement []byte, ok bool) {
	portal, rest, ok := CString(body)
	if !ok {
		return nil, nil, false
	}
	statement, _, ok = CString(rest)
	if !ok {
		return nil, nil, false
	}
	return portal, statement, true
}
