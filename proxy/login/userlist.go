package login

import (
	"errors"
	"fmt"
	"strings"
)

// Userlist is who may log in, by name.
type Userlist map[string]Secret

// ReadUserlist reads a file in the format of PgBouncer's userlist.txt: a user a line, "name" and "secret" in double
// quotes, in which "" stands for one; a line that starts with ; is a comment, and what follows the secret is passed
// over. Of two lines for one user the last counts. name is the file's name, for errors: they tell it and the line,
// and never a secret.
func (s *Salts) ReadUserlist(name, text string) (Userlist, error) {
	users := Userlist{}
	for number, line := range strings.Split(text, "\n") {
		user, secret, err := readLine(line)
		if err == nil && user != "" {
			users[user], err = s.ReadSecret(user, secret)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number+1, err)
		}
	}
	return users, nil
}

// readLine reads one line; the user is empty where the line holds none.
func readLine(line string) (user, secret string, err error) {
	line = strings.TrimLeft(line, " \t\r\v\f")
	if line == "" || line[0] == ';' {
		return "", "", nil
	}
	user, rest, ok := quoted(line)
	if !ok {
		return "", "", errors.New(`a user's name in double quotes is expected, as in "name" "secret"`)
	}
	if user == "" {
		return "", "", errors.New("the user's name is empty")
	}
	if len(user) > maxUser {
		return "", "", fmt.Errorf("the user's name has more than %d bytes", maxUser)
	}
	secret, _, ok = quoted(strings.TrimLeft(rest, " \t"))
	if !ok {
		return "", "", fmt.Errorf(`a secret in double quotes is expected behind the user "%s"`, user)
	}
	if strings.ContainsRune(user+secret, 0) {
		return "", "", errors.New("a zero byte")
	}
	return user, secret, nil
}

// maxUser is the most bytes that a client's user name has left once it is read (NAMEDATALEN without the zero byte).
const maxUser = 63

// quoted reads a text in double quotes that line starts with, on this line.
func quoted(line string) (text, rest string, ok bool) {
	if !strings.HasPrefix(line, `"`) {
		return "", "", false
	}
	var b strings.Builder
	line = line[1:]
	for {
		end := strings.IndexByte(line, '"')
		if end < 0 {
			return "", "", false
		}
		b.WriteString(line[:end])
		line = line[end+1:]
		if !strings.HasPrefix(line, `"`) {
			return b.String(), line, true
		}
		b.WriteByte('"')
		line = line[1:]
	}
}
