package api

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOnly: one daemon at a time. A second one is told so if the first answers, and waits
// for its end if not: it was killed, or shuts down, or has only just begun.
func TestOnly(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "run", "api.sock")
	l, release, err := Only(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	serving, end := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- ServeOn(serving, l, &Access{}, &backend{}) }()
	if _, _, err := Only(ctx, path); err == nil || !strings.Contains(err.Error(), "another daemon answers there") {
		t.Fatalf("a second daemon beside one that answers: %v", err)
	}

	type result struct {
		l       net.Listener
		release func()
		err     error
	}
	next := func() chan result {
		c := make(chan result, 1)
		go func() {
			l, release, err := Only(ctx, path)
			c <- result{l, release, err}
		}()
		return c
	}
	waits := func(c chan result, what string) {
		t.Helper()
		select {
		case r := <-c:
			t.Fatalf("%s: a second daemon did not wait: %v", what, r.err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	end() // as SIGTERM does: it answers no more, and is not over yet
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	second := next()
	waits(second, "one that shuts down")
	release()
	r := <-second
	if r.err != nil {
		t.Fatal(r.err)
	}

	// One that was killed has its socket open until the kernel gets to it, and one that
	// has just begun does not answer yet.
	third := next()
	waits(third, "one that does not answer")
	stopping, stop := context.WithCancel(ctx)
	fourth := make(chan error, 1)
	go func() {
		_, _, err := Only(stopping, path)
		fourth <- err
	}()
	stop()
	if err := <-fourth; !errors.Is(err, context.Canceled) {
		t.Errorf("one that is told to end while it waits: %v", err)
	}
	r.l.Close()
	r.release()
	if r = <-third; r.err != nil {
		t.Fatal(r.err)
	}
	r.l.Close()
	r.release()
}
