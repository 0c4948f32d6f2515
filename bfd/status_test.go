package bfd

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

// TestText: what operators read in logs.
func TestText(t *testing.T) {
	k := Key{Peer: netip.MustParseAddr("192.0.2.2"), Local: netip.MustParseAddr("192.0.2.1"), Interface: "eth0"}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	for want, have := range map[string]interface{ String() string }{
		"192.0.2.1 -> 192.0.2.2%eth0: Down at 03:04:05.000006 (expired; diag 1, remote 0), next hop 7 deleted: false is in no group": Event{
			Key: k, State: StateDown, Time: at, Reason: ReasonExpired, Diag: DiagExpired, Failover: []FailoverResult{{ID: 7, Err: "is in no group"}}},
		"192.0.2.1 -> 192.0.2.2%eth0: Down at 03:04:05.000006 (unavailable; diag 0, remote 0): interface eth0: no such device, removed": Event{
			Key: k, State: StateDown, Time: at, Reason: ReasonUnavailable, Err: "interface eth0: no such device", Removed: true},
		"192.0.2.1 -> 192.0.2.2%eth0: Up since 03:04:05.000006 (; diag 0), remote Up (diag 0), discriminators 1 and 2, sending every 100ms, detection time 300ms, 1 downs, 10 sent, 9 received, 0 refused: no such device": Status{
			Key: k, State: StateUp, Since: at, RemoteState: StateUp, Discr: 1, RemoteDiscr: 2, TxInterval: ms(100), DetectTime: ms(300), Downs: 1, Sent: 10, Received: 9, Err: "no such device"},
	} {
		if got := have.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestServerCalls: what a Server that does not run, or no longer, answers.
func TestServerCalls(t *testing.T) {
	s, err := NewServer(Config{})
	if err != nil {
		t.Fatal(err)
	}
	good := SessionConfig{Key: Key{Peer: netip.MustParseAddr("192.0.2.2")}}
	var bad *ConfigError
	if err := s.Add(SessionConfig{}); !errors.As(err, &bad) {
		t.Errorf("no peer: %v", err)
	}
	if err := s.Remove(good.Key); !errors.Is(err, ErrNoSession) {
		t.Errorf("remove before add: %v", err)
	}
	if err := s.Add(good); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Sessions(); err != nil || len(list) != 1 || list[0].State != StateDown {
		t.Errorf("%v, %v", list, err)
	}
	if err := s.Remove(good.Key); err != nil {
		t.Error(err)
	}
	if list, err := s.Sessions(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}
