package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overview"
)

var start = time.Date(2026, 11, 30, 7, 0, 0, 0, time.UTC)

// fakeDaemon answers at a socket as a daemon with two fabrics does, until the test ends or stop is called.
type fakeDaemon struct {
	mu       sync.Mutex
	sessions []api.Session
	guests   []api.Guest
	changed  chan journal.Event // to the one that follows
	server   *http.Server
}

func newFakeDaemon(t *testing.T) (*fakeDaemon, *api.Client) {
	t.Helper()
	d := &fakeDaemon{changed: make(chan journal.Event, 8)}
	for i, fabric := range []string{"A", "B"} {
		d.sessions = append(d.sessions, api.Session{Domain: "public", Fabric: fabric, Interface: strings.ToLower(fabric) + ".public", Name: "rr" + fabric, State: "Established", Since: start, BFD: "Up",
			Peer: netip.AddrFrom4([4]byte{198, 51, 100, byte(126 + 100*i)}), Families: []api.FamilyRoutes{{Family: "ipv4", Received: 5000 + i, Advertised: 12}}})
	}
	d.guests = []api.Guest{
		{Guest: config.Guest{Name: "vm1", Interface: "vm1", IPv4: []config.Addr{{Addr: netip.MustParseAddr("203.0.113.1")}}}, Present: true},
		{Guest: config.Guest{Name: "<img src=x onerror=alert(1)>", Interface: "vm2"}, Refused: "its address is vm1's"},
	}
	mux := http.NewServeMux()
	answer := func(path string, v func() any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			d.mu.Lock()
			defer d.mu.Unlock()
			_ = json.NewEncoder(w).Encode(v())
		})
	}
	answer("/v1/status", func() any { return api.Status{PID: 4711, Started: start, Writes: 1200} })
	answer("/v1/health", func() any {
		if d.sessions[0].State == "Established" {
			return api.Health{State: api.Healthy}
		}
		return api.Health{State: api.Degraded, Reasons: []api.Reason{{Level: api.Degraded, Kind: "session-down", Text: "the session with 198.51.100.126 is Idle"}}}
	})
	answer("/v1/sessions", func() any { return d.sessions })
	answer("/v1/guests", func() any { return d.guests })
	answer("/v1/bfd", func() any {
		return []api.BFD{{Peer: d.sessions[0].Peer, Interface: "a.public", State: d.sessions[0].BFD, Since: start, Detect: "500ms", Downs: 1}}
	})
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		for {
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case e := <-d.changed:
				_ = json.NewEncoder(w).Encode(e)
			}
		}
	})
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	d.server = &http.Server{Handler: mux}
	go d.server.Serve(l)
	t.Cleanup(d.stop)
	return d, api.NewClient(path)
}

func (d *fakeDaemon) stop() { d.server.Close() }

// down ends the session of fabric A, or has it try again.
func (d *fakeDaemon) down(state string) {
	d.mu.Lock()
	d.sessions[0].State, d.sessions[0].BFD, d.sessions[0].Error = state, "Down", "BFD down"
	d.mu.Unlock()
	d.changed <- journal.Event{Time: start, Name: "bgp-down", Level: "WARN", Message: "BGP session down", Attrs: map[string]string{"peer": "198.51.100.126", "text": "<img src=y>"}}
}

// readState returns the next state of a stream.
func readState(t *testing.T, r *bufio.Reader) (s state) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(text), &s); err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
}

// TestStream: the state comes at once, again when something has changed, and says that the daemon does
// not answer.
func TestStream(t *testing.T) {
	d, client := newFakeDaemon(t)
	server := httptest.NewServer(Loopback(Handler("hv1", client)))
	t.Cleanup(server.Close)
	resp, err := http.Get(server.URL + "/state")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %s", got)
	}
	r := bufio.NewReader(resp.Body)
	s := readState(t, r)
	if len(s.Sessions) != 2 || s.Sessions[1].Received != 5001 || s.Health.State != api.Healthy || s.Present != 1 || s.Total != 2 || s.Guests[0].State != "refused" || len(s.BFD) != 1 {
		t.Errorf("%+v", s)
	}
	d.down("Idle")
	for s.Sessions[0].State != "Idle" || len(s.Events) == 0 {
		s = readState(t, r)
	}
	if s.Health.State != api.Degraded || s.Events[0].Name != "bgp-down" {
		t.Errorf("%+v", s)
	}
	d.stop()
	for s.Error == "" {
		s = readState(t, r)
	}
	if len(s.Sessions) != 2 {
		t.Errorf("what was known is gone: %+v", s)
	}
}

// TestRefusals: what is asked under another name, what is not read, and one page too many.
func TestRefusals(t *testing.T) {
	_, client := newFakeDaemon(t)
	server := httptest.NewServer(Loopback(Handler("hv1", client)))
	t.Cleanup(server.Close)
	status := func(method, path, host string) int {
		r, err := http.NewRequest(method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode < 400 && !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s %s: no policy", method, path)
		}
		return resp.StatusCode
	}
	for _, x := range []struct {
		method, path, host string
		want               int
	}{
		{"GET", "/", "", 200},
		{"GET", "/page.js", "localhost:8179", 200},
		{"GET", "/page.css", "[::1]:8179", 200},
		{"GET", "/", "[::1]", 200},
		{"GET", "/", "evil.example", 421},
		{"GET", "/state", "evil.example:8179", 421},
		{"GET", "/", "127.0.0.1.evil.example", 421},
		{"GET", "/", "192.0.2.1:8179", 421},
		{"POST", "/state", "", 405},
		{"DELETE", "/", "", 405},
		{"GET", "/v1/status", "", 404},
		{"GET", "/../state.go", "", 404},
	} {
		if got := status(x.method, x.path, x.host); got != x.want {
			t.Errorf("%s %s at %q: %d, want %d", x.method, x.path, x.host, got, x.want)
		}
	}
	for i := range maxReaders {
		if got := status("GET", "/state", ""); got != 200 {
			t.Errorf("page %d: %d", i+1, got)
		}
	}
	resp, err := http.Get(server.URL + "/state")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	// An EventSource that got an error, or no event stream, would never ask again.
	text, err := io.ReadAll(resp.Body)
	if got := string(text); err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || !strings.Contains(got, "event: full\ndata: 8 pages are open") {
		t.Errorf("one page too many: %d: %q, %v", resp.StatusCode, got, err)
	}
}

// TestOtherSites: a browser that another site sends here loads nothing but a page that a user has followed a
// link to, and holds no place.
func TestOtherSites(t *testing.T) {
	_, client := newFakeDaemon(t)
	h := Handler("hv1", client)
	for _, x := range []struct {
		path, site, mode, dest string
		want                   int
	}{
		{"/state", "cross-site", "cors", "empty", 403}, // EventSource
		{"/state", "cross-site", "no-cors", "empty", 403},
		{"/state", "same-site", "cors", "empty", 403}, // another port of this host
		{"/state", "cross-site", "navigate", "iframe", 403},
		{"/page.js", "cross-site", "no-cors", "script", 403},
		{"/", "cross-site", "navigate", "iframe", 403},
		{"/", "cross-site", "navigate", "document", 200},
		{"/", "none", "navigate", "document", 200},
		{"/page.js", "same-origin", "no-cors", "script", 200},
	} {
		r := httptest.NewRequest("GET", x.path, nil)
		for k, v := range map[string]string{"Site": x.site, "Mode": x.mode, "Dest": x.dest} {
			r.Header.Set("Sec-Fetch-"+k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != x.want {
			t.Errorf("%+v: %d", x, w.Code)
		}
	}
}

// TestAlive: something comes when nothing changes, by which a page knows that its connection is not dead.
func TestAlive(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			Handler("hv1", api.NewClient(socket)).ServeHTTP(w, httptest.NewRequest("GET", "/state", nil).WithContext(ctx))
		}()
		time.Sleep(2*sign + 5*every)
		cancel()
		<-done
		if got := w.Body.String(); strings.Count(got, "data: {") != 1 || strings.Count(got, "event: alive\ndata:\n\n") != 2 {
			t.Errorf("%s", got)
		}
	})
}

func TestListen(t *testing.T) {
	for _, where := range []string{"0.0.0.0:8179", "[::]:8179", ":8179", "192.0.2.1:8179", "localhost:8179", "127.0.0.1", "", "unix:"} {
		if l, err := Listen(where); err == nil {
			l.Close()
			t.Errorf("%q is taken", where)
		}
	}
	for _, where := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "web.sock")} {
		l, err := Listen(where)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}

// TestManyGuests: those that matter are shown, and all are counted.
func TestManyGuests(t *testing.T) {
	var m overview.Moment
	for i := range 2 * maxGuests {
		m.Guests = append(m.Guests, api.Guest{Guest: config.Guest{Name: fmt.Sprint("vm", i)}, Present: i%2 == 0})
	}
	m.Guests[900].Refused = "x"
	s := show("hv1", m)
	if len(s.Guests) != maxGuests || s.Guests[0].Name != "vm900" || s.Guests[1].Name != "vm1" || s.Total != 2*maxGuests || s.Present != maxGuests-1 {
		t.Errorf("%d guests, first %+v, %d of %d", len(s.Guests), s.Guests[:2], s.Present, s.Total)
	}
}
