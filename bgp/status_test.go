package bgp

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// TestStatusJSON: programs get names, not numbers.
func TestStatusJSON(t *testing.T) {
	n := wire.Shutdown(wire.SubShutdown, "back at noon")
	st := PeerStatus{Key: key2, State: Established, Restart: RestartSyncing, LastError: &PeerError{Peer: key2, State: Established, Received: &n}}
	st.Families = []FamilyStatus{{Family: wire.IPv4Unicast}}
	st.Families[0].Refused[rib.ReasonASLoop] = 3
	b, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"State":"Established"`, `"Restart":"syncing"`, `"AS loop":3`, `back at noon`, `"Addr":"10.0.0.2"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in %s", want, b)
		}
	}
	m := MessageCounters{Open: 1, Update: 2, Notification: 3, Keepalive: 4, RouteRefresh: 5}
	if m.Total() != 15 {
		t.Error(m.Total())
	}
}

func TestPeerErrorText(t *testing.T) {
	sent := wire.Notification{Code: wire.CodeHoldTimer}
	cause := errors.New("cause")
	e := &PeerError{Peer: PeerKey{Addr: addr2, Local: addr1}, Time: time.Now(), State: Established, Sent: &sent, Err: cause}
	want := "bgp: peer 10.0.0.2 from 10.0.0.1: Established: sent Hold Timer Expired (4/0): cause"
	if e.Error() != want || !errors.Is(e, cause) {
		t.Errorf("%q", e.Error())
	}
	if State(9).String() != "State(9)" {
		t.Error(State(9))
	}
}
