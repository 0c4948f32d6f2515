package bfd

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestMain lets the test binary stand in for the separate BFD process.
func TestMain(m *testing.M) {
	if path := os.Getenv("HYPERFIB_BFD_SERVE"); path != "" {
		if err := serveFromTest(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serveFromTest(path string) error {
	restart, _ := time.ParseDuration(os.Getenv("HYPERFIB_BFD_RESTART"))
	cfg := ServeConfig{RestartTime: restart, Config: Config{Notice: func(err error) { fmt.Fprintln(os.Stderr, err) }}}
	if os.Getenv("HYPERFIB_BFD_TAKEOVER") != "" {
		return Takeover(context.Background(), path, cfg)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	return Serve(context.Background(), l, cfg)
}

// child is a BFD process of its own.
type child struct {
	tb   testing.TB
	cmd  *exec.Cmd
	path string
	done chan error
}

func newChild(tb testing.TB, path string, restart time.Duration, env ...string) *child {
	tb.Helper()
	c := &child{tb: tb, path: path, cmd: exec.Command("/proc/self/exe"), done: make(chan error, 1)}
	c.cmd.Env = append(append(os.Environ(), "HYPERFIB_BFD_SERVE="+path, "HYPERFIB_BFD_RESTART="+restart.String()), env...)
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() { c.done <- c.cmd.Wait() }()
	tb.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

func newClient(tb testing.TB, path, name string) *Client {
	tb.Helper()
	c, err := NewClient(ClientConfig{Socket: path, Name: name, Notice: func(err error) { tb.Log(name, err) }})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}
