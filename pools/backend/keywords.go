package backend

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"
)

// unsupported are keywords of libpq's that neither pgconn nor we obey. pgconn would send them to the server as
// run-time parameters; to drop them could weaken what somebody relies on.
var unsupported = map[string]bool{
	"hostaddr": true, "load_balance_hosts": true, "tcp_user_timeout": true, "replication": true, "requirepeer": true,
	"requiressl": true, "sslcrl": true, "sslcrldir": true, "sslkeylogfile": true, "ssl_min_protocol_version": true,
	"ssl_max_protocol_version": true, "gsslib": true, "gssdelegation": true, "scram_client_key": true,
	"scram_server_key": true, "oauth_issuer": true, "oauth_client_id": true, "oauth_client_secret": true, "oauth_scope": true,
}

// takeKeywords takes the keywords out of the run-time parameters that libpq keeps to itself and pgconn does not know.
func (t *Target) takeKeywords(parameters map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if unsupported[name] {
			return fmt.Errorf("connection string: %s is not supported", name)
		}
	}
	if name, ok := parameters["fallback_application_name"]; ok {
		delete(parameters, "fallback_application_name")
		if parameters["application_name"] == "" {
			parameters["application_name"] = name
		}
	}
	// Neither is ever used, so these values ask for nothing.
	for name, harmless := range map[string][]string{"gssencmode": {"disable", "prefer"}, "sslcompression": {"0"}} {
		value, ok := parameters[name]
		if ok && !slices.Contains(harmless, value) {
			return fmt.Errorf("connection string: %s other than %q is not supported", name, harmless)
		}
		delete(parameters, name)
	}
	return t.takeKeepAlives(parameters)
}

// takeKeepAlives reads keepalives (0 switches them off), keepalives_idle and keepalives_interval in seconds, and
// keepalives_count. Nought or nothing is the default: Go's, 9 probes 15 s apart, not the system's two hours.
func (t *Target) takeKeepAlives(parameters map[string]string) error {
	numbers := map[string]int{"keepalives": 1}
	for _, name := range []string{"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"} {
		value, ok := parameters[name]
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return fmt.Errorf("connection string: %s is no number", name)
		}
		numbers[name] = max(int(n), 0)
		delete(parameters, name)
	}
	t.keepAlive = net.KeepAliveConfig{
		Enable:   numbers["keepalives"] != 0,
		Idle:     time.Duration(numbers["keepalives_idle"]) * time.Second,
		Interval: time.Duration(numbers["keepalives_interval"]) * time.Second,
		Count:    numbers["keepalives_count"],
	}
	return nil
}
