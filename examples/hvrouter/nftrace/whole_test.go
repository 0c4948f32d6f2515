package nftrace

import (
	"errors"
	"testing"
)

// What is read while the ruleset changes is read again, whatever came of it; if it never stands still, that is an error.
func TestUnchanged(t *testing.T) {
	gone := errors.New("gone")
	for _, c := range []struct {
		changes, reads int
		failed, want   error
	}{{0, 1, nil, nil}, {0, 1, gone, gone}, {3, 4, nil, nil}, {readings, readings, nil, errChanging}} {
		number, reads := uint32(7), 0
		err := unchanged(func() (uint32, error) { return number, nil }, func() error {
			if reads++; reads <= c.changes {
				number++
				return gone
			}
			return c.failed
		})
		if err != c.want || reads != c.reads {
			t.Errorf("%d changes: %v after %d readings, want %v after %d", c.changes, err, reads, c.want, c.reads)
		}
	}
}
