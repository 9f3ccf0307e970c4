package console

import (
	"strconv"
	"time"
)

var showConfig = of(config,
	field[Setting]{"key", text, func(o Setting) any { return o.Name }},
	field[Setting]{"value", text, func(o Setting) any { return o.Value }},
	field[Setting]{"default", text, func(o Setting) any { return optional(o.Default) }},
	field[Setting]{"changeable", text, func(o Setting) any {
		if o.Changeable {
			return "yes"
		}
		return "no"
	}},
)

// theirs are PgBouncer's names of settings that there are here too, which programs look for. Its durations are numbers of
// seconds.
var theirs = []struct{ name, ours string }{
	{"max_client_conn", "server.max_clients"},
	{"client_login_timeout", "server.login_timeout"},
	{"stats_period", "server.stats_period"},
	{"auth_type", "auth.type"},
	{"auth_file", "auth.file"},
	{"admin_users", "console.admin_users"},
	{"stats_users", "console.stats_users"},
	{"default_pool_size", "pools.admin.max"},
	{"min_pool_size", "pools.admin.min_idle"},
	{"query_wait_timeout", "pools.admin.checkout_timeout"},
	{"server_idle_timeout", "pools.admin.idle_timeout"},
	{"server_lifetime", "pools.admin.max_lifetime"},
	{"client_idle_timeout", "server.client_idle_timeout"},
	{"query_timeout", "server.query_timeout"},
	{"transaction_timeout", "server.transaction_timeout"},
	{"idle_transaction_timeout", "server.idle_in_transaction_timeout"},
	{"max_prepared_statements", "server.max_prepared"},
}

// config gives the settings, first by PgBouncer's names, those of limits that there are not included: 0 means so there too.
func config(s *Snapshot) []Setting {
	all := []Setting{{"max_user_connections", "0", "0", false}, {"max_db_connections", "0", "0", false}}
	for _, t := range theirs {
		for _, one := range s.Settings {
			if one.Name == t.ours {
				all = append(all, Setting{t.name, seconds(one.Value), seconds(one.Default), one.Changeable})
			}
		}
	}
	return append(all, s.Settings...)
}

// seconds gives a duration as a number of seconds, and everything else as it is.
func seconds(value string) string {
	if d, err := time.ParseDuration(value); err == nil && value != "0" {
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
	}
	return value
}
