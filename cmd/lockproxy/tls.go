package main

import (
	"fmt"
	"slices"

	"github.com/lockproxy/lockproxy/proxy"
)

// tlsMode is what is demanded of clients. It checks that the files are named which that needs; what is in them, the
// server finds out.
func (l *loader) tlsMode() proxy.TLSMode {
	mode := proxy.TLSMode(slices.Index(proxy.TLSModes, l.values.tlsMode))
	files := &l.values.server.TLS
	need := func(setting, file string, from proxy.TLSMode) {
		if file == "" && mode >= from {
			l.problem(setting, fmt.Sprintf("is missing, which tls.mode = %q needs", l.values.tlsMode))
		}
	}
	if mode == proxy.NoTLS && l.origins["tls.mode"] == "" && files.Certificate != "" {
		l.problem("tls.cert", `is not shown to anybody: set tls.mode, to "require" for example, or to "disable" if that is meant`)
	}
	need("tls.cert", files.Certificate, proxy.AllowTLS)
	need("tls.key", files.Key, proxy.AllowTLS)
	need("tls.ca", files.Authorities, proxy.VerifyCA)
	return mode
}
