package proxy

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/login"
)

// newDoor makes of the configuration what login needs: who may log in, and how it is proved. Secrets are derived here,
// once; an error names the file and the line, or the database.
func newDoor(r *rules) (*login.Door, error) {
	door := &login.Door{Salts: r.salts, Looks: r.looks, Failures: r.failures.Bounded(r.Auth.MaxFailures), Proxies: r.ProxyProtocol}
	if r.shown != nil {
		door.Identity, door.Demand = r.shown.current.Load, r.TLS.Mode.demand()
	}
	if err := setRules(r, door); err != nil {
		return nil, err
	}
	switch auth := &r.Auth; {
	case auth.File != "":
		users, err := fileSecrets(auth.File, door)
		if err != nil {
			return nil, inSetting("auth.file", err)
		}
		r.listed = slices.Collect(maps.Keys(users))
	case r.inquiry != nil:
		door.Secret = func(string, string) (login.Secret, bool) { return login.Secret{}, false }
	default:
		return door, urlSecrets(r.targets, door)
	}
	if r.inquiry != nil {
		door.Ask, door.Doubt = r.inquiry.ask, r.inquiry.doubt
	}
	return door, nil
}

// certMap is the map of names that certificates go by where no rule names one.
const certMap = "cert"

// setRules says by which method who logs in.
func setRules(r *rules, door *login.Door) (err error) {
	auth := &r.Auth
	if auth.IdentFile != "" {
		if door.Maps, err = login.ReadMaps(auth.IdentFile); err != nil {
			return inSetting("auth.ident_file", err)
		}
	}
	switch auth.Type {
	case HBA:
		door.Rules, err = login.ReadRules(auth.HBAFile)
		if place := door.Rules.ForCertificates(); place != "" && (r.shown == nil || r.TLS.Authorities == "") {
			err = fmt.Errorf("%s: clients' certificates can only be looked at where there is TLS with tls.ca", place)
		}
		return inSetting("auth.hba_file", err)
	case Cert:
		mapName := ""
		if auth.IdentFile != "" {
			mapName = certMap
			if !door.Maps.Has(mapName) {
				return inSetting("auth.ident_file", fmt.Errorf("%s: there is no map %q, by which certificates are to go", auth.IdentFile, mapName))
			}
		}
		door.Rules = login.Everybody(login.Cert, mapName)
	case MD5:
		door.Rules = login.Everybody(login.MD5, "")
	case Password:
		door.Rules = login.Everybody(login.Cleartext, "")
	case Trust:
		door.Rules = login.Everybody(login.Trust, "")
	default:
		door.Rules = login.Everybody(login.SCRAM, "")
	}
	return nil
}

// fileSecrets has clients log in with the secrets of a list.
func fileSecrets(file string, door *login.Door) (login.Userlist, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	users, err := door.Salts.ReadUserlist(file, string(text))
	if err != nil {
		return nil, err
	}
	for _, user := range slices.Sorted(maps.Keys(users)) {
		door.Looks.Learn(user, users[user])
	}
	door.Secret = func(user, _ string) (login.Secret, bool) {
		secret, known := users[user]
		return secret, known
	}
	return users, nil
}

// urlSecrets has the clients of each database log in with the user and the password of its URL. Those of the console log
// in with those of any.
func urlSecrets(targets map[string]*backend.Target, door *login.Door) error {
	type one struct {
		user   string
		secret login.Secret
	}
	byDatabase := make(map[string]one)
	byUser := make(map[string]one)
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		target := targets[name]
		secret, err := door.Salts.ReadSecret(target.User(), target.Password())
		if err != nil {
			return inSetting("databases."+name+".url", err)
		}
		byDatabase[name] = one{target.User(), secret}
		if _, found := byUser[target.User()]; !found && target.Password() != "" {
			byUser[target.User()] = byDatabase[name]
			door.Looks.Learn(target.User(), secret)
		}
	}
	door.Secret = func(user, database string) (login.Secret, bool) {
		its, ok := byDatabase[database]
		if !ok && slices.Contains(consoleNames, database) {
			its, ok = byUser[user]
		} else if !ok {
			its, ok = byDatabase[AnyDatabase]
		}
		return its.secret, ok && its.user == user
	}
	return nil
}
