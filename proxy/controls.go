package proxy

import (
	"errors"

	"github.com/lockproxy/lockproxy/proxy/console"
)

// controls is the server as its console sees it.
type controls struct{ *Server }

var errUnwritten = errors.New("this server's configuration is written down nowhere")

// Reload has the server go by what its configuration says now.
func (c controls) Reload() (unchangeable []string, err error) {
	if c.Configuration == nil {
		return nil, errUnwritten
	}
	return c.Configuration.Reload()
}

// Set changes one setting until the next Reload.
func (c controls) Set(name, value string) error {
	if c.Configuration == nil {
		return errUnwritten
	}
	return c.Configuration.Set(name, value)
}

// Shutdown has the server end.
func (c controls) Shutdown(mode console.ShutdownMode) error {
	switch mode {
	case console.WaitForClients:
		c.Server.Shutdown(WaitForClients)
	case console.WaitForServers:
		c.Server.Shutdown(WaitForServers)
	default:
		c.Server.Shutdown(AtOnce)
	}
	return nil
}

var _ console.Controls = controls{}
