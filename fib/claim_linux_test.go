package fib

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestSecondOwner: a protocol number has one owner in a namespace. The second is told who
// that is; a dry run, another number and another namespace are none of its business.
func TestSecondOwner(t *testing.T) {
	if testing.Short() {
		t.Skip("namespaces take time; not with -short")
	}
	a, b := nstest.New(t, "a"), nstest.New(t, "b")
	run := func(c Config) (stop func() error) {
		t.Helper()
		f, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		_ = f.Flush(ctx) // until it has read the kernel, or ended
		return func() error { cancel(); return <-done }
	}
	first := run(Config{NetNS: a.Path})
	for _, c := range []Config{{NetNS: a.Path}, {NetNS: a.Path, Protocol: 210}, {NetNS: a.Path, PersistentProtocol: 210, Protocol: 202}, {NetNS: a.Path, Tables: []uint32{7}}} {
		if err := run(c)(); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []Config{{NetNS: a.Path, DryRun: true}, {NetNS: a.Path, Protocol: 210, PersistentProtocol: 211}, {NetNS: b.Path}} {
		if err := run(c)(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := first(); err != nil {
		t.Error(err)
	}
	if err := run(Config{NetNS: a.Path})(); err != nil {
		t.Error(err)
	}
}
