package backend

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// unsupported are keywords of libpq's that neither pgconn nor we obey. pgconn would send them to the server as
// run-time parameters; to drop them could weaken what somebody relies on.
var unsupported = map[string]bool{
	"replication": true, "requirepeer": true, "requiressl": true, "sslcrl": true, "sslcrldir": true, "sslkeylogfile": true,
	"gsslib": true, "scram_client_key": true, "scram_server_key": true, "oauth_issuer": true, "oauth_client_id": true, "oauth_client_secret": true, "oauth_scope": true,
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
	// None of these is ever used, so these values ask for nothing.
	for name, harmless := range map[string][]string{
		"gssencmode": {"disable", "prefer"}, "gssdelegation": {"0"}, "sslcompression": {"0"}, "load_balance_hosts": {"disable"},
	} {
		value, ok := parameters[name]
		if ok && !slices.Contains(harmless, value) {
			return fmt.Errorf("connection string: %s other than %q is not supported", name, harmless)
		}
		delete(parameters, name)
	}
	if err := t.takeAddresses(parameters); err != nil {
		return err
	}
	if err := t.takeTLSVersions(parameters); err != nil {
		return err
	}
	return t.takeKeepAlives(parameters)
}

// takeAddresses reads hostaddr: for each host the address where it is, which is not looked up then.
func (t *Target) takeAddresses(parameters map[string]string) error {
	list := parameters["hostaddr"]
	if delete(parameters, "hostaddr"); list == "" {
		return nil
	}
	hosts := []string{t.config.Host}
	before := t.config.Port
	for _, f := range t.config.Fallbacks { // with sslmode=prefer each is there twice
		if f.Host != hosts[len(hosts)-1] || f.Port != before {
			hosts, before = append(hosts, f.Host), f.Port
		}
	}
	addresses := strings.Split(list, ",")
	if len(addresses) != len(hosts) {
		return fmt.Errorf("connection string: could not match %d host names to %d hostaddr values", len(hosts), len(addresses))
	}
	t.addresses = make(map[string]string)
	for i, text := range addresses {
		address, err := netip.ParseAddr(text)
		network, _ := pgconn.NetworkAddress(hosts[i], 1)
		one, known := t.addresses[hosts[i]]
		switch {
		case text == "" && !known:
		case known && one != text || text == "":
			return fmt.Errorf("connection string: hostaddr: %q has one address alone: name the addresses as hosts", hosts[i])
		case err != nil:
			return fmt.Errorf("connection string: hostaddr: could not parse network address %q", text)
		case network != "tcp":
			return fmt.Errorf("connection string: hostaddr: the host %q is a unix socket", hosts[i])
		default:
			t.addresses[hosts[i]] = address.String()
		}
	}
	lookUp, known := t.config.LookupFunc, t.addresses
	t.config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		if address, ok := known[host]; ok {
			return []string{address}, nil
		}
		return lookUp(ctx, host)
	}
	return nil
}

// tlsVersions are those of libpq's, of which the first two are not spoken.
var tlsVersions = []string{"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}

// takeTLSVersions reads ssl_min_protocol_version and ssl_max_protocol_version.
func (t *Target) takeTLSVersions(parameters map[string]string) error {
	oldest := slices.Index(tlsVersions, "TLSv1.2")
	bounds := [2]int{oldest, len(tlsVersions) - 1}
	for i, name := range []string{"min", "max"} {
		keyword := "ssl_" + name + "_protocol_version"
		value := parameters[keyword]
		if delete(parameters, keyword); value == "" {
			value = os.Getenv("PGSSL" + strings.ToUpper(name) + "PROTOCOLVERSION")
		}
		if value == "" {
			continue
		}
		bound := slices.IndexFunc(tlsVersions, func(v string) bool { return strings.EqualFold(v, value) })
		if bound < 0 {
			return fmt.Errorf("connection string: %s must be one of %s", keyword, strings.Join(tlsVersions, ", "))
		}
		if bounds[i] = bound; name == "min" {
			bounds[i] = max(bound, oldest) // TLS before 1.2 may be allowed, and is not spoken
		}
	}
	if bounds[0] > bounds[1] {
		return fmt.Errorf("connection string: ssl_max_protocol_version: no TLS is left, since it is %s at least", tlsVersions[bounds[0]])
	}
	limit := func(c *tls.Config) {
		if c != nil {
			c.MinVersion, c.MaxVersion = tls.VersionTLS10+uint16(bounds[0]), tls.VersionTLS10+uint16(bounds[1])
		}
	}
	limit(t.config.TLSConfig)
	for _, f := range t.config.Fallbacks {
		limit(f.TLSConfig)
	}
	return nil
}

// takeKeepAlives reads keepalives (0 switches them off), keepalives_idle and keepalives_interval in seconds, and
// keepalives_count. Nought or nothing is the default: Go's, 9 probes 15 s apart, not the system's two hours. It reads
// tcp_user_timeout as well, in milliseconds, which only Linux has.
func (t *Target) takeKeepAlives(parameters map[string]string) error {
	numbers := map[string]int{"keepalives": 1}
	for _, name := range []string{"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"} {
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
	t.userTimeout = time.Duration(numbers["tcp_user_timeout"]) * time.Millisecond
	t.keepAlive = net.KeepAliveConfig{
		Enable:   numbers["keepalives"] != 0,
		Idle:     time.Duration(numbers["keepalives_idle"]) * time.Second,
		Interval: time.Duration(numbers["keepalives_interval"]) * time.Second,
		Count:    numbers["keepalives_count"],
	}
	return nil
}
