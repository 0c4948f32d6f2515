package fib

import (
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
	open := func(c Config) *FIB {
		t.Helper()
		f, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := open(Config{NetNS: a.Path})
	for _, c := range []Config{{NetNS: a.Path}, {NetNS: a.Path, Protocol: 210}, {NetNS: a.Path, PersistentProtocol: 210, Protocol: 202}, {NetNS: a.Path, Tables: []uint32{7}}} {
		if f, err := Open(c); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
			t.Errorf("%+v: %v", c, err)
			if err == nil {
				f.Close()
			}
		}
	}
	open(Config{NetNS: a.Path, DryRun: true}).Close()
	open(Config{NetNS: a.Path, Protocol: 210, PersistentProtocol: 211}).Close()
	open(Config{NetNS: b.Path}).Close()
	first.Close()
	open(Config{NetNS: a.Path}).Close()
}
