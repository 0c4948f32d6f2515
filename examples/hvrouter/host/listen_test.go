package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
)

// TestSocketLine reads lines as the kernel writes them on this machine.
func TestSocketLine(t *testing.T) {
	word := func(b ...byte) string { return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(b)) }
	line := func(addr string, port uint16, state string) string {
		return fmt.Sprintf("   0: %s:%04X 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0", addr, port, state)
	}
	v6 := word(0x20, 1, 0xd, 0xb8) + word(0, 0, 0, 0) + word(0, 0, 0, 0) + word(0, 0, 0, 1)
	for _, c := range []struct {
		line string
		tcp  bool
		addr string
		ok   bool
	}{
		{line(word(198, 51, 100, 101), 179, "0A"), true, "198.51.100.101", true},
		{line(word(198, 51, 100, 101), 179, "01"), true, "198.51.100.101", false},
		{line(word(198, 51, 100, 101), 179, "07"), false, "198.51.100.101", true},
		{line(v6, 179, "0A"), true, "2001:db8::1", true},
		{line(word(0, 0, 0, 0), 179, "0A"), true, "0.0.0.0", true},
		{line("0102", 179, "0A"), true, "", false},
		{line("0102030X", 179, "0A"), true, "", false},
		{"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", true, "", false},
		{"", true, "", false},
	} {
		addr, port, inode, ok := socketLine(c.line, c.tcp)
		if ok != c.ok || ok && (addr != netip.MustParseAddr(c.addr) || port != 179 || inode != "4711") {
			t.Errorf("%q: %v %d %q %v, want %s %v", c.line, addr, port, inode, ok, c.addr, c.ok)
		}
	}
}
