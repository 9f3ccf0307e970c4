package main

import (
	"strconv"

	"github.com/BurntSushi/toml"
)

// upstreamVariable names the server of every database that the file does not name.
const upstreamVariable = "LOCKPROXY_UPSTREAM"

// variable is an environment variable that wins over settings of the file.
type variable struct {
	name         string
	settings     []string
	milliseconds bool // Else it is a count.
}

func variables() []variable {
	return []variable{
		{"DATABASE_POOL_MAX", []string{"pools.admin.max"}, false},
		{"DATABASE_LOCK_POOL_MAX", []string{"pools.lock.max"}, false},
		{"DATABASE_POOL_CONNECTION_TIMEOUT_MS", []string{"pools.admin.checkout_timeout", "pools.lock.checkout_timeout"}, true},
		{"DATABASE_POOL_IDLE_TIMEOUT_MS", []string{"pools.admin.idle_timeout", "pools.lock.idle_timeout"}, true},
		{"DATABASE_LOCK_IDLE_TX_TIMEOUT_MS", []string{"pools.lock.idle_in_transaction_session_timeout"}, true},
		{"DATABASE_LOCK_TIMEOUT_MS", []string{"pools.lock.lock_timeout"}, true},
	}
}

// value is the variable's text as the configuration file would say it.
func (v variable) value(text string) (any, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, false
	}
	if v.milliseconds {
		return strconv.FormatInt(n, 10) + "ms", true
	}
	return n, true
}

// bindEnvironment sets what the variables say; an empty one counts as not set.
func (l *loader) bindEnvironment() {
	for _, v := range variables() {
		text := l.environment(v.name)
		if text == "" {
			continue
		}
		value, ok := v.value(text)
		if !ok {
			l.problems = append(l.problems, problem{v.name, "must be an integer" + map[bool]string{true: " (milliseconds)"}[v.milliseconds]})
			continue
		}
		for _, path := range v.settings {
			l.origins[path] = v.name
		}
		l.bindVariable(v, value)
	}
}

// bindVariable tells of a bad value once, though it is meant for several settings.
func (l *loader) bindVariable(v variable, value any) {
	for _, path := range v.settings {
		table, name, _ := cutLast(path)
		settings, _ := l.values.sections().find(table)
		for _, s := range settings {
			if s.name != name {
				continue
			}
			if err := s.bind.set(value); err != nil {
				l.problem(path, err.Error())
				return
			}
		}
	}
}

func (l *loader) bindUpstream() {
	url := l.environment(upstreamVariable)
	if url == "" {
		return
	}
	l.values.database("*").url = url
	l.origins[toml.Key{"databases", "*", "url"}.String()] = upstreamVariable
}

// listenFlag is the origin of addresses given on the command line.
const listenFlag = "--listen"

func (l *loader) bindListen() {
	if len(l.listen) == 0 {
		return
	}
	l.origins["server.listen"] = listenFlag
	for _, address := range l.listen {
		if err := checkListen(address); err != nil {
			l.problem("server.listen", err.Error())
		}
	}
	l.values.server.Listen = l.listen
}
