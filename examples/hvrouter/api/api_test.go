package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
)

// backend is a daemon that knows one guest and keeps what it is asked to do.
type backend struct {
	journal journal.Journal
	put     []config.Entry
	fail    error
	drain   func() // what a drain does besides
}

func (b *backend) Sessions() []Session                   { return []Session{} }
func (b *backend) BFD() ([]BFD, error)                   { return nil, b.fail }
func (b *backend) RIB(string, netip.Prefix) []RIBEntry   { return []RIBEntry{} }
func (b *backend) FIB(uint32) []FIBRoute                 { return []FIBRoute{} }
func (b *backend) Guests() []Guest                       { return []Guest{{Guest: config.Guest{Name: "vm1"}}} }
func (b *backend) Neighbours() ([]Neighbour, error)      { return []Neighbour{}, b.fail }
func (b *backend) Events(n int) (*journal.Reader, error) { return b.journal.Subscribe(n) }
func (b *backend) History(f journal.Filter) ([]journal.Event, error) {
	return []journal.Event{{Time: f.Since, Name: f.Event}}, b.fail
}
func (b *backend) Status() Status { return Status{PID: 1} }
func (b *backend) Explain(q Question) (Explanation, error) {
	if q.From == "nobody" {
		return Explanation{}, fmt.Errorf("guest nobody: %w", ErrNotFound)
	}
	return Explanation{Prefix: q.Prefix.String(), From: q.From}, nil
}
func (b *backend) ExplainAddress(q AddressQuestion) (AddressExplanation, error) {
	if q.VNI == 404 {
		return AddressExplanation{}, fmt.Errorf("VNI 404: %w", ErrNotFound)
	}
	return AddressExplanation{Address: q.Addr, VNI: q.VNI}, nil
}
func (b *backend) ExplainMAC(q MACQuestion) (MACExplanation, error) {
	if q.VNI == 404 {
		return MACExplanation{}, fmt.Errorf("VNI 404: %w", ErrNotFound)
	}
	return MACExplanation{MAC: fmt.Sprintf("%x of %d", q.MAC, q.VNI), Overlays: []OverlayMAC{}}, nil
}
func (b *backend) Diff() []Difference              { return []Difference{} }
func (b *backend) Put(g []config.Entry) error      { b.put = append(b.put, g...); return b.fail }
func (b *backend) Remove(string) error             { return b.fail }
func (b *backend) Move(string, Move) (Done, error) { return Done{}, b.fail }
func (b *backend) Reload(o ReloadOptions) (Reload, error) {
	return Reload{Changes: []Change{{Text: fmt.Sprint(o)}}}, b.fail
}
func (b *backend) ConfirmReload() error { return b.fail }
func (b *backend) CancelReload() error  { return b.fail }
func (b *backend) Drain(o DrainOptions) (Drain, error) {
	if b.drain != nil {
		b.drain()
	}
	return Drain{Drained: true, All: o.All}, b.fail
}
func (b *backend) Undrain() (Drain, error)                     { return Drain{}, b.fail }
func (b *backend) DrainStatus() Drain                          { return Drain{Drained: true} }
func (b *backend) Routes(string, bool) ([]Route, error)        { return []Route{}, b.fail }
func (b *backend) ChangeSession(c SessionChange) (Done, error) { return Done{}, b.fail }
func (b *backend) Domains() []Domain                           { return []Domain{{Name: "public", Table: 90}} }
func (b *backend) EVPN() []EVPN {
	return []EVPN{{Overlay: "vx100", Type: "mac-ip", MAC: "02:00:00:00:00:0a", VTEP: netip.MustParseAddr("2001:db8::1"), State: "used"}}
}
func (b *backend) Drops() []Drop { return []Drop{{Kind: "spoofed", Packets: 3}} }

var errGone, errTaken = fmt.Errorf("guest x: %w", ErrNotFound), errors.New("taken")

// statusTest is a request and what its answer has.
type statusTest struct {
	method, path, body string
	fail               error
	code               int
	want               string
}

func statusTests() []statusTest {
	return []statusTest{
		{"GET", "/v1/status", "", nil, 200, `"pid": 1`},
		{"GET", "/v1/bfd", "", errTaken, 500, "taken"},
		{"GET", "/v1/neighbours", "", nil, 200, "[]"},
		{"GET", "/v1/neighbours", "", errTaken, 500, "taken"},
		{"GET", "/v1/rib?prefix=x", "", nil, 400, "neither an address nor a prefix"},
		{"GET", "/v1/fib?table=-1", "", nil, 404, "is no domain's"},
		{"GET", "/v1/fib?tabel=90", "", nil, 400, "there is no parameter \\\"tabel\\\""},
		{"GET", "/v1/sessions?peer=192.0.2.1", "", nil, 404, "not found"},
		{"GET", "/v1/sessions?pear=192.0.2.1", "", nil, 400, "no parameter"},
		{"GET", "/v1/guests?guest=vm1", "", nil, 200, "vm1"},
		{"GET", "/v1/guests?guest=vm2", "", nil, 404, "not found"},
		{"GET", "/v1/routes", "", nil, 400, "want received=PEER"},
		{"GET", "/v1/routes?received=a&advertised=b", "", nil, 400, "want received=PEER"},
		{"GET", "/v1/routes?received=a", "", nil, 200, "[]"},
		{"GET", "/v1/routes?received=a", "", errGone, 404, "not found"},
		{"GET", "/v1/domains", "", nil, 200, "public"},
		{"GET", "/v1/evpn?overlay=vx100", "", nil, 200, "mac-ip"},
		{"GET", "/v1/evpn?mac=02-00-00-00-00-0A", "", nil, 200, "mac-ip"},
		{"GET", "/v1/evpn?vtep=2001:DB8:0::1", "", nil, 200, "mac-ip"},
		{"GET", "/v1/evpn?vtep=2001:db8::2", "", nil, 404, "not found"},
		{"GET", "/v1/evpn?guest=vm1", "", nil, 200, "[]"}, // it is on no overlay with EVPN
		{"GET", "/v1/evpn?guest=vm2", "", nil, 404, "not found"},
		{"GET", "/v1/firewall", "", nil, 200, "spoofed"},
		{"POST", "/v1/sessions/a/reset?hard=1&text=t", "", nil, 200, ""},
		{"POST", "/v1/sessions/a/stop", "", nil, 404, "want reset"},
		{"POST", "/v1/sessions/a/disable?text=" + strings.Repeat("x", 256), "", nil, 400, "at most 255"},
		{"POST", "/v1/sessions/a/enable", "", errGone, 404, "not found"},
		{"GET", "/v1/fib?table=90", "", nil, 200, "[]"},
		{"GET", "/v1/explain?prefix=::ffff:192.0.2.1", "", nil, 200, "192.0.2.1/32"},
		{"GET", "/v1/explain/mac?mac=02-00-00-00-00-0A&vni=16777215", "", nil, 200, "02000000000a of 16777215"},
		{"GET", "/v1/explain/address?address=192.168.5.2&vni=100", "", nil, 200, `"address": "192.168.5.2"`},
		{"GET", "/v1/explain/address?address=192.168.5.2&vni=404", "", nil, 404, "VNI 404: not found"},
		{"GET", "/v1/explain/address?address=192.168.5.2", "", nil, 400, "is not a number from 1 to 16777215"},
		{"GET", "/v1/explain/address?address=fe80::2%25eth0&vni=100", "", nil, 400, "is no address of a guest"},
		{"GET", "/v1/explain/mac?mac=0200.0000.000a", "", nil, 200, "02000000000a of 0"},
		{"GET", "/v1/explain/mac?mac=02:00:00:00:00:0a&vni=404", "", nil, 404, "VNI 404: not found"},
		{"GET", "/v1/explain/mac?mac=02:00:00:00:00:0a&vni=0", "", nil, 400, "is not a number from 1 to 16777215"},
		{"GET", "/v1/explain/mac?mac=02:00:00:00:00:0a&vni=16777216", "", nil, 400, "is not a number from 1 to 16777215"},
		{"GET", "/v1/explain/mac?mac=02:00:00:00:00:00:00:0a", "", nil, 400, "is no MAC"},
		{"GET", "/v1/explain/mac?mac=02:00:00:00:00:0a&overlay=vx100", "", nil, 400, "no parameter"},
		{"GET", "/v1/events?recent=x", "", nil, 400, "recent is a number"},
		{"GET", "/v1/nothing", "", nil, 404, "GET /v1/nothing: Not Found"},
		{"POST", "/v1/status", "", nil, 405, "POST /v1/status: Method Not Allowed: want GET, HEAD"},
		{"PATCH", "/v1/guests/x", "", nil, 405, "want DELETE, POST, PUT"},
		// What is misread would be done for real.
		{"POST", "/v1/reload?dryrun=true", "", nil, 400, "there is no parameter \\\"dryrun\\\" here"},
		{"POST", "/v1/reload?dry-run", "", nil, 400, "is empty"},
		{"POST", "/v1/reload?dry-run=", "", nil, 400, "is empty"},
		{"POST", "/v1/reload?confirm=&file=x", "", nil, 400, "is empty"},
		{"POST", "/v1/reload?dry-run=false&dry-run=true", "", nil, 400, "comes 2 times"},
		{"POST", "/v1/reload?force=false;dry-run=true", "", nil, 400, "semicolon"},
		{"POST", "/v1/reload?dry-run=%zz", "", nil, 400, "invalid URL escape"},
		{"POST", "/v1/reload/confirm?force=1", "", nil, 400, "no parameter"},
		{"POST", "/v1/drain?wait=5m", "", nil, 400, "no parameter"},
		{"POST", "/v1/undrain?all=1", "", nil, 400, "no parameter"},
		{"POST", "/v1/guests?dry-run=1", "name: a", nil, 400, "no parameter"},
		{"DELETE", "/v1/guests/x?force=1", "", nil, 400, "no parameter"},
		{"GET", "/v1/status?netns=x", "", nil, 400, "no parameter"},
		{"GET", "/v1/explain?prefix=192.0.2.1&form=vm1", "", nil, 400, "no parameter"},
		{"GET", "/v1/events?recents=3", "", nil, 400, "no parameter"},
		{"GET", "/v1/drain?all=1", "", nil, 400, "no parameter"},
		{"GET", "/metrics", "", nil, 200, "hvrouter_converged 0"},
		{"POST", "/v1/guests", `[{"name": "a"}, {"name": "b"}]`, nil, 200, ""},
		{"POST", "/v1/guests", "name: [", nil, 400, "request:1:"},
		{"POST", "/v1/guests", "name: a", errTaken, 409, "taken"},
		{"POST", "/v1/guests", strings.Repeat("x", maxBody+1), nil, 413, "too large"},
		{"PUT", "/v1/guests/vm1", "name: vm1", nil, 200, ""},
		{"PUT", "/v1/guests", "[{name: vm1}]", nil, 200, ""},
		{"PUT", "/v1/guests", "[{name: vm1}, {name: vm2}]", nil, 404, "guest vm2: not found"},
		{"POST", "/v1/guests", strings.Repeat("[", 180_000), nil, 400, "request:1:33: nested more than 32 deep"},
		{"PUT", "/v1/guests/vm1", "name: vm2", nil, 400, "want one guest, called vm1"},
		{"PUT", "/v1/guests/vm2", "name: vm2", nil, 404, "not found"},
		{"DELETE", "/v1/guests/x", "", errGone, 404, "not found"},
		{"DELETE", "/v1/guests/x", "", errTaken, 409, "taken"},
		{"POST", "/v1/guests/x", `{"local-pref": 7}`, nil, 200, ""},
		{"POST", "/v1/guests/x", `{"local-perf": 7}`, nil, 400, "unknown field"},
		{"POST", "/v1/reload", "", errTaken, 409, "taken"},
		{"POST", "/v1/reload?force=true", "", nil, 200, "{true false ["},
		{"POST", "/v1/reload?dry-run=1", "", nil, 200, "{false true ["},
		{"POST", "/v1/reload?confirm=5m&file=a.yaml", "as: 1", nil, 200, "[97 115 58 32 49] a.yaml 5m0s}"},
		{"POST", "/v1/reload?file=a.yaml", strings.Repeat("x", config.MaxSize+1), nil, 413, "too large"},
		{"POST", "/v1/reload?confirm=soon", "", nil, 400, "is not a time"},
		{"POST", "/v1/reload?confirm=-5m", "", nil, 400, "is not a time"},
		{"POST", "/v1/reload/confirm", "", nil, 200, ""},
		{"POST", "/v1/reload/confirm", "", errTaken, 409, "taken"},
		{"POST", "/v1/reload/cancel", "", errTaken, 409, "taken"},
		{"POST", "/v1/reload?force=perhaps", "", nil, 400, "force: "},
		{"POST", "/v1/drain", "", nil, 200, `"drained": true`},
		{"POST", "/v1/drain?all=1", "", nil, 200, `"all": true`},
		{"POST", "/v1/drain?all=perhaps", "", nil, 400, "all: "},
		{"POST", "/v1/drain", "", errTaken, 409, "taken"},
		{"POST", "/v1/undrain", "", nil, 200, `"drained": false`},
		{"POST", "/v1/undrain", "", errTaken, 409, "taken"},
		{"GET", "/v1/drain", "", nil, 200, `"drained": true`},
	}
}

// Every request has its status, and an error its text.
func TestStatuses(t *testing.T) {
	for _, test := range statusTests() {
		w := httptest.NewRecorder()
		Handler(&backend{fail: test.fail}).ServeHTTP(w, httptest.NewRequest(test.method, test.path, strings.NewReader(test.body)))
		if w.Code != test.code || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s %s: %d %s, want %d with %q", test.method, test.path, w.Code, w.Body, test.code, test.want)
		}
		var e Error
		if test.code >= 400 && test.want != "" && (json.Unmarshal(w.Body.Bytes(), &e) != nil || e.Message == "") {
			t.Errorf("%s %s: no error in %s", test.method, test.path, w.Body)
		}
	}
}

// The request that ends the daemon is answered.
func TestLastAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen(socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	drain := func() {
		cancel()
		for Answers(socket) { // until the server has begun to end
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- ServeOn(ctx, l, &Access{}, &backend{drain: drain}) }()
	r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://hvrouter/v1/drain", nil)
	resp, err := NewClient(socket).http.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// A client that does not read holds nobody up. When it reads again, what it gets and what
// it has lost add up.
func TestSlowClient(t *testing.T) {
	b := &backend{}
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen(socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ServeOn(ctx, l, &Access{}, b) }()
	client := NewClient(socket)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://hvrouter/v1/events", nil)
	resp, err := client.http.Do(r)
	if err != nil || resp.Header.Get("Content-Type") != eventTypes {
		t.Fatal(resp, err)
	}
	const all = 20000
	long := strings.Repeat("x", 1000)
	for i := range all {
		b.journal.Publish(journal.Event{Name: "e", Message: long, Attrs: map[string]string{"n": strconv.Itoa(i)}})
	}
	b.journal.Publish(journal.Event{Name: "last"})
	got, lost, last := 0, 0, -1
	for d := json.NewDecoder(resp.Body); ; {
		var e journal.Event
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if e.Name == "last" {
			break
		}
		if e.Name == journal.Lost {
			n, _ := strconv.Atoi(e.Attrs["count"])
			lost += n
			continue
		}
		n, _ := strconv.Atoi(e.Attrs["n"])
		if n <= last {
			t.Fatalf("%d after %d", n, last)
		}
		got, last = got+1, n
	}
	t.Logf("%d events read, %d lost", got, lost)
	if got+lost != all || lost == 0 {
		t.Errorf("%d read and %d lost of %d", got, lost, all)
	}
	resp.Body.Close()

	enough := errors.New("enough")
	b.journal.Publish(journal.Event{Name: "other", Time: time.Unix(0, 0)})
	if err := client.Events(t.Context(), "oth*", 5, func(e journal.Event, _ []byte) error {
		if e.Name != "other" {
			t.Errorf("%+v", e)
		}
		return enough
	}); err != enough {
		t.Error(err)
	}
	done := make(chan error)
	go func() {
		done <- client.Events(t.Context(), "", 1, func(journal.Event, []byte) error { cancel(); return nil })
	}()
	if err := <-done; err == nil {
		t.Error("the stream ended without an error")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
