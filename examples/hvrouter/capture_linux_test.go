package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestCapture: what is written of the sessions with BIRD tshark reads: a whole BGP session from
// OPEN to its end and BFD in both directions, of that peer alone, with the interface's name; after
// Ctrl-C, after kill -9 and when the limit is reached.
func TestCapture(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces, BIRD and tshark")
	}
	tshark := nstest.Need(t, "tshark")
	h := newHost(t)
	h.up()
	h.guest()
	h.wait("the guest's route at BIRD, twice", func() bool { return h.reflected("203.0.113.1") == 2 })
	read := func(file string, args ...string) string {
		t.Helper()
		cmd := h.hv.Command(tshark, append([]string{"-r", file}, args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("tshark %s: %v: %s", file, err, stderr.Bytes())
		}
		return string(out)
	}
	const peer = "198.51.100.126"
	for _, end := range []os.Signal{os.Interrupt, os.Kill} {
		file := h.path("of." + end.String())
		cmd := h.command("capture", peer, "-o", file, "-api", h.path("api.sock"))
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		h.wait("the first packets", func() bool { st, err := os.Stat(file); return err == nil && st.Size() > 1000 })
		h.cli("session", "reset", peer, "-text", "captured")
		h.up()
		var types string
		h.wait("the session in the file", func() bool {
			types = read(file, "-Y", "bgp", "-T", "fields", "-e", "bgp.type")
			return strings.Count(types, "1") >= 2 && strings.Count(types, "2") >= 2 && strings.Contains(types, "3") && strings.Count(types, "4") >= 2
		})
		_ = cmd.Process.Signal(end)
		err := cmd.Wait()
		if end == os.Interrupt && (err != nil || !strings.Contains(said.String(), "capturing on a.public: 198.51.100.101 and 198.51.100.126\n") || !strings.Contains(said.String(), "octets: interrupted\n")) {
			t.Errorf("capture: %v: %s", err, said.String())
		}
		for _, line := range strings.Split(strings.TrimSpace(read(file, "-T", "fields", "-e", "frame.interface_name", "-e", "ip.src", "-e", "ip.dst", "-e", "_ws.col.Protocol")), "\n") {
			f := strings.Split(line, "\t")
			if len(f) != 4 || f[0] != "a.public" || f[1] != peer && f[2] != peer || f[3] != "TCP" && f[3] != "BGP" && f[3] != "BFD Control" {
				t.Errorf("%v: %q", end, line)
			}
		}
		for _, from := range []string{"198.51.100.101", peer} {
			if out := read(file, "-Y", "bfd && ip.src == "+from); out == "" {
				t.Errorf("%v: no BFD from %s", end, from)
			}
		}
		if out := read(file, "-Y", "bgp.type == 3", "-V"); !strings.Contains(out, "captured") {
			t.Errorf("%v: the NOTIFICATION has no text: %s", end, out)
		}
	}
	if out := h.cli("capture", peer, "-o", h.path("ten"), "-n", "10"); !strings.Contains(out, "10 packets, ") || !strings.Contains(out, ": as many packets as were asked for") {
		t.Errorf("capture -n 10: %s", out)
	}
	if out := read(h.path("ten")); strings.Count(out, "\n") != 10 {
		t.Errorf("tshark reads %s", out)
	}
	began := time.Now()
	if out := h.cli("capture", peer, "-o", h.path("second"), "-for", "1s"); !strings.Contains(out, ": the time is over") || time.Since(began) < time.Second {
		t.Errorf("capture -for 1s: %s", out)
	}
	h.refused("no BGP or BFD session with 192.0.2.1", "capture", "192.0.2.1", "-o", h.path("none"))
	h.refused("where to? -o FILE", "capture", peer)
	if _, err := os.Stat(h.path("none")); err == nil {
		t.Error("a file was made for nothing")
	}
}
