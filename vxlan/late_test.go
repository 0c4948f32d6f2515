package vxlan

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A foreign entry that came in since the last look is not taken over.
func TestForeignCameIn(t *testing.T) {
	ns, f := host(t)
	link := ensure(t, f, vx100)
	f.SetMAC(link, macOf(t, "02:00:00:00:00:01"), addrOf("172.22.2.2"))
	flush(t, f, Result{Added: 1}) // now the table has been read
	bridge(ns, "fdb add 02:00:00:00:00:99 dev vx100 dst 172.22.2.9")
	f.SetMAC(link, macOf(t, "02:00:00:00:00:99"), addrOf("172.22.2.2"))
	if _, err := f.Flush(); !errors.Is(err, ErrForeign) || !errors.Is(err, unix.EEXIST) {
		t.Error(err)
	}
}
