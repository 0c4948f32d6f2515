package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
)

// pipes is a listener in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error { close(p); return nil }

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p pipes) dial() net.Conn {
	mine, its := net.Pipe()
	p <- its
	return mine
}

// serve runs the server of a backend over pipes until the function that is returned is called.
func serve(t *testing.T, b Backend) (p pipes, end func()) {
	p = make(pipes)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ServeOn(ctx, p, nil, b) }()
	return p, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// A client that sends half of a request, or does not take its answer, has its connection for a
// bounded time.
func TestSlowRequests(t *testing.T) {
	for what, request := range map[string]string{
		"half a header":         "POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-",
		"half a body":           "POST /v1/reload?file=x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nrouter-id: ",
		"half a chunk":          "POST /v1/guests HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
		"half a body, of a GET": "GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx",
		"a body nobody wants":   "POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx",
		"no second request":     "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		for _, reads := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				p, end := serve(t, &backend{})
				c := p.dial()
				if _, err := io.WriteString(c, request); err != nil {
					t.Fatal(err)
				}
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					if !reads {
						time.Sleep(requestTime + idleTime + time.Second)
					}
					_, _ = io.Copy(io.Discard, c)
				}()
				begin := time.Now()
				select {
				case <-gone:
				case <-time.After(time.Hour):
					t.Errorf("%s (reads: %v): the connection is open for ever", what, reads)
				}
				t.Logf("%s (reads: %v): closed after %v", what, reads, time.Since(begin))
				c.Close()
				end()
			})
		}
	}
}

// More connections than there may be are told so, and cost those that are there nothing.
func TestManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, end := serve(t, &backend{})
		ask := func(c net.Conn) (string, error) {
			r := bufio.NewReader(c)
			go io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return "", err
			}
			text, err := io.ReadAll(resp.Body)
			return fmt.Sprint(resp.StatusCode, " ", string(text)), err
		}
		var all []net.Conn
		for range mostConnections {
			all = append(all, p.dial())
		}
		for range 3 {
			c := p.dial()
			if got, err := ask(c); err != nil || !strings.Contains(got, `503 {"error":"256 connections are open`) {
				t.Errorf("one too many: %s, %v", got, err)
			}
			c.Close()
		}
		if got, err := ask(all[7]); err != nil || !strings.Contains(got, `"pid": 1`) {
			t.Errorf("one that was there: %s, %v", got, err)
		}
		all[0].Close()
		synctest.Wait()
		c := p.dial()
		if got, err := ask(c); err != nil || !strings.Contains(got, `"pid": 1`) {
			t.Errorf("in the place of one that has gone: %s, %v", got, err)
		}
		for _, c := range append(all, c) {
			c.Close()
		}
		end()
	})
}

// TestRefusedAmidQuestion: a client that asks, or sends a large body, on a connection that is one too many hears
// that, and never that the daemon has gone.
func TestRefusedAmidQuestion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ServeOn(ctx, l, &Access{}, &backend{}) }()
	defer func() { cancel(); <-ended }()
	for range mostConnections {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HT"); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		c := NewClient(path)
		get, post := c.Get(ctx, "/v1/health", &Health{}), c.Send(ctx, "POST", "/v1/guests", make([]byte, 300_000))
		if !errors.Is(get, ErrBusy) || !errors.Is(post, ErrBusy) {
			t.Fatalf("%v, %v, want %v", get, post, ErrBusy)
		}
		c.http.CloseIdleConnections()
	}
}

// TestRefusedBehindSilent: clients that are too many and ask nothing keep nobody from hearing why. They are answered in their
// order as others come, and as many as may are heard at once.
func TestRefusedBehindSilent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ServeOn(ctx, l, &Access{}, &backend{}) }()
	defer func() { cancel(); <-ended }()
	dial := func() net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for range mostConnections {
		if _, err := io.WriteString(dial(), "GET / HT"); err != nil {
			t.Fatal(err)
		}
	}
	var silent []net.Conn
	for range 3 * mostRefused {
		silent = append(silent, dial())
	}
	for i := range 100 {
		c := NewClient(path)
		get, post := c.Get(ctx, "/v1/health", &Health{}), c.Send(ctx, "POST", "/v1/guests", make([]byte, 300_000))
		if !errors.Is(get, ErrBusy) || !errors.Is(post, ErrBusy) {
			t.Fatalf("client %d: %v, %v, want %v", i, get, post, ErrBusy)
		}
		c.http.CloseIdleConnections()
	}
	for i, c := range silent[:2*mostRefused] {
		if text, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 503 ") {
			t.Errorf("silent client %d: %q, %v", i, text, err)
		}
	}
}

// TestHeardLongest: of those that are one too many mostRefused are heard at once, each for refuseTime, and the one heard longest goes.
func TestHeardLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &limited{}
		hears := func() int {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.heard)
		}
		answered := make([]chan string, 2*mostRefused)
		for i := range answered {
			mine, its := net.Pipe()
			answered[i] = make(chan string, 1)
			go func() {
				text, _ := io.ReadAll(mine)
				answered[i] <- string(text)
			}()
			l.hear(its)
			synctest.Wait()
			for j := range i + 1 {
				if gone := len(answered[j]) == 1; gone != (j <= i-mostRefused) {
					t.Fatalf("after %d clients: number %d is answered: %v", i+1, j+1, gone)
				}
			}
			if n := hears(); n > mostRefused {
				t.Fatalf("%d are heard", n)
			}
		}
		time.Sleep(refuseTime)
		synctest.Wait()
		for i := range answered {
			if len(answered[i]) == 0 {
				t.Fatalf("number %d is still heard", i+1)
			}
			if text := <-answered[i]; !strings.HasPrefix(text, "HTTP/1.1 503 ") {
				t.Errorf("number %d: %q", i+1, text)
			}
		}
		if n := hears(); n != 0 {
			t.Errorf("%d are still heard", n)
		}
	})
}

// Connections that wait for their next request are in nobody's way.
func TestManyIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, end := serve(t, &backend{})
		var all []net.Conn
		for i := range 3 * mostConnections {
			c := p.dial()
			all = append(all, c)
			go io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("connection %d: %+v, %v", i, resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			synctest.Wait() // until it waits
		}
		for _, c := range all {
			c.Close()
		}
		end()
	})
}

// The stream of events has no end, also on a connection that had another request before.
func TestLongStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		p, end := serve(t, b)
		c := p.dial()
		r := bufio.NewReader(c)
		for _, path := range []string{"/v1/status", "/v1/events"} {
			if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if path == "/v1/status" {
				_, _ = io.Copy(io.Discard, resp.Body)
				continue
			}
			time.Sleep(time.Hour)
			b.journal.Publish(journal.Event{Name: "late"})
			line, err := bufio.NewReader(resp.Body).ReadString('\n')
			if err != nil || !strings.Contains(line, "late") {
				t.Errorf("after an hour: %q, %v", line, err)
			}
		}
		c.Close()
		end()
	})
}
