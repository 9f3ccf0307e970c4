package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy"
)

// shown lists all settings with their values as the console shows them.
func (v *values) shown() []proxy.Setting {
	var all []proxy.Setting
	add := func(table toml.Key, sections sections) {
		for _, section := range sections {
			for _, s := range section.settings {
				path := table
				if section.name != "" {
					path = append(slices.Clone(table), strings.Split(section.name, ".")...)
				}
				all = append(all, s.shown(append(slices.Clone(path), s.name)))
			}
		}
	}
	add(nil, v.sections())
	for _, name := range slices.Sorted(maps.Keys(v.databases)) {
		add(toml.Key{"databases", name}, v.databases[name].sections())
	}
	for _, name := range slices.Sorted(maps.Keys(v.users)) {
		add(toml.Key{"users", name}, sections{{"", "", userSettings(v.users[name])}})
	}
	return all
}

func (s *setting) shown(path toml.Key) proxy.Setting {
	one := proxy.Setting{Name: path.String(), Value: s.bind.get(), Changeable: !s.restart}
	if list, ok := s.fallback.([]any); ok {
		for i, item := range list {
			one.Default += []string{"", ", "}[min(i, 1)] + fmt.Sprint(item)
		}
	} else if s.fallback != nil {
		one.Default = fmt.Sprint(s.fallback)
	}
	if strings.HasSuffix(s.name, "url") {
		one.Value = withoutPassword(one.Value)
	}
	return one
}

// withoutPassword is for URLs, which have passwords in many places. What a URL leaves to the client is left out.
func withoutPassword(text string) string {
	if text == "" {
		return ""
	}
	target, err := backend.ParseTarget(text)
	if err != nil {
		return "?"
	}
	shown, err := url.Parse(target.String())
	if err != nil {
		return "?"
	}
	if !target.ForcesUser() {
		shown.User = nil
	}
	if !target.ForcesDatabase() {
		shown.Path = "/"
	}
	return shown.String()
}
