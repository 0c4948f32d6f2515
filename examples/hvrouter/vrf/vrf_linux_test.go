package vrf

import (
	"errors"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

func open(t *testing.T) (*nstest.NS, *Conn) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a namespace")
	}
	ns := nstest.New(t, "vrf")
	c, err := Open(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return ns, c
}

// A kernel without VRF says so in words.
func TestUnsupported(t *testing.T) {
	_, c := open(t)
	want := Supported()
	if want == nil {
		t.Skip("this kernel has VRF")
	}
	if _, err := c.Ensure("public", 90); !errors.Is(err, ErrUnsupported) || !errors.Is(want, ErrUnsupported) {
		t.Errorf("Ensure: %v, Supported: %v", err, want)
	}
}

func TestEnsureAndEnslave(t *testing.T) {
	ns, c := open(t)
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	index, err := c.Ensure("public", 90)
	if err != nil {
		t.Fatal(err)
	}
	ns.IP("link set public down")
	if again, err := c.Ensure("public", 90); err != nil || again != index {
		t.Errorf("again: %d, %v, want %d", again, err, index)
	}
	if out := ns.IP("-d link show public"); !strings.Contains(out, "vrf table 90") || !strings.Contains(out, "<NOARP,MASTER,UP") {
		t.Errorf("the device is %s", out)
	}
	if _, err := c.Ensure("public", 91); err == nil {
		t.Error("a VRF with another table is taken over")
	}
	if _, err := c.Ensure("lo", 91); err == nil {
		t.Error("lo is a VRF")
	}
}
