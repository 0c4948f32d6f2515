package bfd

import (
	"errors"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The BFD process is started at once, not again while it runs, and then ever more rarely,
// until a connection has worked.
func TestCommand(t *testing.T) {
	now := scenario.Epoch
	started := 0
	var ended chan struct{}
	var fail error
	c := newCommand([]string{"agent", "bfd"})
	c.start = func([]string) (<-chan struct{}, error) {
		started++
		ended = make(chan struct{})
		return ended, fail
	}
	// want lets time pass in steps, as a client does that cannot connect.
	want := func(what string, d time.Duration, n int) {
		t.Helper()
		before := started
		for end := now.Add(d); now.Before(end); now = now.Add(10 * time.Millisecond) {
			_ = c.run(now)
		}
		if started-before != n {
			t.Errorf("%s: started %d times in %v, want %d", what, started-before, d, n)
		}
	}
	want("at first", 10*time.Millisecond, 1)
	want("while it runs", time.Minute, 0)
	close(ended)
	want("after its end", 10*time.Millisecond, 1)
	c.start = func([]string) (<-chan struct{}, error) {
		started++
		ended = make(chan struct{})
		close(ended)
		return ended, nil
	}
	close(ended)
	want("one that ends at once: after 2, 4, 8, 16 and 30 s", time.Minute+10*time.Millisecond, 5)
	want("then", time.Minute, 2)
	c.lost(now)
	want("after a connection that worked: a second, then 1, 2 and 4 s", 8*time.Second+10*time.Millisecond, 4)

	fail = errors.New("no such file")
	c = newCommand([]string{"agent"})
	c.start = func([]string) (<-chan struct{}, error) { return nil, fail }
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
