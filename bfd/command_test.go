package bfd

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The BFD process is started at once, not again while it runs, and then ever more rarely,
// until a connection has worked.
func TestCommand(t *testing.T) {
	now := scenario.Epoch
	started := 0
	var ended chan error
	var fail error
	var exits []string
	c := newCommand([]string{"agent", "bfd"})
	c.start = func([]string) (<-chan error, error) {
		started++
		ended = make(chan error, 1)
		return ended, fail
	}
	// want lets time pass in steps, as a client does that cannot connect.
	want := func(what string, d time.Duration, n int) {
		t.Helper()
		before := started
		for end := now.Add(d); now.Before(end); now = now.Add(10 * time.Millisecond) {
			if err := c.poll(now); err != nil {
				exits = append(exits, err.Error())
			}
			_ = c.run(now)
		}
		if started-before != n {
			t.Errorf("%s: started %d times in %v, want %d", what, started-before, d, n)
		}
	}
	want("at first", 10*time.Millisecond, 1)
	want("while it runs", time.Minute, 0)
	ended <- nil
	want("after its end", 10*time.Millisecond, 1)
	if len(exits) > 0 {
		t.Errorf("it has handed over: %q", exits)
	}
	c.start = func([]string) (<-chan error, error) {
		started++
		ended = make(chan error, 1)
		ended <- nil
		return ended, nil
	}
	ended <- errors.New("signal: killed")
	want("one that ends at once: after 2, 4, 8, 16 and 30 s", time.Minute+10*time.Millisecond, 5)
	want("then", time.Minute, 2)
	if len(exits) != 8 || exits[0] != "bfd: agent has ended: signal: killed" || exits[1] != "bfd: agent has ended: exit status 0" || exits[7] != exits[1] {
		t.Errorf("%q", exits)
	}
	c.lost(now)
	want("after a connection that worked: a second, then 1, 2 and 4 s", 8*time.Second+10*time.Millisecond, 4)

	fail = errors.New("no such file")
	c = newCommand([]string{"agent"})
	c.start = func([]string) (<-chan error, error) { return nil, fail }
	if err := c.run(now); !errors.Is(err, fail) {
		t.Errorf("what cannot be started: %v", err)
	}
	if err := c.run(now.Add(999 * time.Millisecond)); err != nil {
		t.Errorf("it is tried again at once: %v", err)
	}
	if err := c.run(now.Add(time.Second)); !errors.Is(err, fail) {
		t.Errorf("it is not tried again: %v", err)
	}
	none := newCommand(nil)
	none.start = c.start
	if err := none.run(now); err != nil {
		t.Errorf("without a command: %v", err)
	}
}

// answering is a machine with a BFD process that has no sessions.
type answering struct{ systemHost }

type pipeStream struct{ net.Conn }

func (pipeStream) sendFDs([]byte, []int) error { return errors.ErrUnsupported }
func (pipeStream) takeFDs() []int              { return nil }

func (answering) dial(context.Context, string) (stream, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		for {
			m, err := readFrame(far)
			if err != nil {
				return
			}
			e := encoder{version: protocolVersion}
			e.begin(frameReply, m.id)
			e.string("")
			_ = e.end()
			if m.typ == frameHello {
				e.begin(frameSnapshot, 0)
				_ = e.end()
			}
			if _, err := far.Write(e.b); err != nil {
				return
			}
		}
	}()
	return pipeStream{near}, nil
}

// A program that is no BFD process, or fails at once, is reported with its exit status, also
// while another process answers.
func TestCommandFails(t *testing.T) {
	for _, h := range []host{systemHost{}, answering{}} {
		for script, want := range map[string]string{"exit 7": "exit status 7", "kill -9 $$": "signal: killed", "exit 0": "exit status 0"} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			notices := make(chan error, 100)
			c, err := newClientOn(ClientConfig{Socket: filepath.Join(t.TempDir(), "none"), Command: []string{"/bin/sh", "-c", script},
				Notice: func(err error) { notices <- err }}, h)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- c.Run(ctx) }()
			for {
				select {
				case err = <-notices:
				case <-ctx.Done():
					t.Fatalf("%T: %s: nothing is reported", h, script)
				}
				if strings.Contains(err.Error(), "/bin/sh") {
					break
				}
			}
			var exit *exec.ExitError
			if err.Error() != "bfd: /bin/sh has ended: "+want || errors.As(err, &exit) != (script != "exit 0") || exit != nil && exit.String() != want {
				t.Errorf("%T: %s: %v", h, script, err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}
