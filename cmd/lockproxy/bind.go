package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bind checks a value as package toml gives it and puts it where it belongs.
type bind struct {
	takes   string                // What is right, in words: "an integer from 1 to 10".
	choices []string              // The texts that it takes, if there are few.
	set     func(value any) error // Its error says what would be right.
	get     func() string         // The value that was set, for people.
}

func integer(to *int, low, high int64) bind {
	return bind{fmt.Sprintf("an integer from %d to %d", low, high), nil, func(value any) error {
		n, ok := value.(int64)
		switch {
		case !ok:
			return errors.New("must be an integer, without quotes or a unit")
		case n < low:
			return fmt.Errorf("must be at least %d", low)
		case n > high:
			return fmt.Errorf("must be at most %d", high)
		}
		*to = int(n)
		return nil
	}, func() string { return strconv.Itoa(*to) }}
}

// backends takes 0, or enough for a share of each kind of pool.
func backends(to *int) bind {
	number := integer(to, 0, maxBackends)
	set := number.set
	number.takes = fmt.Sprintf("0, or an integer from 2 to %d", maxBackends)
	number.set = func(value any) error {
		if value == int64(1) {
			return errors.New("must be at least 2, one for the admin pools and one for the lock pools")
		}
		return set(value)
	}
	return number
}

// longest bounds all durations: PostgreSQL's own timeouts are 32-bit milliseconds (guc_tables.c).
const longest = math.MaxInt32 * time.Millisecond

func duration(to *time.Duration, low time.Duration) bind {
	takes := "a duration"
	if low > 0 {
		takes = fmt.Sprintf("a duration of at least %v", low)
	}
	return bind{takes, nil, func(value any) error {
		text, ok := value.(string)
		d, err := time.ParseDuration(text)
		switch {
		case !ok || err != nil:
			return errors.New(`must be a duration such as "30s", "500ms" or "1h"`)
		case d < low:
			return fmt.Errorf("must be at least %v", low)
		case d > longest:
			return fmt.Errorf("must be at most %v", longest)
		case d%time.Millisecond != 0:
			return errors.New("must be a whole number of milliseconds")
		}
		*to = d
		return nil
	}, func() string { return to.String() }}
}

// httpAddress takes host:port, or nothing.
func httpAddress(to *string) bind {
	inner := text(to)
	return bind{"host:port, or nothing", nil, func(value any) error {
		if address, ok := value.(string); ok && address != "" {
			if err := checkListen(address); err != nil || strings.HasPrefix(address, "/") {
				return fmt.Errorf("%q is not host:port", address)
			}
		}
		return inner.set(value)
	}, inner.get}
}

func text(to *string) bind {
	return bind{"a text", nil, func(value any) error {
		s, ok := value.(string)
		if !ok {
			return errors.New("must be a text in quotes")
		}
		*to = s
		return nil
	}, func() string { return *to }}
}

// choice takes one of the texts.
func choice(to *string, texts []string) bind {
	return bind{"one of " + quoted(texts), texts, func(value any) error {
		if s, ok := value.(string); ok && slices.Contains(texts, s) {
			*to = s
			return nil
		}
		return fmt.Errorf("must be one of %s", quoted(texts))
	}, func() string { return *to }}
}

func list(to *[]string, check func(string) error) bind {
	return bind{"a list of texts", nil, func(value any) error {
		values, ok := value.([]any)
		if !ok {
			return errors.New(`must be a list of texts, ["..."]`)
		}
		texts := make([]string, len(values))
		for i, v := range values {
			if texts[i], ok = v.(string); !ok {
				return errors.New(`must be a list of texts, ["..."]`)
			}
			if err := check(texts[i]); err != nil {
				return err
			}
		}
		*to = texts
		return nil
	}, func() string { return strings.Join(*to, ", ") }}
}

func boolean(to *bool) bind {
	return bind{"true or false", nil, func(value any) error {
		b, ok := value.(bool)
		if !ok {
			return errors.New("must be true or false")
		}
		*to = b
		return nil
	}, func() string { return strconv.FormatBool(*to) }}
}

// fileMode takes octal digits, as chmod does.
func fileMode(to *os.FileMode) bind {
	return bind{"octal digits", nil, func(value any) error {
		text, _ := value.(string)
		mode, err := strconv.ParseUint(text, 8, 32)
		if err != nil || mode > uint64(os.ModePerm) {
			return errors.New(`must be octal digits in quotes, such as "0770"`)
		}
		*to = os.FileMode(mode)
		return nil
	}, func() string { return fmt.Sprintf("%04o", *to) }}
}

// prefixes takes addresses of machines and of networks.
func prefixes(to *[]netip.Prefix) bind {
	return bind{"a list of addresses", nil, func(value any) error {
		var texts []string
		var found []netip.Prefix
		err := list(&texts, func(text string) error {
			prefix, err := parsePrefix(text)
			found = append(found, prefix)
			return err
		}).set(value)
		if err == nil {
			*to = found
		}
		return err
	}, func() string {
		var texts []string
		for _, prefix := range *to {
			texts = append(texts, prefix.String())
		}
		return strings.Join(texts, ", ")
	}}
}

func parsePrefix(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		address = address.Unmap().WithZone("")
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, fmt.Errorf(`%q is neither an address nor a network such as "10.0.0.0/24"`, text)
	}
	return prefix.Masked(), nil
}

func atLeastOne(inner bind) bind {
	return bind{inner.takes + ", at least one", nil, func(value any) error {
		if values, ok := value.([]any); ok && len(values) == 0 {
			return errEmpty
		}
		return inner.set(value)
	}, func() string { return inner.get() }}
}

func quoted(texts []string) string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = strconv.Quote(text)
	}
	return strings.Join(all, ", ")
}

// checkListen accepts host:port and the absolute path of a folder.
func checkListen(address string) error {
	if filepath.IsAbs(address) {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return fmt.Errorf("%q is neither host:port nor the absolute path of a folder", address)
	case host == "*":
		return fmt.Errorf("%q: all addresses are %q", address, ":"+port)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: the port must be a number from 0 to 65535", address)
	}
	return nil
}

// functionName is name or schema.name, each part as in SQL: plain, or in double quotes with inner ones doubled.
var functionName = regexp.MustCompile(`^(?:(?:[\pL_][\pL\pN_$]*|"(?:[^"]|"")+")(?:\.|$)){1,2}$`)

func checkFunction(name string) error {
	if !functionName.MatchString(name) || strings.HasSuffix(name, ".") {
		return fmt.Errorf("%q is not the name of a function: want name or schema.name", name)
	}
	return nil
}
