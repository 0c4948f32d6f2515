package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strconv"
	"time"

	"github.com/hyperfib/hyperfib/docs"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
)

// Backend is the daemon behind the socket. Every method may be called from any
// goroutine.
type Backend interface {
	Sessions() []Session
	BFD() ([]BFD, error)
	// RIB returns the prefixes of one domain, or of all if it is "", and only the
	// one prefix if it is valid.
	RIB(domain string, prefix netip.Prefix) []RIBEntry
	// FIB returns the routes of one table, or of all if it is 0.
	FIB(table uint32) []FIBRoute
	Guests() []Guest
	Neighbours() ([]Neighbour, error)
	// EVPN returns the routes of the overlays that have EVPN.
	EVPN() []EVPN
	// Events subscribes to what happens from now on, after up to recent events of
	// before.
	Events(recent int) (*journal.Reader, error)
	// History returns events from the files of the state directory: also those of earlier runs.
	History(journal.Filter) ([]journal.Event, error)
	Status() Status
	Explain(Question) (Explanation, error)
	// ExplainMAC returns [ErrNotFound] if no overlay has the VNI.
	ExplainMAC(MACQuestion) (MACExplanation, error)
	// ExplainAddress returns [ErrNotFound] if no overlay has the VNI.
	ExplainAddress(AddressQuestion) (AddressExplanation, error)
	Diff() []Difference
	// Put adds guests, or replaces those that came this way: all of them or none.
	Put([]config.Entry) error
	Remove(name string) error
	// Move changes where a guest is. What cannot be written down of a guest of a file is done all the same.
	Move(name string, m Move) (Done, error)
	// Reload reads the configuration again. An error means that nothing was changed.
	Reload(ReloadOptions) (Reload, error)
	// ConfirmReload makes the reload that waits for its confirmation count for good, and
	// CancelReload rolls it back.
	ConfirmReload() error
	CancelReload() error
	// Drain has traffic go elsewhere that can, and Undrain ends that. An error means that
	// nothing was changed.
	Drain(DrainOptions) (Drain, error)
	Undrain() (Drain, error)
	DrainStatus() Drain
	// Routes returns what a session's peer has announced, or is sent.
	Routes(peer string, received bool) ([]Route, error)
	// ChangeSession resets, disables or enables the sessions with a peer. What is disabled stays
	// so over restarts.
	ChangeSession(SessionChange) (Done, error)
	// Domains returns the domains of the configuration, and the table for what the hypervisor
	// sends itself as one.
	Domains() []Domain
	// Drops counts the packets of guests that the firewall dropped.
	Drops() []Drop
}

// ErrNotFound in the chain of an error makes it a 404; other errors of Put,
// Remove and Move are a 409.
var ErrNotFound = errors.New("not found")

// maxBody bounds a request: a guest is a hundred octets, or a few, and a hypervisor has
// thousands at most. Reading as much takes seconds of one core.
const maxBody = 1 << 20

// Serve answers on a unix socket at path until ctx ends, and removes the socket
// then. A socket that a dead daemon left is taken over; a live one is an error.
func Serve(ctx context.Context, path string, b Backend) error {
	l, err := Listen(path, nil)
	if err != nil {
		return err
	}
	return ServeOn(ctx, l, &Access{}, b)
}

// ServeOn is Serve on a listener of the caller's, for whom access lets in; nil
// is who can connect.
func ServeOn(ctx context.Context, l net.Listener, access *Access, b Backend) error {
	return serveHTTP(ctx, l, &http.Server{Handler: access.guard(Handler(b)), ConnContext: withClient})
}

// ServeMetrics answers with the metrics, to anybody, and with nothing else.
func ServeMetrics(ctx context.Context, l net.Listener, b Backend) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics(b))
	return serveHTTP(ctx, l, &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, MaxHeaderBytes: 16 << 10})
}

func serveHTTP(ctx context.Context, l net.Listener, s *http.Server) error {
	bound := &limited{Listener: l, most: mostConnections}
	s.ReadHeaderTimeout, s.IdleTimeout, s.ConnState = 10*time.Second, idleTime, bound.state
	s.BaseContext = func(net.Listener) context.Context { return ctx }
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnswerTime)
		defer cancel()
		if s.Shutdown(last) != nil {
			s.Close()
		}
	})
	err := s.Serve(bound)
	if !stop() {
		<-closed
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// lastAnswerTime is how long requests that are being answered when the server ends have for
// their answers: the one that drains the daemon is among them.
const lastAnswerTime = 500 * time.Millisecond

// Handler is the HTTP side of b.
func Handler(b Backend) http.Handler {
	mux := http.NewServeMux()
	register(b, mux.HandleFunc)
	return bounded(mux)
}

// register calls handle for each resource of b, with a pattern of [http.ServeMux].
func register(b Backend, handle func(pattern string, h func(http.ResponseWriter, *http.Request))) {
	get := func(pattern string, f func(*http.Request) (any, error)) {
		handle("GET "+pattern, func(w http.ResponseWriter, r *http.Request) { answer(w, r, f) })
	}
	// plain is what takes no parameter.
	plain := func(pattern string, f func() any) {
		get(pattern, func(r *http.Request) (any, error) {
			if err := only(r); err != nil {
				return nil, err
			}
			return f(), nil
		})
	}
	get("/v1/sessions", func(r *http.Request) (any, error) { return sessionList(b, r) })
	get("/v1/bfd", func(r *http.Request) (any, error) { return bfdList(b, r) })
	get("/v1/rib", func(r *http.Request) (any, error) { return rib(b, r) })
	get("/v1/fib", func(r *http.Request) (any, error) { return fibRoutes(b, r) })
	get("/v1/guests", func(r *http.Request) (any, error) { return guestList(b, r) })
	get("/v1/neighbours", func(r *http.Request) (any, error) { return neighbourList(b, r) })
	get("/v1/evpn", func(r *http.Request) (any, error) { return evpnList(b, r) })
	get("/v1/routes", func(r *http.Request) (any, error) { return routes(b, r) })
	handle("GET /v1/openapi.json", openAPI)
	plain("/v1/domains", func() any { return b.Domains() })
	get("/v1/firewall", func(r *http.Request) (any, error) { return firewall(b, r) })
	handle("GET "+eventsPath, func(w http.ResponseWriter, r *http.Request) { events(b, w, r) })
	get("/v1/history", func(r *http.Request) (any, error) { return history(b, r) })
	plain("/v1/health", func() any { return HealthOf(b) })
	plain("/v1/status", func() any { return b.Status() })
	plain("/v1/diff", func() any { return b.Diff() })
	get("/v1/explain", func(r *http.Request) (any, error) { return explain(b, r) })
	get("/v1/explain/address", func(r *http.Request) (any, error) { return explainAddress(b, r) })
	get("/v1/explain/mac", func(r *http.Request) (any, error) { return explainMAC(b, r) })
	handle("GET /metrics", metrics(b).ServeHTTP)
	handle("GET /debug/pprof/", pprof.Index)
	handle("GET /debug/pprof/profile", pprof.Profile)
	handle("GET /debug/pprof/trace", pprof.Trace)
	// change is what changes something; the body has at most limit octets, and params are its
	// parameters.
	change := func(pattern string, limit int64, f func(*http.Request) (any, error), params ...string) {
		handle(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer(w, r, func(r *http.Request) (any, error) {
				if err := only(r, params...); err != nil {
					return nil, err
				}
				if err := readBody(w, r, limit); err != nil {
					return nil, err
				}
				return f(r)
			})
		})
	}
	post := func(pattern string, f func(*http.Request) error, params ...string) {
		change(pattern, maxBody, func(r *http.Request) (any, error) { return struct{}{}, f(r) }, params...)
	}
	post("POST /v1/guests", func(r *http.Request) error { return put(b, r) })
	post("PUT /v1/guests", func(r *http.Request) error { return replace(b, r) })
	post("PUT /v1/guests/{name}", func(r *http.Request) error { return replace(b, r) })
	post("DELETE /v1/guests/{name}", func(r *http.Request) error { return conflict(b.Remove(r.PathValue("name"))) })
	change("POST /v1/sessions/{peer}/{op}", maxBody, func(r *http.Request) (any, error) { return changeSession(b, r) }, "text", "hard")
	change("POST /v1/guests/{name}", maxBody, func(r *http.Request) (any, error) { return move(b, r) })
	change("POST /v1/reload", config.MaxSize, func(r *http.Request) (any, error) { return reload(b, r) }, "force", "dry-run", "confirm", "file")
	post("POST /v1/reload/confirm", func(*http.Request) error { return conflict(b.ConfirmReload()) })
	post("POST /v1/reload/cancel", func(*http.Request) error { return conflict(b.CancelReload()) })
	plain("/v1/drain", func() any { return b.DrainStatus() })
	change("POST /v1/drain", maxBody, func(r *http.Request) (any, error) { return drain(b, r) }, "all", "until-stop")
	change("POST /v1/undrain", maxBody, func(*http.Request) (any, error) { d, err := b.Undrain(); return d, conflict(err) })
}

// openAPI answers with the description of all this.
func openAPI(w http.ResponseWriter, r *http.Request) {
	if err := only(r); err != nil {
		answer(w, r, func(*http.Request) (any, error) { return nil, err })
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(docs.OpenAPI) // the client is gone: nobody to tell
}

// status is an error with an HTTP status of its own.
type status struct {
	code int
	error
}

func answer(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	v, err := f(r)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(requestTime))
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		code := http.StatusInternalServerError
		var s status
		if errors.As(err, &s) {
			code = s.code
		}
		w.WriteHeader(code)
		v = &Error{Message: err.Error()}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client is gone: nobody to tell
}

func bad(err error) error { return status{http.StatusBadRequest, err} }

func conflict(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound):
		return status{http.StatusNotFound, err}
	}
	return status{http.StatusConflict, err}
}

// ParsePrefix reads a prefix, or an address as the prefix of it alone.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q has a zone, which no prefix has", s)
	} else if err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a prefix", s)
	}
	return p.Masked(), nil
}

func drain(b Backend, r *http.Request) (any, error) {
	var opt DrainOptions
	if err := switches(r, map[string]*bool{"all": &opt.All, "until-stop": &opt.UntilStop}); err != nil {
		return nil, err
	}
	d, err := b.Drain(opt)
	return d, conflict(err)
}

func reload(b Backend, r *http.Request) (any, error) {
	var opt ReloadOptions
	if err := switches(r, map[string]*bool{"force": &opt.Force, "dry-run": &opt.DryRun}); err != nil {
		return nil, err
	}
	q := r.URL.Query()
	if text := q.Get("confirm"); q.Has("confirm") {
		var err error
		if opt.Confirm, err = time.ParseDuration(text); err != nil || opt.Confirm <= 0 {
			return nil, bad(fmt.Errorf("confirm: %q is not a time, such as 5m", text))
		}
	}
	if opt.Name = q.Get("file"); q.Has("file") {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, bad(err)
		}
		opt.Text = append([]byte{}, text...) // not nil
	}
	done, err := b.Reload(opt)
	return done, conflict(err)
}

// switches reads query parameters that are true or false.
func switches(r *http.Request, all map[string]*bool) error {
	for name, set := range all {
		if text := r.URL.Query().Get(name); r.URL.Query().Has(name) {
			v, err := strconv.ParseBool(text)
			if err != nil {
				return bad(fmt.Errorf("%s: %w", name, err))
			}
			*set = v
		}
	}
	return nil
}

func parseGuests(r *http.Request) ([]config.Entry, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bad(err)
	}
	guests, err := config.ParseGuests("request", body)
	if err != nil {
		return nil, bad(err)
	}
	return guests, nil
}

// replace changes guests that must be there: one that is named, or many.
func replace(b Backend, r *http.Request) error {
	guests, err := parseGuests(r)
	name := r.PathValue("name")
	switch {
	case err != nil:
		return err
	case name != "" && (len(guests) != 1 || guests[0].Name != name):
		return bad(fmt.Errorf("want one guest, called %s", name))
	}
	known := map[string]bool{}
	for _, g := range b.Guests() {
		known[g.Name] = true
	}
	for _, g := range guests {
		if !known[g.Name] {
			return status{http.StatusNotFound, fmt.Errorf("guest %s: %w", g.Name, ErrNotFound)}
		}
	}
	return conflict(b.Put(guests))
}

func put(b Backend, r *http.Request) error {
	guests, err := parseGuests(r)
	if err != nil {
		return err
	}
	return conflict(b.Put(guests))
}

func move(b Backend, r *http.Request) (any, error) {
	var m Move
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return nil, bad(err)
	}
	done, err := b.Move(r.PathValue("name"), m)
	return done, conflict(err)
}
