package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lockproxy/lockproxy/test/postgres"
	"github.com/lockproxy/lockproxy/test/project"
)

// network is toxiproxy: everything between clients, lockproxy and the server passes through it, and can be made to fail.
type network struct {
	api  string
	kill func()
}

// startNetwork builds and starts it. Its module is one of its own, so that nothing of it gets into lockproxy's.
func startNetwork(ctx context.Context, folder string) (*network, error) {
	program := filepath.Join(folder, "toxiproxy")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/Shopify/toxiproxy/v2/cmd/server")
	build.Dir = filepath.Join(project.Root(), "test/chaos/toxiproxy")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build toxiproxy: %w\n%s", err, out)
	}
	port, err := postgres.FreePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-host", "127.0.0.1", "-port", fmt.Sprint(port))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	postgres.DieWithParent(cmd.SysProcAttr, syscall.SIGKILL)
	child, err := postgres.StartChild(cmd)
	if err != nil {
		return nil, err
	}
	n := &network{api: fmt.Sprintf("http://127.0.0.1:%d/", port)}
	n.kill = func() {
		_ = cmd.Process.Kill() // It has ended, or will.
		<-child.Exited
	}
	for {
		err := n.call(ctx, http.MethodGet, "version", nil)
		if err == nil {
			return n, nil
		}
		select {
		case <-child.Exited:
			return nil, fmt.Errorf("toxiproxy ended at its start: %w", err)
		case <-ctx.Done():
			n.kill()
			return nil, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// cable is one connection of two places, with all the sockets that go through it.
type cable struct {
	network *network
	name    string
	port    int // on 127.0.0.1, where it begins
}

// connect lays a cable to a port.
func (n *network) connect(ctx context.Context, name string, to int) (*cable, error) {
	port, err := postgres.FreePort()
	if err != nil {
		return nil, err
	}
	c := &cable{network: n, name: name, port: port}
	return c, n.call(ctx, http.MethodPost, "proxies", map[string]any{
		"name": name, "listen": fmt.Sprintf("127.0.0.1:%d", port), "upstream": fmt.Sprintf("127.0.0.1:%d", to), "enabled": true,
	})
}

// cut closes all sockets, and refuses new ones until mend.
func (c *cable) cut(ctx context.Context) error { return c.enable(ctx, false) }

func (c *cable) mend(ctx context.Context) error { return c.enable(ctx, true) }

func (c *cable) enable(ctx context.Context, enabled bool) error {
	return c.network.call(ctx, http.MethodPost, "proxies/"+c.name, map[string]any{"enabled": enabled})
}

// spoil makes what goes one way (downstream: from the server) late, slow or lost, until clean.
func (c *cable) spoil(ctx context.Context, kind, stream string, attributes map[string]any) error {
	return c.network.call(ctx, http.MethodPost, "proxies/"+c.name+"/toxics", map[string]any{
		"name": kind, "type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes,
	})
}

func (c *cable) clean(ctx context.Context, kind string) error {
	return c.network.call(ctx, http.MethodDelete, "proxies/"+c.name+"/toxics/"+kind, nil)
}

func (n *network) call(ctx context.Context, method, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, n.api+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		said, _ := io.ReadAll(response.Body)
		return fmt.Errorf("toxiproxy, %s %s: %s", method, path, said)
	}
	return nil
}
