package main

import "github.com/lockproxy/lockproxy/pools/backend"

// checkURL says what is wrong with a database's URL, without quoting it.
func checkURL(url string) error {
	_, err := backend.ParseTarget(url)
	return err
}

// hasPassword reports whether a database's URL names a user and has a password for it, in itself or where libpq looks
// for one (passfile, PGPASSWORD).
func hasPassword(url string) bool {
	target, err := backend.ParseTarget(url)
	return err == nil && target.ForcesUser() && target.Password() != ""
}
