package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
)

// part is a piece of an answer, and how long it takes to come.
type part struct {
	after time.Duration
	text  string
}

// slowDaemon is asked over pipes. It answers with parts, and says nothing after them until ctx
// ends. If it is alive it answers questions for / at once.
func slowDaemon(ctx context.Context, alive bool, parts []part) *Client {
	answer := func(path string, w io.Writer) {
		if path == "/" && alive {
			_, _ = io.WriteString(w, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			return
		}
		if path != "/" {
			for _, p := range parts {
				select {
				case <-ctx.Done():
				case <-time.After(p.after):
				}
				_, _ = io.WriteString(w, p.text)
			}
		}
		<-ctx.Done()
	}
	return newClient(func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			stop := context.AfterFunc(ctx, func() { there.Close() })
			defer stop()
			defer there.Close()
			for in := bufio.NewReader(there); ; {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				answer(r.URL.Path, there)
			}
		}()
		return here, nil
	})
}

// TestSilence: a question to a daemon that is stopped ends after 5 s, before its answer and in the
// middle of it, and one to a daemon that works on the answer only much later.
func TestSilence(t *testing.T) {
	get := func(ctx context.Context, c *Client) error { return c.Get(ctx, "/v1/fib", &struct{}{}) }
	post := func(ctx context.Context, c *Client) error { return c.Send(ctx, "POST", "/v1/guests", nil) }
	dryRun := func(ctx context.Context, c *Client) error {
		_, err := c.Reload(ctx, ReloadOptions{DryRun: true})
		return err
	}
	stream := func(ctx context.Context, c *Client) error {
		return c.Events(ctx, "", 0, func(e journal.Event, _ []byte) error { return fmt.Errorf("the event %s", e.Name) })
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
	const stopped, working = false, true
	const silent = "the daemon does not answer, 5s long: it is stopped or hung"
	const later = "; what was asked for may be done later"
	for name, test := range map[string]struct {
		ask   func(context.Context, *Client) error
		alive bool
		parts []part
		took  time.Duration
		want  string
	}{
		"a question":             {get, stopped, nil, 5 * time.Second, silent},
		"a change":               {post, stopped, nil, 5 * time.Second, silent + later},
		"a dry run":              {dryRun, stopped, nil, 5 * time.Second, silent},
		"events":                 {stream, stopped, nil, 5 * time.Second, silent},
		"the head of an answer":  {get, stopped, []part{{time.Second, head}}, 6 * time.Second, silent},
		"half of an answer":      {get, stopped, []part{{time.Second, head}, {2 * time.Second, "{"}}, 8 * time.Second, silent},
		"a busy machine":         {get, stopped, []part{{4 * time.Second, head}, {4 * time.Second, "{}"}}, 8 * time.Second, "<nil>"},
		"a large table":          {get, working, []part{{50 * time.Second, head}, {50 * time.Second, "{}"}}, 100 * time.Second, "<nil>"},
		"a question without end": {get, working, nil, time.Minute, "the daemon has not answered this for 1m0s, and answers other questions"},
		"a large change":         {post, working, []part{{100 * time.Second, head + "{}"}}, 100 * time.Second, "<nil>"},
		"a change without end":   {post, working, nil, 2 * time.Minute, "the daemon has not answered this for 2m0s, and answers other questions" + later},
		"an hour without events": {stream, stopped, []part{{0, "HTTP/1.1 200 OK\r\n\r\n"}, {time.Hour, `{"event":"ready"}` + "\n"}}, time.Hour, "the event ready"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c := slowDaemon(ctx, test.alive, test.parts)
				defer c.http.CloseIdleConnections()
				begin := time.Now()
				err := test.ask(ctx, c)
				// A daemon that works is asked again and again: the last time may be a bit late.
				if took := time.Since(begin); took < test.took || took > test.took+silence {
					t.Errorf("took %v, want %v", took, test.took)
				}
				if got := fmt.Sprint(err); got != test.want {
					t.Errorf("%q, want %q", got, test.want)
				}
			})
		})
	}
}

// TestSilentProcess: the error names the process that listens, and says that it is stopped.
func TestSilentProcess(t *testing.T) {
	if path := os.Getenv("LISTEN_AT"); path != "" {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := l.Accept(); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "api.sock")
	cmd := exec.Command(os.Args[0], "-test.run=^TestSilentProcess$")
	cmd.Env = append(os.Environ(), "LISTEN_AT="+path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var c net.Conn
	for end := time.Now().Add(20 * time.Second); c == nil; time.Sleep(5 * time.Millisecond) {
		c, _ = net.Dial("unix", path)
		if time.Now().After(end) {
			t.Fatal("the process does not listen")
		}
	}
	defer c.Close()
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var err error
	want := fmt.Sprintf("the daemon (pid %d) does not answer, 5s long: it is stopped (state T), by a signal: `kill -CONT %[1]d` has it go on", cmd.Process.Pid)
	for end := time.Now().Add(20 * time.Second); fmt.Sprint(err) != want; time.Sleep(5 * time.Millisecond) {
		pid := listener(c)
		if err = (&SilentError{PID: pid, State: processState(pid), After: 5 * time.Second}); time.Now().After(end) {
			t.Fatalf("%v, want %s", err, want)
		}
	}
	if s := processState(0); s != 0 {
		t.Errorf("the state of no process is %c", s)
	}
}
