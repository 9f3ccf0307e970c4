package postgres

import (
	"errors"
	"os"
	"os/user"
	"strconv"
)

// account is the system user that initdb and postgres run as; both refuse to run as root.
type account struct {
	name     string
	uid, gid int
}

// unprivileged returns the user for the server's processes, or nil if ours will do because we are not root.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			continue
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			continue
		}
		return &account{name: name, uid: uid, gid: gid}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor a user nobody")
}

// own gives a file or folder to the account; a nil account leaves it as it is.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}
