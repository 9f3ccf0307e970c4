package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/spelling"
)

// steward keeps a running server at what its configuration says: it reads the file again, and sets what an operator asks for
// until then.
type steward struct {
	server *proxy.Server
	log    *slog.Logger
	level  *slog.LevelVar

	mu     sync.Mutex
	source source // With the text that was read last.
	format string // Of the log; it lasts.
	drain  time.Duration
	ending bool
}

// Reload reads the configuration again. What could not change is named; after an error nothing has changed. Both are logged.
func (s *steward) Reload() (unchangeable []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.source
	from.text, from.set = nil, nil
	if unchangeable, err = s.take(from); err != nil {
		for _, p := range asProblems(err) {
			s.log.Error("the configuration was not reloaded", "problem", p.String())
		}
		return nil, err
	}
	for _, name := range unchangeable {
		s.log.Warn("a setting has changed that takes a restart", "setting", name)
	}
	s.log.Info("the configuration was reloaded")
	return unchangeable, nil
}

// Set changes one setting, named as in the file, until the next Reload.
func (s *steward) Set(name, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, err := readChange(name, value)
	if err != nil {
		return err
	}
	from := s.source
	from.set = append(slices.Clone(from.set), changes...)
	unchangeable, err := s.take(from)
	if err != nil {
		return err
	}
	for _, e := range changes {
		if slices.Contains(unchangeable, e.path.String()) {
			s.source.set = s.source.set[:len(s.source.set)-len(changes)]
			return fmt.Errorf("%s cannot change without a restart", e.path)
		}
		s.log.Info("an operator has changed a setting", "setting", e.path.String())
	}
	return nil
}

// take puts a configuration in place.
func (s *steward) take(from source) (unchangeable []string, err error) {
	if from, err = from.read(); err != nil {
		return nil, err
	}
	config, err := load(from)
	if err != nil {
		return nil, err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(config.logLevel)); err != nil {
		return nil, err
	}
	if unchangeable, err = s.server.Reload(config.proxy); err != nil {
		return nil, config.locate(err)
	}
	if config.logFormat != s.format {
		unchangeable = append(unchangeable, "server.log_format")
	}
	s.level.Set(level)
	s.source, s.drain = from, config.drainTimeout
	s.warn(config)
	return unchangeable, nil
}

// warn logs what works, but is hardly meant.
func (s *steward) warn(config *configuration) {
	for _, warning := range slices.Concat(config.warnings, config.tooFewDescriptors(descriptors())) {
		s.log.Warn(warning.what, "setting", warning.where)
	}
}

// readChange reads a setting and its value as the file would have them, or as PgBouncer has them and SHOW CONFIG shows them: its
// names, durations in seconds, lists with commas. The quotes of a text may be missing. A name without its table will do
// where it is the only one.
func readChange(name, value string) ([]entry, error) {
	if strings.ContainsAny(name+value, "\r\n") {
		return nil, errors.New("a setting is one line")
	}
	names, err := fullNames(strings.TrimSpace(name))
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, one := range names {
		e, err := readSetting(one, value)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func readSetting(name, value string) (entry, error) {
	for _, text := range []string{asTheirs(name, value), value, strconv.Quote(value)} {
		if e, ok := readLine(name + " = " + text); ok {
			e.line = byOperator
			return e, nil
		}
	}
	return entry{}, fmt.Errorf("%s: neither name nor value are as in a configuration file", name)
}

// readLine reads a line with one setting.
func readLine(line string) (one entry, ok bool) {
	entries, err := readDocument(line)
	entries = slices.DeleteFunc(entries, entry.isTable)
	if err != nil || len(entries) != 1 {
		return one, false
	}
	return entries[0], true
}

// asTheirs gives a value that PgBouncer would take as the file has it; any other as it is.
func asTheirs(name, value string) string {
	e, ok := readLine(name + " = 0")
	if !ok {
		return value
	}
	last := len(e.path) - 1
	table, _ := defaults().section(e.path[:last])
	i := slices.IndexFunc(table, func(s setting) bool { return s.name == e.path[last] })
	if i < 0 {
		return value
	}
	if _, err := strconv.ParseFloat(value, 64); err == nil && strings.HasPrefix(table[i].bind.takes, "a duration") {
		return strconv.Quote(value + "s")
	}
	if _, is := table[i].fallback.([]any); is && !strings.HasPrefix(value, "[") {
		var items []string
		for one := range splitList(value) {
			items = append(items, strconv.Quote(one))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return value
}

// fullNames puts a setting's table before its name. One of PgBouncer's may be two of ours.
func fullNames(name string) ([]string, error) {
	if strings.Contains(name, ".") {
		return []string{name}, nil
	}
	var found, known []string
	for _, table := range defaults().sections() {
		for _, s := range table.settings {
			if known = append(known, s.name); s.name == name {
				found = append(found, table.name+"."+name)
			}
		}
	}
	slices.Sort(found)
	switch len(found) {
	case 0:
		switch other := renamed[name]; {
		case strings.Contains(other, "NAME"):
			return nil, fmt.Errorf("unknown setting %s; did you mean %s?", name, other)
		case alsoOfLocks[name] != "":
			return []string{other, alsoOfLocks[name]}, nil
		case other != "":
			return []string{other}, nil
		}
		known = slices.AppendSeq(known, maps.Keys(renamed))
		slices.Sort(known)
		if like := spelling.Nearest(name, known); like != "" {
			return nil, fmt.Errorf("unknown setting %s; did you mean %s?", name, like)
		}
		return nil, fmt.Errorf("unknown setting %s", name)
	case 1:
		return found, nil
	}
	return nil, fmt.Errorf("which %s: %s?", name, strings.Join(found, " or "))
}
