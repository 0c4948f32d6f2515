package lookup

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// TestUnread: a report says what could not be read.
func TestUnread(t *testing.T) {
	const nowhere = "/run/netns/that-is-not-there"
	p := Packet{Dst: netip.MustParseAddr("203.0.113.9")}
	r := Ask(nowhere, p, nil, nil)
	if len(r.Unread) != 1 || r.Outcome != "not known: "+r.Unread[0] || !strings.Contains(r.Unread[0], "no such file") {
		t.Errorf("a namespace that is not there: %+v", r)
	}
	if lines := r.Lines(); len(lines) != 1 {
		t.Errorf("%q: want what is not known, and no answer of the kernel", lines)
	}
	m := AskMAC(nowhere, Overlay{Device: "vx100", Bridge: "br100"}, net.HardwareAddr{2, 0, 0, 0, 0, 1}, nil, nil)
	if len(m.Unread) != 1 || m.Outcome != "vx100: not known: "+m.Unread[0] {
		t.Errorf("a namespace that is not there: %+v", m)
	}
	r = Ask("", p, nil, func(Tables) (Firewall, error) { return nil, errors.New("not permitted") })
	if len(r.Unread) != 1 || r.Unread[0] != "firewall: not permitted" || r.Outcome == "" || r.Asked == "" {
		t.Errorf("a firewall that cannot be read: %+v", r)
	}
	if r = Ask("", p, nil, nil); len(r.Unread) > 0 {
		t.Errorf("everything can be read: %q", r.Unread)
	}
}
