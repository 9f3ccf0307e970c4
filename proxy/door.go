package proxy

import (
	"os"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/login"
)

// newDoor makes of the configuration what login needs: who may log in, and how it is proved. Secrets are derived here,
// once; an error names the file and the line, or the database.
func newDoor(config *Config, targets map[string]*backend.Target) (*login.Door, error) {
	users, err := readUsers(config.Auth.File)
	if err != nil {
		return nil, err
	}
	door := &login.Door{}
	switch {
	case config.Auth.Type == Trust:
		door.Secret = func(user, _ string) (login.Secret, bool) { return users[user].Trusted(), true }
	case config.Auth.File != "":
		door.Secret = func(user, _ string) (login.Secret, bool) {
			secret, known := users[user]
			return secret, known
		}
	default:
		door.Secret, err = urlSecrets(targets)
	}
	return door, err
}

func readUsers(file string) (login.Userlist, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return login.ReadUserlist(file, string(text))
}

// urlSecrets has the clients of each database log in with the user and the password of its URL.
func urlSecrets(targets map[string]*backend.Target) (func(user, database string) (login.Secret, bool), error) {
	type one struct {
		user   string
		secret login.Secret
	}
	byDatabase := make(map[string]one)
	for name, target := range targets {
		secret, err := login.ReadSecret(target.User(), target.Password())
		if err != nil {
			return nil, err
		}
		byDatabase[name] = one{target.User(), secret}
	}
	return func(user, database string) (login.Secret, bool) {
		its, ok := byDatabase[database]
		if !ok {
			its, ok = byDatabase[AnyDatabase]
		}
		return its.secret, ok && its.user == user
	}, nil
}
